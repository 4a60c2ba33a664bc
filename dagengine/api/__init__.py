"""The HTTP API, compatible with OBShell (protocol sections 1 to 4)."""
