"""First stage of every operation on the cluster: take its lock, or name the holder."""

from __future__ import annotations

from collections.abc import Sequence

from dagengine import Failed, Outcome, Problem, StepContext, Succeeded
from tasks.errors import Code

LOCK_STAGE = "Check operation lock"
LOCK_KEY = "cluster"


async def take_lock(context: StepContext, force_pass: Sequence[str]) -> Outcome:
    """Take the lock, by force pass of a named holder if the request names one.

    Args:
        context: of the step.
        force_pass: generic ids of the DAGs that the request names.
    """
    by_force = ", by force pass" if force_pass else ""
    context.wait_for("lock", f"the cluster lock{by_force}")
    reply = await context.acquire_lock(force_pass)
    names = ", ".join(force_pass)
    holder = reply.holder
    if holder is None:
        if force_pass and not reply.was_forced:
            await context.log("forcePassDag: the lock was free, no task was passed")
        elif reply.was_forced:
            await context.log(f"forcePassDag: passed the task that held it, {names}")
        await context.log("took the cluster lock")
        return Succeeded()
    description = await context.describe_holder(holder)
    if force_pass:
        await context.log(f"forcePassDag: not passed: {names}")
    return Failed(
        Problem(
            Code.CLUSTER_UNDER_MAINTENANCE,
            f"the cluster is locked by {description}",
            "wait for it, or send the request again with its id in forcePassDag",
        )
    )
