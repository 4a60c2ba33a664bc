"""The marker of a first start, in the home: removed once root can log in."""

from __future__ import annotations

from dagengine import Failed, StepContext
from dagengine.remote import Runner
from tasks.cluster.servers import Server
from tasks.hosts.commands import FIRST_START_MARKER, confirm_first_start_command
from tasks.hosts.fence import ProbeOutcome, parse_probe
from tasks.hosts.query import run_query
from tasks.operations import messages
from tasks.operations.host_fence import find_rejection, log_unrecorded


async def remove_first_start_marker(
    context: StepContext, server: Server, runner: Runner
) -> Failed | None:
    """Remove the marker of a first start; a warning names the file that remains.

    Returns:
        The failure if the home rejects this DAG, else None.
    """
    token = context.fencing_token
    result = await run_query(runner, confirm_first_start_command(server.home, token))
    report = parse_probe(result.stdout)
    if (problem := find_rejection(report, token, server)) is not None:
        return Failed(problem)
    await log_unrecorded(context, server, report)
    if report.outcome is not ProbeOutcome.DONE:
        file = f"{server.home}/{FIRST_START_MARKER}"
        await context.log(messages.MARKER_REMAINS(server=server.name, file=file))
    return None
