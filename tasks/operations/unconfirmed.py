"""Unconfirmed targets: their actual state is determined before the next step acts on them."""

from __future__ import annotations

from dagengine import Failed, StepContext
from dagengine.remote import Runner
from tasks.cluster.cluster_file import Server
from tasks.errors import Code, retryable_problem
from tasks.hosts.commands import START_DEADLINE_S, wait_for_lock_command

_ASK_S = 30.0


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
    generic_id = context.id_of(mark.dag_id)
    context.wait_for("proof", f"{server.name}: the end of '{mark.stage}' of task {generic_id}")
    result = await runner.run(
        wait_for_lock_command(server.home), timeout_s=START_DEADLINE_S + _ASK_S
    )
    if "quiet=yes" not in result.stdout:
        return Failed(
            retryable_problem(
                Code.CANCEL_TIMEOUT,
                f"{server.name}: a command of task {generic_id} still holds the lock of its home",
                "find the process of dagengine on the host and end it",
            )
        )
    await context.mark_confirmed()
    what = f"no command of '{mark.stage}' of task {generic_id} holds the lock of its home"
    await context.log(f"{server.name}: {what}")
    return None
