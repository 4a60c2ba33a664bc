"""Health wait of a start: process, port, SQL login, a query."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from dagengine import Clock, Failed, Problem, Runner, StepContext, Succeeded
from tasks.cluster.cluster_file import Server
from tasks.diagnosis.diagnose import Diagnosis, diagnose
from tasks.diagnosis.postmortem import Postmortem, parse_postmortem, postmortem_command
from tasks.errors import Code
from tasks.hosts.commands import error_lines_command, probe_command
from tasks.hosts.facts import ProcessLook, parse_alive
from tasks.hosts.identity import ProcessIdentity
from tasks.hosts.query import run_query
from tasks.sql.access import open_sql
from tasks.sql.connection import (
    SqlNotReady,
    SqlPasswordRefused,
    query_value,
    query_version,
    set_root_password,
)

LIMIT_S = 300.0
"""Limit for a server to answer SQL, in seconds; eight at once on two cores took 5 s."""

STABLE_LIMIT_S = 250.0
"""Maximum of `health.stable_s`, in seconds; the stage's time-out includes it."""

_TRACES_S = 30.0  # more than the sum of the script's own limits
# A probe costs both machines some milliseconds of CPU time, which a booting server needs itself.
# The interval keeps that cost low and adds little to the wait.
_POLL_SHARE = 0.05
_FIRST_POLL_S = 0.02
_POLL_CAP_S = 0.1
_SLOW_POLL_S = 1.0
_SLOW_AFTER_S = 30.0
_LAST_WORDS_TRIES = 8
_LAST_WORDS_PAUSE_S = 0.25
_LOOK_EVERY_S = 0.25  # a death is noticed within this interval plus the response time,
_SLOW_LOOK_EVERY_S = 0.75  # and within a second if the start takes long


@dataclass(frozen=True, slots=True)
class MonitoredServer:
    """A server process under observation, and the data needed to probe it."""

    server: Server
    runner: Runner
    process: ProcessIdentity
    log_from: int
    password: str
    is_first: bool = False  #: this was its first start: root has no password yet
    awaits_password: bool = False  #: no first start was confirmed: root may have no password


class HealthLevel(StrEnum):
    """Level of health that a server has reached."""

    NONE = "none"  # its process has ended
    PROCESS = "process"  # its process is alive
    PORT = "port"  # a process listens on its SQL port
    SQL = "sql"  # root can log in, and a query is answered
    IN_SERVICE = "in service"  # confirmed by the cluster (oceanbase; stage 6)


async def wait_until_healthy(
    monitored: MonitoredServer, context: StepContext, clock: Clock
) -> Succeeded | Failed:
    """Poll until SQL answers and stays up, the process has ended, or the time is up."""
    begun_s = clock.monotonic_s()
    pause_s, last, remedy = _FIRST_POLL_S, "not asked yet", ""
    with _ProcessMonitor(monitored, clock).opened() as watch:
        while (waited_s := clock.monotonic_s() - begun_s) < LIMIT_S:
            try:
                await _wait_for_port(monitored)
                version = await _try_sql(monitored, context)
                if await _remains_healthy(monitored, watch, context):
                    return await _healthy(
                        monitored, version, clock.monotonic_s() - begun_s, context
                    )
                last = "it answered SQL, and ended"
            except SqlNotReady as exc:
                last, remedy = exc.message, exc.remedy
                on = f"an answer of {monitored.server.name} on SQL port {monitored.server.sql_port}"
                told = f"level {watch.level}: {last}"
                context.wait_for("sql", on, last=told, next_in_s=pause_s)
            except SqlPasswordRefused:
                return _password_refused(monitored)
            if await watch.pause(pause_s):
                return await diagnose_exit(monitored, context)
            pause_s = choose_pause_s(waited_s)
    return Failed(
        Problem(
            Code.CLUSTER_TIMEOUT,
            f"{monitored.server.name} lives (pid {monitored.process.pid}) but does not answer SQL"
            f" within {LIMIT_S:g} s: {last}",
            f"{remedy or f'look at {monitored.server.log_file}'}, then RETRY",
        ),
        _evidence(monitored, watch.level),
    )


