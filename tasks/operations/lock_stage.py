"""First stage of every operation on the cluster: take its lock, or name the holder."""

from __future__ import annotations

from dagengine import Failed, Outcome, Problem, StepContext, Succeeded
from tasks.errors import Code

LOCK_STAGE = "Check operation lock"
LOCK_KEY = "cluster"


async def take_lock(context: StepContext) -> Outcome:
    """Take the lock, by force pass of a named holder if the request names one."""
    named = [str(name) for name in context.params.get("force_pass") or ()]
    context.wait_for("lock", f"the cluster lock{', by force pass' if named else ''}")
    reply = await context.acquire_lock(named)
    holder = reply.holder
    if holder is None:
        if named and not reply.was_forced:
            await context.log("forcePassDag: the lock was free, no task was passed")
        elif reply.was_forced:
            await context.log(f"forcePassDag: passed the task that held it, {', '.join(named)}")
        await context.log("took the cluster lock")
        return Succeeded()
    who = await context.describe_holder(holder)
    if named:
        await context.log(f"forcePassDag: not passed: {', '.join(named)}")
    return Failed(
        Problem(
            Code.CLUSTER_UNDER_MAINTENANCE,
            f"the cluster is locked by {who}",
            "wait for it, or send the request again with its id in forcePassDag",
        )
    )
