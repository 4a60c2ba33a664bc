"""The exit codes of all commands, also of those that extensions add."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    """The DAG failed, a server is not in service, or a check failed."""
    USAGE = 2
    """Wrong usage or configuration."""
    UNREACHABLE = 3
    """The controller cannot be reached."""
    REFUSED = 4
    """Permission denied."""
    INTERRUPTED = 130
