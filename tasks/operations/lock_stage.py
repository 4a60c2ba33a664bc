"""First stage of every operation on the cluster: take its lock, or name the holder."""

from __future__ import annotations

from collections.abc import Sequence

from dagengine import Failed, Outcome, Problem, StepContext, Succeeded
from tasks.errors import Code
from tasks.operations import messages

LOCK_STAGE = "Check operation lock"
LOCK_KEY = "cluster"


async def take_lock(
    context: StepContext, force_pass: Sequence[str], notices: Sequence[str] = ()
) -> Outcome:
    """Take the lock, by force pass of a named holder if the request names one.

    Args:
        context: of the step.
        force_pass: generic ids of the DAGs that the request names.
        notices: what users should know about the run, such as that the cluster file is refused.
    """
    for notice in notices:
        await context.log(notice)
    context.wait_for("lock", messages.LOCK_BY_FORCE() if force_pass else messages.LOCK())
    reply = await context.acquire_lock(force_pass)
    ids = ", ".join(force_pass)
    holder = reply.holder
    if holder is None:
        if force_pass and not reply.was_forced:
            await context.log(messages.FORCE_PASS_UNNECESSARY())
        elif reply.was_forced:
            await context.log(messages.FORCE_PASS_DONE(ids=ids))
        await context.log(messages.LOCK_TAKEN())
        return Succeeded()
    description = await context.describe_holder(holder)
    if force_pass:
        await context.log(messages.FORCE_PASS_FAILED(ids=ids))
    return Failed(
        Problem(
            Code.CLUSTER_UNDER_MAINTENANCE,
            messages.LOCKED(holder=description),
            messages.WAIT_OR_FORCE_PASS(),
        )
    )
