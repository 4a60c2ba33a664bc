"""End of a server's process on its host, for a stop and for the rollback of a start."""

from __future__ import annotations

from dataclasses import replace

from dagengine import Failed, Outcome, Problem, StepContext, Succeeded
from dagengine.errors import ConnectionLost
from dagengine.remote import Runner
from tasks.cluster.servers import Server
from tasks.errors import Code, retryable_problem
from tasks.hosts.commands import STOP_MARGIN_S, stop_command
from tasks.hosts.identity import explain_doubt, explain_listener, explain_unanswered
from tasks.hosts.query import describe_failure
from tasks.hosts.reports import StopOutcome, StopReport, parse_stop
from tasks.operations import messages
from tasks.operations.host_fence import find_rejection, log_unrecorded

_RESPONSE_MARGIN_S = 30.0
_ENDS = (StopOutcome.GONE, StopOutcome.STOPPED, StopOutcome.KILLED)


async def stop_process(
    context: StepContext, server: Server, runner: Runner, kill_after_s: float, marker: str = ""
) -> Outcome:
    """End the server, and verify that all of it has ended.

    Args:
        context: of the step.
        server: the server.
        runner: for its host.
        kill_after_s: delay between SIGTERM and SIGKILL.
        marker: id of a DAG; the server is ended only if that DAG started it. Empty: always.
    """
    context.wait_for("process", messages.SERVER_END(server=server.name))
    token = context.fencing_token
    command = stop_command(server, kill_after_s, marker, token)
    limit_s = kill_after_s + STOP_MARGIN_S + _RESPONSE_MARGIN_S
    try:
        result = await runner.run(command, timeout_s=limit_s)
    except ConnectionLost as exc:
        # The result is unknown. The script is safe to repeat: it inspects the server first, under
        # the lock that the lost command may still hold.
        await context.log(messages.CONNECTION_LOST(server=server.name, reason=exc.message))
        result = await runner.run(command, timeout_s=limit_s)
    report = replace(parse_stop(result.stdout), failure=describe_failure(result))
    if (rejection := find_rejection(report, token, server)) is not None:
        return Failed(rejection)
    await log_unrecorded(context, server, report)
    pid = report.process.pid if report.process else 0
    if report.outcome in _ENDS and (listener := report.contradiction) is not None:
        cause, remedy = explain_listener(listener, server.sql_port, server.home)
        message = messages.SERVER_PROBLEM(server=server.name, reason=cause)
        return Failed(retryable_problem(Code.CHECK_FAILED, message, remedy))
    match report.outcome:
        case StopOutcome.GONE:
            line = messages.STOP_UNNECESSARY(server=server.name)
        case StopOutcome.OTHER_DAG:
            line = messages.NOT_STARTED_HERE(server=server.name, pid=pid)
        case StopOutcome.STOPPED:
            line = messages.STOPPED(server=server.name, pid=pid)
        case StopOutcome.KILLED:
            line = messages.KILLED(server=server.name, pid=pid, limit_s=kill_after_s)
        case _:
            return Failed(_explain(server, report))
    await context.log(line)
    ended = report.process is not None and report.outcome in _ENDS
    evidence = {"level": "none", "pid": pid, "ended_by": _signal(report)} if ended else {}
    return Succeeded({"outcome": str(report.outcome)}, evidence)


def is_stopped(outcome: Outcome) -> bool:
    """Return whether no process of the server is left."""
    return isinstance(outcome, Succeeded) and outcome.data["outcome"] != StopOutcome.OTHER_DAG


def _signal(report: StopReport) -> str:
    return "SIGKILL" if report.outcome is StopOutcome.KILLED else "SIGTERM"


def _explain(server: Server, report: StopReport) -> Problem:
    name = server.name
    pid = report.process.pid if report.process else 0
    code, remedy = Code.STOP_FAILED, messages.CHECK_ON_HOST()
    match report.outcome:
        case StopOutcome.DOUBTFUL if report.doubts:
            cause, advice = explain_doubt(report.doubts[0], server.home)
            message = messages.STOP_FAILED(server=name, reason=cause)
            return retryable_problem(Code.CHECK_FAILED, message, advice)
        case StopOutcome.UNANSWERED:
            cause, advice = explain_unanswered(server.home)
            message = messages.STOP_FAILED(server=name, reason=cause)
            return retryable_problem(Code.CHECK_FAILED, message, advice)
        case StopOutcome.OTHER_USER:
            owner = report.process.owner if report.process else -1
            code, remedy = Code.CHECK_FAILED, messages.BECOME_USER()
            message = messages.OTHER_USER(server=name, uid=owner, pid=pid)
        case StopOutcome.ALIVE:
            code = Code.CLUSTER_TIMEOUT
            message = messages.SURVIVED_SIGKILL(server=name, pid=pid)
        case StopOutcome.LOCKED:
            holder = report.lock_holder or messages.HOLDER_UNKNOWN()
            message = messages.STOP_LOCKED(server=name, holder=holder)
        case StopOutcome.REFUSED:
            message = messages.SIGNAL_REFUSED(server=name, pid=pid)
        case _ if report.failure:
            message = messages.STOP_SCRIPT_FAILED(server=name, failure=report.failure)
        case _:
            message = messages.STOP_UNKNOWN(server=name)
    return retryable_problem(code, message, remedy)
