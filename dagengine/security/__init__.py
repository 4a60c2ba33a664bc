"""Authentication: OBShell's hybrid encryption and its credential checks."""
