"""Errors in the use of the command line, in words for users."""
