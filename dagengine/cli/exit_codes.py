"""The exit codes of all commands, also of those that extensions add."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; `meaning` is its text in the help and the documentation."""

    DONE = 0, "done"
    FAILED = 1, "the DAG failed, a server is down, a check failed, or the question was declined"
    USAGE = 2, "wrong usage or configuration"
    UNREACHABLE = 3, "the controller cannot be reached"
    REFUSED = 4, "permission denied"
    INTERRUPTED = 130, "interrupted"

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Create a member that is an integer and has a meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member