def choose_pause_s(waited_s: float) -> float:
    """Return the interval until the next probe, after `waited_s` seconds of waiting."""
    cap_s = _POLL_CAP_S if waited_s < _SLOW_AFTER_S else _SLOW_POLL_S
    return min(max(_FIRST_POLL_S, waited_s * _POLL_SHARE), cap_s)


async def _healthy(
    monitored: MonitoredServer, version: str, after_s: float, context: StepContext
) -> Succeeded:
    server = monitored.server
    stable = f", and stayed so for {server.stable_s:g} s" if server.stable_s else ""
    await context.log(f"{server.name} answers SQL after {after_s - server.stable_s:.2f} s{stable}")
    took = {"healthy_after_s": round(after_s, 3)}
    evidence = _evidence(monitored, HealthLevel.SQL) | took
    return Succeeded({**took, "version": version}, evidence)


async def _remains_healthy(
    monitored: MonitoredServer, watch: _ProcessMonitor, context: StepContext
) -> bool:
    """Return True if it keeps answering for `stable_s`, False if the process ends before that.

    Raises:
        SqlNotReady: it is alive but has stopped answering; the caller starts waiting again.
    """
    left_s = monitored.server.stable_s
    while left_s > 0:
        pause_s = min(left_s, _SLOW_POLL_S)
        on = f"{monitored.server.name} to stay healthy for {left_s:g} s more"
        context.wait_for("stable", on, last=f"level {HealthLevel.SQL}", next_in_s=pause_s)
        if await watch.pause(pause_s):
            return False
        left_s -= pause_s
        async with open_sql(monitored.server, monitored.runner, monitored.password) as connection:
            await query_value(connection, "select 1")
    return True


async def _wait_for_port(monitored: MonitoredServer) -> None:
    """Raise SqlNotReady while nothing listens; costs the booting host less than a login."""
    if not (await probe_process(monitored)).is_listening:
        raise SqlNotReady(f"nothing listens on port {monitored.server.sql_port} yet")


class _ProcessMonitor:
    """Probes the process in the background while SQL is polled.

    Attributes:
        level: PROCESS, and PORT once a process has listened on the SQL port.
    """

    def __init__(self, monitored: MonitoredServer, clock: Clock) -> None:
        self.level = HealthLevel.PROCESS
        self._monitored_server = monitored
        self._clock = clock
        self._until_gone: asyncio.Task[None] | None = None

    @contextmanager
    def opened(self) -> Iterator[_ProcessMonitor]:
        """Probe the process until the context is left."""
        name = f"look at pid {self._monitored_server.process.pid}"
        self._until_gone = asyncio.create_task(self._poll_until_exit(), name=name)
        try:
            yield self
        finally:
            self._until_gone.cancel()

    async def pause(self, seconds: float) -> bool:
        """Wait for the given time or until the process has ended; return True if it has.

        Raises:
            RemoteError: the host can no longer be queried.
        """
        assert self._until_gone is not None
        done, _ = await asyncio.wait([self._until_gone], timeout=seconds)
        if done:
            self._until_gone.result()
        return bool(done)

    async def _poll_until_exit(self) -> None:
        begun_s = self._clock.monotonic_s()
        while True:
            is_late = self._clock.monotonic_s() - begun_s > _SLOW_AFTER_S
            await asyncio.sleep(_SLOW_LOOK_EVERY_S if is_late else _LOOK_EVERY_S)
            seen = await probe_process(self._monitored_server)
            if seen.is_gone:
                return
            self.level = HealthLevel.PORT if seen.is_listening else self.level


