"""End of a server's process on its host, for a stop and for the rollback of a start."""

from __future__ import annotations

from dagengine import Failed, Outcome, Problem, StepContext, Succeeded
from dagengine.errors import ConnectionLost
from dagengine.remote import Runner
from tasks.cluster.cluster_file import Server
from tasks.errors import Code, retryable_problem
from tasks.hosts.commands import STOP_MARGIN_S, stop_command
from tasks.hosts.facts import StopOutcome, StopReport, parse_stop
from tasks.hosts.identity import explain_doubt, explain_listener, explain_unanswered

_ASK_S = 30.0
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
    context.wait_for("process", f"the end of {server.name}")
    command = stop_command(server, kill_after_s, marker)
    limit_s = kill_after_s + STOP_MARGIN_S + _ASK_S
    try:
        result = await runner.run(command, timeout_s=limit_s)
    except ConnectionLost as exc:
        # The result is unknown. The script is safe to repeat: it inspects the server first, under
        # the lock that the lost command may still hold.
        await context.log(f"WARN: {server.name}: {exc.message}; looking again")
        result = await runner.run(command, timeout_s=limit_s)
    report = parse_stop(result.stdout)
    pid = report.process.pid if report.process else 0
    if report.outcome in _ENDS and (listener := report.contradiction) is not None:
        cause, remedy = explain_listener(listener, server.sql_port, server.home)
        problem = retryable_problem(Code.CHECK_FAILED, f"{server.name}: {cause}", remedy)
        return Failed(problem)
    match report.outcome:
        case StopOutcome.GONE:
            said = "does not run: nothing to stop"
        case StopOutcome.FOREIGN:
            said = f"was not started by this task (pid {pid}): left as it is"
        case StopOutcome.STOPPED:
            said = f"stopped, pid {pid}"
        case StopOutcome.KILLED:
            said = f"killed, pid {pid}: it did not end within {kill_after_s:g} s of SIGTERM"
        case _:
            return Failed(_explain(server, report))
    await context.log(f"{server.name}: {said}")
    ended = report.process is not None and report.outcome in _ENDS
    evidence = {"level": "none", "pid": pid, "ended_by": _signal(report)} if ended else {}
    return Succeeded({"outcome": str(report.outcome)}, evidence)


def is_stopped(outcome: Outcome) -> bool:
    """Return whether no process of the server is left."""
    return isinstance(outcome, Succeeded) and outcome.data["outcome"] != StopOutcome.FOREIGN


def _signal(report: StopReport) -> str:
    return "SIGKILL" if report.outcome is StopOutcome.KILLED else "SIGTERM"


def _explain(server: Server, report: StopReport) -> Problem:
    pid = report.process.pid if report.process else 0
    owner = report.process.owner if report.process else -1
    code, remedy = Code.STOP_FAILED, "check the server on the host"
    match report.outcome:
        case StopOutcome.DOUBTFUL if report.doubts:
            code = Code.CHECK_FAILED
            what, remedy = explain_doubt(report.doubts[0], server.home)
            what = f"could not be stopped: {what}"
        case StopOutcome.UNANSWERED:
            code = Code.CHECK_FAILED
            what, remedy = explain_unanswered(server.home)
            what = f"could not be stopped: {what}"
        case StopOutcome.OTHER_USER:
            code = Code.CHECK_FAILED
            what = f"runs as another user (uid {owner}, pid {pid}): it is not ours to stop"
            remedy = "log in as that user, or become it (ssh.sudo)"
        case StopOutcome.ALIVE:
            code = Code.CLUSTER_TIMEOUT
            what = f"still lives after SIGKILL (pid {pid}): it hangs in the kernel, on its disk say"
        case StopOutcome.LOCKED:
            what = "could not be stopped: another start or stop of it was under way for 25 s"
        case StopOutcome.REFUSED:
            what = f"could not be signalled (pid {pid})"
        case _:
            what = "could not be stopped: the host's answer broke off"
    return retryable_problem(code, f"{server.name} {what}", remedy)
