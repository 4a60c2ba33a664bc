"""The right to send commands that change hosts, which a controller loses when it is replaced.

The guard belongs to the task of an attempt and to all tasks that it starts, so it needs no argument
on the way from a step to the connection that sends a command.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class ActGuard(Protocol):
    """Decides whether commands may be sent now."""

    async def wait_until_allowed(self) -> None:
        """Return once commands may be sent; without waiting if they may be sent now."""
        ...


_guard: ContextVar[ActGuard] = ContextVar("act_guard")


def guard_this_task(guard: ActGuard) -> None:
    """Make the guard that of the current task and of all tasks that it starts from now on."""
    _guard.set(guard)


async def wait_until_may_act() -> None:
    """Wait for the guard of the current task, immediately before a command is sent.

    Without a guard (one controller, or a call that is not part of a step) it does not wait.
    """
    if (guard := _guard.get(None)) is not None:
        await guard.wait_until_allowed()
