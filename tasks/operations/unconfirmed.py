"""A server on which a task was ended without a proof is looked at before it is acted on."""

from __future__ import annotations

from dagengine import Failed, Problem, Runner, StepContext
from tasks.cluster.cluster_file import Server
from tasks.hosts.commands import START_DEADLINE_S, ask_quiet

_ASK_S = 30.0


async def resolve_unproven(context: StepContext, server: Server, runner: Runner) -> Failed | None:
    """Wait, under the home's lock, until nothing of the earlier task runs on; then unmark it.

    Args:
        context: of the step that is about to look at the server.
        server: of its target.
        runner: of its host.

    Returns:
        None when there was no mark or it is resolved; else why it is not.
    """
    mark = context.unproven
    if mark is None:
        return None
    generic_id = context.id_of(mark.dag_id)
    what = f"whether anything of '{mark.stage}' of task {generic_id} still runs there"
    context.wait_for("proof", f"{server.name}: the end of '{mark.stage}' of task {generic_id}")
    result = await runner.run(ask_quiet(server.home), timeout_s=START_DEADLINE_S + _ASK_S)
    if "quiet=yes" not in result.stdout:
        return Failed(
            Problem(
                "Task.Dag.CancelTimeout",
                f"{server.name}: a command of task {generic_id} still holds the lock of its home",
                "look at the host for a process of dagengine, end it, then RETRY",
            )
        )
    await context.mark_proven()
    await context.log(f"{server.name}: looked {what}: it does not")
    return None
