"""A store in one SQLite file: a single writer thread, group commit, guarded writes."""
