"""Who may come in: OBShell's hybrid encryption and its credential checks."""
