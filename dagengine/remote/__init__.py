"""Running commands on hosts."""
