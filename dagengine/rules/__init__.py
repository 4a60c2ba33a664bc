"""Decisions as pure functions, without a clock and without I/O."""
