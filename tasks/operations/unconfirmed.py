"""Unconfirmed targets: their actual state is determined before the next step acts on them."""

from __future__ import annotations

from dagengine import Failed, StepContext
from dagengine.remote import Runner
from tasks.cluster.cluster_file import Server
from tasks.errors import Code, retryable_problem
from tasks.hosts.commands import START_DEADLINE_S, wait_for_lock_command
from tasks.operations import messages

_RESPONSE_MARGIN_S = 30.0


async def resolve_unconfirmed(
    context: StepContext, server: Server, runner: Runner
) -> Failed | None:
    """Wait under the home's lock until no command of the earlier task runs; clear the marker.

    Args:
        context: of the step that is about to probe the server.
        server: its target.
        runner: for the server's host.

    Returns:
        None if the target was confirmed or now is; otherwise the failure.
    """
    mark = context.unconfirmed
    if mark is None:
        return None
    stage, task = mark.stage, context.id_of(mark.dag_id)
    subject = messages.STAGE_END(server=server.name, stage=stage, task=task)
    context.wait_for("proof", subject)
    result = await runner.run(
        wait_for_lock_command(server.home), timeout_s=START_DEADLINE_S + _RESPONSE_MARGIN_S
    )
    if "quiet=yes" not in result.stdout:
        return Failed(
            retryable_problem(
                Code.CANCEL_TIMEOUT,
                messages.STAGE_STILL_RUNS(server=server.name, task=task),
                messages.END_COMMAND(),
            )
        )
    await context.mark_confirmed()
    await context.log(messages.STAGE_ENDED(server=server.name, stage=stage, task=task))
    return None