async def diagnose_exit(monitored: MonitoredServer, context: StepContext) -> Failed:
    """Build the failure of a server whose process has ended, with the cause from its traces."""
    server = monitored.server
    gone = f"{server.name}: the server (pid {monitored.process.pid}) is gone"
    await context.log(f"{gone}; looking for the cause")
    traces = await _read_traces(monitored)
    found = _diagnose(monitored, traces)
    for _ in range(_LAST_WORDS_TRIES):
        if found.names_error:
            break
        # The server writes its log asynchronously: the last lines may appear after its end.
        await asyncio.sleep(_LAST_WORDS_PAUSE_S)
        traces = replace(traces, log=await _read_log(monitored))
        found = _diagnose(monitored, traces)
    for line in found.lines:
        await context.log(f"{server.name} log: {line}")
    evidence: dict[str, object] = {
        "cause": found.sentence,
        "remedy": found.remedy,
        "log": list(found.lines),
        "traces": traces.as_evidence(),
    }
    if found.errcode is not None:
        evidence["errcode"] = found.errcode
    return Failed(
        Problem(
            Code.PROCESS_NOT_EXIST,
            f"{gone}: {found.sentence}",
            f"{found.remedy}, then RETRY; all of it is in {server.log_file}",
        ),
        _evidence(monitored, HealthLevel.NONE) | evidence,
    )


def _diagnose(monitored: MonitoredServer, traces: Postmortem) -> Diagnosis:
    flavour = monitored.server.flavour
    return diagnose(
        traces,
        pid=monitored.process.pid,
        program=flavour.program.rpartition("/")[2],
        options=monitored.server.start_options if monitored.is_first else {},
    )


async def _read_traces(monitored: MonitoredServer) -> Postmortem:
    server, process = monitored.server, monitored.process
    question = postmortem_command(
        *(server.home, server.log_file, monitored.log_from, process.pid, process.started),
        server.ports.values(),
    )
    return parse_postmortem((await monitored.runner.run(question, timeout_s=_TRACES_S)).stdout)


async def _read_log(monitored: MonitoredServer) -> tuple[str, ...]:
    question = error_lines_command(monitored.server.log_file, monitored.log_from)
    said = (await run_query(monitored.runner, question)).stdout
    return tuple(line for line in said.split("\n") if line)


async def _try_sql(monitored: MonitoredServer, context: StepContext) -> str:
    """Return the server's version; root's password is the configured one, or still empty.

    An empty password is tried only while no first start of this home has been confirmed.
    """
    if not (monitored.server.flavour.sets_root_password and monitored.awaits_password):
        return await _query_version(monitored, context, monitored.password)
    first, second = ("", monitored.password) if monitored.is_first else (monitored.password, "")
    try:
        return await _query_version(monitored, context, first)
    except SqlPasswordRefused:
        if first == second:
            raise
    return await _query_version(monitored, context, second)


async def _query_version(monitored: MonitoredServer, context: StepContext, password: str) -> str:
    async with open_sql(monitored.server, monitored.runner, password) as connection:
        version = await query_version(connection)
        if password != monitored.password:
            # The second login in stage 6 proves that the password is set.
            await set_root_password(connection, monitored.password)
            said = "root had no password; set the configured one"
            await context.log(f"{monitored.server.name}: {said}")
        return version


async def probe_process(monitored: MonitoredServer) -> ProcessLook:
    """Probe whether the process is alive and whether its SQL port is open.

    Raises:
        RemoteError: the host cannot be queried.
    """
    process = monitored.process
    question = probe_command(process.pid, process.started, monitored.server.sql_port)
    return parse_alive((await run_query(monitored.runner, question)).stdout)


async def is_gone(monitored: MonitoredServer) -> bool:
    """Return whether the process has ended; False if the response was truncated.

    Raises:
        RemoteError: the host cannot be queried.
    """
    return (await probe_process(monitored)).is_gone


def _password_refused(monitored: MonitoredServer) -> Failed:
    return Failed(
        Problem(
            SqlPasswordRefused.err_code,
            f"{monitored.server.name} runs, but refuses the configured password of root",
            "correct the password that the cluster file names, then RETRY",
        ),
        _evidence(monitored, HealthLevel.PORT),
    )


def _evidence(monitored: MonitoredServer, level: HealthLevel) -> dict[str, object]:
    return {
        "pid": monitored.process.pid,
        "sql_port": monitored.server.sql_port,
        "level": str(level),
    }
