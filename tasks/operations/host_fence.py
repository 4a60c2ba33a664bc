"""Fencing tokens on hosts: outcomes of the scripts, and the probe of an adopted attempt."""

from __future__ import annotations

from dataclasses import replace

from dagengine import Failed, FencingToken, Problem, StepContext
from dagengine.remote import Runner
from tasks.cluster.servers import Server
from tasks.errors import Code, retryable_problem
from tasks.hosts.commands import START_DEADLINE_S, wait_for_lock_command
from tasks.hosts.fence import (
    FENCE_FILE,
    FenceVerdict,
    ProbeOutcome,
    ProbeReport,
    explain_fence,
    parse_probe,
)
from tasks.hosts.query import describe_failure
from tasks.hosts.reports import StartOutcome, StartReport, StopReport
from tasks.operations import messages

_RESPONSE_MARGIN_S = 30.0
_REJECTIONS = tuple(str(v) for v in FenceVerdict if v is not FenceVerdict.PASSED)


def find_rejection(
    report: StartReport | StopReport | ProbeReport, token: FencingToken, server: Server
) -> Problem | None:
    """Return the problem if the home's fence prevented the command; None for any other outcome."""
    if report.outcome is StartOutcome.UNRECORDED:
        fields = {"file": f"{server.home}/{FENCE_FILE}", "reason": report.unrecorded}
        message = messages.START_UNRECORDED(server=server.name, **fields)
        return retryable_problem(Code.NOT_STARTED, message, messages.MAKE_RECORDABLE())
    if report.outcome not in _REJECTIONS:
        return None
    verdict, home = FenceVerdict(report.outcome), server.home
    cause, remedy = explain_fence(verdict, report.fence, token, home, server.name)
    message = messages.SERVER_PROBLEM(server=server.name, reason=cause)
    return retryable_problem(Code.CHECK_FAILED, message, remedy)


async def log_unrecorded(
    context: StepContext, server: Server, report: StopReport | ProbeReport
) -> None:
    """Log that a host could not record the token of a command that it accepted."""
    if report.unrecorded:
        file = f"{server.home}/{FENCE_FILE}"
        await context.log(
            messages.TOKEN_UNRECORDED(server=server.name, file=file, reason=report.unrecorded)
        )


async def probe_home(context: StepContext, server: Server, runner: Runner) -> ProbeReport:
    """Wait until no command holds the lock on the home, and record this DAG's token there.

    Raises:
        RemoteError: the host could not be queried.
    """
    command = wait_for_lock_command(server.home, context.fencing_token)
    result = await runner.run(command, timeout_s=START_DEADLINE_S + _RESPONSE_MARGIN_S)
    report = replace(parse_probe(result.stdout), failure=describe_failure(result))
    await log_unrecorded(context, server, report)
    return report


async def adopt_attempt(context: StepContext, server: Server, runner: Runner) -> Failed | None:
    """Probe the home before an interrupted attempt is repeated; None if it may be repeated.

    A command that the interrupted attempt has sent may still arrive. It must do so before the step
    examines the host, or do nothing.
    """
    if not context.resumed:
        return None
    context.wait_for("proof", messages.ATTEMPT_END(server=server.name))
    report = await probe_home(context, server, runner)
    if (problem := find_rejection(report, context.fencing_token, server)) is not None:
        return Failed(problem)
    if report.failure:
        message = messages.LOCK_PROBE_FAILED(server=server.name, failure=report.failure)
        return Failed(retryable_problem(Code.CANCEL_TIMEOUT, message, messages.CORRECT_HOST()))
    if report.outcome is not ProbeOutcome.DONE:
        holder = report.lock_holder or messages.HOLDER_UNKNOWN()
        message = messages.ATTEMPT_STILL_RUNS(server=server.name, holder=holder)
        return Failed(retryable_problem(Code.CANCEL_TIMEOUT, message, messages.END_COMMAND()))
    return None
