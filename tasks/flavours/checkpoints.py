"""The wait after a minor freeze: a checkpoint that has grown shows that the memory is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from dagengine import Failed, Outcome, Problem, StepContext, Succeeded
from tasks.cluster.access import ClusterAccess
from tasks.errors import Code

_POLL_S = 0.3
_SLOW_POLL_S = 5.0
_SLOW_AFTER_S = 30.0

Checkpoints: TypeAlias = Mapping[str, int]
"""Each server's smallest checkpoint, by the server's name."""


async def log_nothing_to_freeze(context: StepContext) -> Outcome:
    """Return the outcome of a freeze if no server answers SQL."""
    await context.log("no server of this task serves: there is nothing to freeze")
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
    context.wait_for("sql", f"the checkpoints of {', '.join(before)}", next_in_s=_POLL_S)
    await context.log(f"minor freeze of {', '.join(before)}; waiting for their checkpoints")
    while True:
        now = await read()
        left = [
            name for name, checkpoint in before.items() if now.get(name, checkpoint) <= checkpoint
        ]
        waited_s = clock.monotonic_s() - started_s
        if not left:
            await context.log(f"every checkpoint has grown, after {waited_s:.1f} s")
            return Succeeded()
        if waited_s >= limit_s:
            break
        pause_s = _POLL_S if waited_s < _SLOW_AFTER_S else _SLOW_POLL_S
        what = f"the checkpoints of {', '.join(left)}"
        context.wait_for("sql", what, next_in_s=pause_s)
        await asyncio.sleep(pause_s)
    return Failed(
        Problem(
            Code.FREEZE_TIMEOUT,
            f"after {limit_s:g} s the checkpoint has not grown of {', '.join(left)}",
            "RETRY; or PASS this stage, and they are stopped without it",
        )
    )
