"""The wait after a minor freeze: a checkpoint that has grown shows that the memory is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from dagengine import Failed, Outcome, Problem, StepContext, Succeeded
from tasks.cluster.access import ClusterAccess
from tasks.errors import Code
from tasks.flavours import messages

_POLL_S = 0.3
_SLOW_POLL_S = 5.0
_SLOW_AFTER_S = 30.0

Checkpoints: TypeAlias = Mapping[str, int]
"""Each server's smallest checkpoint, by the server's name."""


async def log_nothing_to_freeze(context: StepContext) -> Outcome:
    """Return the outcome of a freeze if no server answers SQL."""
    await context.log(messages.FREEZE_UNNECESSARY())
    return Succeeded()


async def wait_for_growth(
    context: StepContext,
    access: ClusterAccess,
    before: Checkpoints,
    read: Callable[[], Awaitable[Checkpoints]],
) -> Outcome:
    """Wait until each server's smallest checkpoint has grown, for at most `freeze_timeout_s`.

    Args:
        context: of the step.
        access: to the cluster.
        before: the checkpoints before the freeze.
        read: reads them again; a server that does not answer may be missing.
    """
    clock, limit_s = access.clock, access.cluster.current.freeze_timeout_s
    started_s = clock.monotonic_s()
    names = ", ".join(before)
    context.wait_for("sql", messages.CHECKPOINTS(servers=names), next_in_s=_POLL_S)
    await context.log(messages.FREEZE_STARTED(servers=names))
    while True:
        now = await read()
        left = [
            name for name, checkpoint in before.items() if now.get(name, checkpoint) <= checkpoint
        ]
        waited_s = clock.monotonic_s() - started_s
        if not left:
            await context.log(messages.CHECKPOINTS_GROWN(waited_s=waited_s))
            return Succeeded()
        if waited_s >= limit_s:
            break
        pause_s = _POLL_S if waited_s < _SLOW_AFTER_S else _SLOW_POLL_S
        subject = messages.CHECKPOINTS(servers=", ".join(left))
        context.wait_for("sql", subject, next_in_s=pause_s)
        await asyncio.sleep(pause_s)
    return Failed(
        Problem(
            Code.FREEZE_TIMEOUT,
            messages.FREEZE_TIMED_OUT(servers=", ".join(left), limit_s=limit_s),
            messages.RETRY_OR_PASS_FREEZE(),
        )
    )
