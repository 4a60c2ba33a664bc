"""Diagnosis of an exit: read the traces of an ended server from its host, and find the cause."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from dagengine.remote import Runner
from tasks.cluster.servers import Server
from tasks.diagnosis.diagnose import Diagnosis, diagnose
from tasks.diagnosis.postmortem import Postmortem, parse_postmortem, postmortem_command
from tasks.hosts.commands import error_lines_command
from tasks.hosts.identity import ProcessIdentity
from tasks.hosts.query import run_query

_POSTMORTEM_S = 30.0  # more than the sum of the script's own limits
_LOG_FLUSH_TRIES = 8
_LOG_FLUSH_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class ExitDiagnosis:
    """Why a server has ended, and the traces that show it."""

    diagnosis: Diagnosis
    postmortem: Postmortem

    def as_evidence(self) -> dict[str, object]:
        """Return the evidence for API clients."""
        diagnosis = self.diagnosis
        evidence: dict[str, object] = {
            "cause": diagnosis.sentence,
            "remedy": diagnosis.remedy,
            "log": list(diagnosis.lines),
            "traces": self.postmortem.as_evidence(),
        }
        if diagnosis.errcode is not None:
            evidence["errcode"] = diagnosis.errcode
        return evidence


async def diagnose_exit(
    server: Server, runner: Runner, process: ProcessIdentity, *, log_from: int, is_first: bool
) -> ExitDiagnosis:
    """Find out why a server's process has ended.

    Args:
        server: the server.
        runner: for its host.
        process: the ended process.
        log_from: size of the server's log in bytes when the process was started.
        is_first: whether this was the first start, to which the start options apply.

    Raises:
        RemoteError: the host cannot be queried.
    """

    def diagnose_from(postmortem: Postmortem) -> ExitDiagnosis:
        program = server.flavour.program.rpartition("/")[2]
        options = server.start_options if is_first else {}
        diagnosis = diagnose(
            postmortem,
            pid=process.pid,
            program=program,
            options=options,
            parameters=server.flavour.parameters,
        )
        return ExitDiagnosis(diagnosis, postmortem)

    command = postmortem_command(
        *(server.home, server.log_file, log_from, process.pid, process.started),
        server.ports.values(),
    )
    response = await runner.run(command, timeout_s=_POSTMORTEM_S)
    result = diagnose_from(parse_postmortem(response.stdout))
    for _ in range(_LOG_FLUSH_TRIES):
        if result.diagnosis.names_error:
            break
        # The server writes its log asynchronously: the last lines may appear after its end.
        await asyncio.sleep(_LOG_FLUSH_PAUSE_S)
        log = await _read_log(server, runner, log_from)
        result = diagnose_from(replace(result.postmortem, log=log))
    return result


async def _read_log(server: Server, runner: Runner, log_from: int) -> tuple[str, ...]:
    command = error_lines_command(server.log_file, log_from)
    output = (await run_query(runner, command)).stdout
    return tuple(line for line in output.split("\n") if line)
