"""Unconfirmed targets: their actual state is determined before the next step acts on them."""

from __future__ import annotations

from dagengine import Failed, StepContext
from dagengine.remote import Runner
from tasks.cluster.servers import Server
from tasks.errors import Code, retryable_problem
from tasks.hosts.fence import ProbeOutcome
from tasks.operations import messages
from tasks.operations.host_fence import adopt_attempt, find_rejection, probe_home


async def resolve_unconfirmed(
    context: StepContext, server: Server, runner: Runner
) -> Failed | None:
    """Wait under the home's lock until no command of the earlier task runs; clear the marker.

    A step that repeats an interrupted attempt waits for the command of that attempt, too.

    Args:
        context: of the step that is about to probe the server.
        server: its target.
        runner: for the server's host.

    Returns:
        None if the target was confirmed or now is; otherwise the failure.
    """
    mark = context.unconfirmed
    if mark is None:
        return await adopt_attempt(context, server, runner)
    stage, task = mark.stage, context.id_of(mark.dag_id)
    subject = messages.STAGE_END(server=server.name, stage=stage, task=task)
    context.wait_for("proof", subject)
    report = await probe_home(context, server, runner)
    if (problem := find_rejection(report, context.fencing_token, server)) is not None:
        return Failed(problem)
    if report.failure:
        message = messages.LOCK_PROBE_FAILED(server=server.name, failure=report.failure)
        return Failed(retryable_problem(Code.CANCEL_TIMEOUT, message, messages.CORRECT_HOST()))
    if report.outcome is not ProbeOutcome.DONE:
        holder = report.lock_holder or messages.HOLDER_UNKNOWN()
        return Failed(
            retryable_problem(
                Code.CANCEL_TIMEOUT,
                messages.STAGE_STILL_RUNS(server=server.name, task=task, holder=holder),
                messages.END_COMMAND(),
            )
        )
    await context.mark_confirmed()
    await context.log(messages.STAGE_ENDED(server=server.name, stage=stage, task=task))
    return None
