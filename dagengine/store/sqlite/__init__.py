"""The store as one SQLite file: one writer thread, group commit, guarded writes."""
