"""Execution of commands on hosts."""
