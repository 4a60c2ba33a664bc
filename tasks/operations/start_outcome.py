"""Outcomes of stage 3 of a start that did not lead to a running server. Pure."""

from __future__ import annotations

from dagengine import Failed, ResultUnknown
from tasks.cluster.servers import Server
from tasks.errors import Code, retryable_problem
from tasks.hosts.identity import DoubtKind, explain_doubt, explain_unanswered
from tasks.hosts.reports import StartOutcome, StartReport
from tasks.operations import messages

_REFUSED = {
    StartOutcome.CHANGED: messages.FILES_CHANGED,
    StartOutcome.DOUBTFUL: messages.SERVER_DOUBTFUL,
}


def unknown_start_outcome(server: Server, report: StartReport) -> ResultUnknown:
    """Return the outcome if the launch, or a change of files before it, does not end."""
    if report.outcome is StartOutcome.STUCK:
        pid = report.stuck_pid or 0
        message = messages.FILES_STUCK(server=server.name, home=server.home, pid=pid)
        remedy = messages.REPAIR_FILE_SYSTEM()
    else:
        killed = (doubt.pid for doubt in report.doubts if doubt.kind is DoubtKind.KILLED)
        pid = next(killed, 0)
        process = messages.LAUNCH_PROCESS(pid=pid) if pid else messages.LAUNCH_PROCESS_UNKNOWN()
        message = messages.LAUNCH_HUNG(
            server=server.name, home=server.home, program=server.binary, process=process
        )
        remedy = messages.REPAIR_MOUNT()
    return ResultUnknown(retryable_problem(Code.CANCEL_TIMEOUT, message, remedy))


def failed_start_outcome(server: Server, report: StartReport) -> Failed:
    """Return the outcome if the script started no server, or the launch reported a failure."""
    if report.outcome is StartOutcome.LOCKED:
        holder = report.lock_holder or messages.HOLDER_UNKNOWN()
        message = messages.START_LOCKED(server=server.name, holder=holder)
        return _failed(message, messages.CHECK_HOST())
    if report.doubts:
        cause, remedy = explain_doubt(report.doubts[0], server.home)
        return _failed(messages.SERVER_PROBLEM(server=server.name, reason=cause), remedy)
    if report.outcome is StartOutcome.UNANSWERED:
        cause, remedy = explain_unanswered(server.home)
        return _failed(messages.SERVER_PROBLEM(server=server.name, reason=cause), remedy)
    if report.outcome in _REFUSED:
        message = _REFUSED[report.outcome](server=server.name, home=server.home)
        return _failed(message, messages.EXAMINE_HOST())
    output = report.output_tail or messages.OUTPUT_EMPTY()
    return _failed(
        messages.PROGRAM_ENDED(server=server.name, status=report.status, output=output),
        messages.RUN_BY_HAND(command=" ".join(server.flavour.command_line(server.home))),
    )


def _failed(message: str, remedy: str) -> Failed:
    return Failed(retryable_problem(Code.NOT_STARTED, message, remedy))
