"""The HTTP API: OBShell's wire (protocol sections 1 to 4)."""
