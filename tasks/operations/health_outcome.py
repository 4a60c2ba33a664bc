"""Outcomes of the health stage: from the result of the wait to what users see."""

from __future__ import annotations

from typing import assert_never

from dagengine import Failed, StepContext, Succeeded
from tasks.diagnosis.exit import diagnose_exit
from tasks.errors import Code, retryable_problem
from tasks.operations import messages
from tasks.operations.health import (
    Exited,
    HealthLevel,
    HealthResult,
    HealthTimedOut,
    Healthy,
    MonitoredServer,
)


async def health_outcome(
    result: HealthResult, monitored: MonitoredServer, context: StepContext
) -> Succeeded | Failed:
    """Return the outcome of the health stage; diagnose the exit if the process has ended.

    Raises:
        RemoteError: the host of an ended process cannot be queried.
    """
    match result:
        case Healthy():
            return await _healthy_outcome(result, monitored, context)
        case Exited():
            return await exit_outcome(monitored, context)
        case HealthTimedOut(level, reason, remedy, limit_s):
            server = monitored.server
            return Failed(
                retryable_problem(
                    Code.CLUSTER_TIMEOUT,
                    messages.SQL_TIMED_OUT(
                        server=server.name,
                        pid=monitored.process.pid,
                        limit_s=limit_s,
                        reason=reason,
                    ),
                    remedy or messages.READ_LOG(file=server.log_file),
                ),
                _evidence(monitored, level),
            )
        case _:
            assert_never(result)


async def exit_outcome(monitored: MonitoredServer, context: StepContext) -> Failed:
    """Return the failure of a server whose process has ended, with the cause from its traces.

    Raises:
        RemoteError: the host cannot be queried.
    """
    server, process = monitored.server, monitored.process
    if process.pid:
        await context.log(messages.SEARCHING_CAUSE(server=server.name, pid=process.pid))
    else:
        await context.log(messages.SEARCHING_CAUSE_OF_LAUNCH(server=server.name))
    exit_diagnosis = await diagnose_exit(
        *(server, monitored.runner, process),
        log_from=monitored.log_from,
        is_first=monitored.is_first,
    )
    diagnosis = exit_diagnosis.diagnosis
    fields = {"server": server.name, "cause": diagnosis.sentence, "file": server.log_file}
    if process.pid:
        message = messages.SERVER_GONE(**fields, pid=process.pid)
    else:
        message = messages.SERVER_GONE_AFTER_LAUNCH(**fields)
    for line in diagnosis.lines:
        await context.log(messages.SERVER_LOG(server=server.name, line=line))
    return Failed(
        retryable_problem(
            Code.PROCESS_NOT_EXIST,
            message,
            diagnosis.remedy,
        ),
        _evidence(monitored, HealthLevel.NONE) | exit_diagnosis.as_evidence(),
    )


def password_refused_outcome(monitored: MonitoredServer, source: str) -> Failed:
    """Return the failure of a server that refuses the configured password.

    Args:
        monitored: the server.
        source: file or variable with the password.
    """
    return Failed(
        retryable_problem(
            Code.LOGIN_REFUSED,
            messages.PASSWORD_REFUSED(server=monitored.server.name),
            messages.CORRECT_PASSWORD(source=source),
        ),
        _evidence(monitored, HealthLevel.PORT),
    )


async def _healthy_outcome(
    result: Healthy, monitored: MonitoredServer, context: StepContext
) -> Succeeded:
    server = monitored.server
    after_s = result.after_s - server.stable_s
    if server.stable_s:
        line = messages.HEALTHY_AND_STABLE(
            server=server.name, after_s=after_s, stable_s=server.stable_s
        )
    else:
        line = messages.HEALTHY(server=server.name, after_s=after_s)
    await context.log(line)
    duration = {"healthy_after_s": round(result.after_s, 3)}
    evidence = _evidence(monitored, HealthLevel.SQL) | duration
    return Succeeded({**duration, "version": result.version}, evidence)


def _evidence(monitored: MonitoredServer, level: HealthLevel) -> dict[str, object]:
    evidence: dict[str, object] = {
        "sql_port": monitored.server.sql_port,
        "level": str(level),
    }
    if monitored.process.pid:  # else it had ended before it could be identified
        evidence["pid"] = monitored.process.pid
    return evidence
