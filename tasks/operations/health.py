"""Health wait of a start: process, port, SQL login, a query."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from dagengine import Clock, StepContext
from dagengine.mysql import Connection
from dagengine.remote import Runner
from tasks.cluster.root_password import RootLogins
from tasks.cluster.servers import Server
from tasks.hosts.commands import probe_command
from tasks.hosts.facts import ProcessLook, parse_alive
from tasks.hosts.identity import ProcessIdentity
from tasks.hosts.query import describe_failure, run_query
from tasks.operations import messages
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

# A probe costs both machines some milliseconds of CPU time, which a booting server needs itself.
# The interval keeps that cost low and adds little to the wait.
_POLL_SHARE = 0.05
_FIRST_POLL_S = 0.02
_POLL_CAP_S = 0.1
_SLOW_POLL_S = 1.0
_SLOW_AFTER_S = 30.0
_PROBE_INTERVAL_S = 0.25  # an exit is noticed within this interval plus the response time,
_SLOW_PROBE_INTERVAL_S = 0.75  # and within a second if the start takes long


@dataclass(frozen=True, slots=True)
class MonitoredServer:
    """A server process under observation, and the data needed to probe it."""

    server: Server
    runner: Runner
    process: ProcessIdentity
    log_from: int
    password: str
    logins: RootLogins
    is_first: bool = False  #: this was its first start: root has no password yet
    awaits_password: bool = False  #: no first start was confirmed: root may have no password

    def log_in(self, password: str) -> AbstractAsyncContextManager[Connection]:
        """Open a connection as root, see `open_sql`."""
        return open_sql(self.server, self.runner, password, logins=self.logins, known=self.process)


class HealthLevel(StrEnum):
    """Level of health that a server has reached."""

    NONE = "none"  # its process has ended
    PROCESS = "process"  # its process is alive
    PORT = "port"  # a process listens on its SQL port
    SQL = "sql"  # root can log in, and a query is answered
    IN_SERVICE = "in service"  # confirmed by the cluster (oceanbase; stage 6)


@dataclass(frozen=True, slots=True)
class Healthy:
    """Result of a wait: the server answers SQL.

    Attributes:
        version: of the server.
        after_s: duration of the wait in seconds, including `stable_s` of the server.
    """

    version: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Exited:
    """Result of a wait: the process of the server has ended."""


@dataclass(frozen=True, slots=True)
class HealthTimedOut:
    """Result of a wait: the process runs, but does not answer SQL within the limit.

    Attributes:
        level: the level that the server has reached.
        reason: why the last attempt failed.
        remedy: the next step for the operator; empty if unknown.
        limit_s: the limit in seconds.
    """

    level: HealthLevel
    reason: str
    remedy: str
    limit_s: float


HealthResult: TypeAlias = Healthy | Exited | HealthTimedOut


async def wait_until_healthy(
    monitored: MonitoredServer, context: StepContext, clock: Clock
) -> HealthResult:
    """Poll until SQL answers and stays up, the process has ended, or the time is up.

    Raises:
        SqlPasswordRefused: the server refuses the configured password.
        ForwardingProhibited: sshd does not permit a connection to the SQL port.
        RemoteError: the host cannot be queried.
    """
    started_s = clock.monotonic_s()
    waited_s, pause_s = 0.0, _FIRST_POLL_S
    reason, remedy = "", ""
    with _ProcessMonitor(monitored, clock).opened() as monitor:
        while True:
            try:
                await _wait_for_port(monitored)
                version = await _try_sql(monitored, context)
                if await _remains_healthy(monitored, monitor, context):
                    return Healthy(version, clock.monotonic_s() - started_s)
                reason = messages.ENDED_AFTER_ANSWER()
            except SqlNotReady as exc:
                reason, remedy = exc.message, exc.remedy
                server = monitored.server
                subject = messages.SQL_ANSWER(server=server.name, port=server.sql_port)
                last_result = messages.LEVEL_AND_REASON(level=monitor.level, reason=reason)
                context.wait_for("sql", subject, last=last_result, next_in_s=pause_s)
            if await monitor.pause(pause_s):
                return Exited()
            pause_s = choose_pause_s(waited_s)
            waited_s = clock.monotonic_s() - started_s
            if waited_s >= LIMIT_S:
                return HealthTimedOut(monitor.level, reason, remedy, LIMIT_S)


def choose_pause_s(waited_s: float) -> float:
    """Return the interval until the next probe, after `waited_s` seconds of waiting."""
    cap_s = _POLL_CAP_S if waited_s < _SLOW_AFTER_S else _SLOW_POLL_S
    return min(max(_FIRST_POLL_S, waited_s * _POLL_SHARE), cap_s)


async def _remains_healthy(
    monitored: MonitoredServer, monitor: _ProcessMonitor, context: StepContext
) -> bool:
    """Return True if it keeps answering for `stable_s`, False if the process ends before that.

    Raises:
        SqlNotReady: it is alive but has stopped answering; the caller starts waiting again.
    """
    left_s = monitored.server.stable_s
    while left_s > 0:
        pause_s = min(left_s, _SLOW_POLL_S)
        subject = messages.STABILITY(server=monitored.server.name, left_s=left_s)
        last_result = messages.LEVEL(level=HealthLevel.SQL)
        context.wait_for("stable", subject, last=last_result, next_in_s=pause_s)
        if await monitor.pause(pause_s):
            return False
        left_s -= pause_s
        async with monitored.log_in(monitored.password) as connection:
            await query_value(connection, "select 1")
    return True


async def _wait_for_port(monitored: MonitoredServer) -> None:
    """Raise SqlNotReady while nothing listens; costs the booting host less than a login."""
    state = await probe_process(monitored)
    if state.failure:
        raise SqlNotReady(messages.PROBE_FAILED(failure=state.failure))
    if not state.is_listening:
        raise SqlNotReady(messages.PORT_CLOSED(port=monitored.server.sql_port))


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
        name = f"probe pid {self._monitored_server.process.pid}"
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
        started_s = self._clock.monotonic_s()
        while True:
            is_late = self._clock.monotonic_s() - started_s > _SLOW_AFTER_S
            await asyncio.sleep(_SLOW_PROBE_INTERVAL_S if is_late else _PROBE_INTERVAL_S)
            process_state = await probe_process(self._monitored_server)
            if process_state.is_gone:
                return
            self.level = HealthLevel.PORT if process_state.is_listening else self.level


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
    async with monitored.log_in(password) as connection:
        version = await query_version(connection)
        if password != monitored.password:
            # The second login in stage 6 proves that the password is set.
            await set_root_password(connection, monitored.password)
            await context.log(messages.PASSWORD_SET(server=monitored.server.name))
        return version


async def probe_process(monitored: MonitoredServer) -> ProcessLook:
    """Probe whether the process is alive and whether its SQL port is open.

    Raises:
        RemoteError: the host cannot be queried.
    """
    process = monitored.process
    command = probe_command(process.pid, process.started, monitored.server.sql_port)
    # One failed probe proves nothing, such as one without memory on a host that starts a server.
    result = await run_query(monitored.runner, command, may_fail=True)
    return replace(parse_alive(result.stdout), failure=describe_failure(result))


async def is_gone(monitored: MonitoredServer) -> bool:
    """Return whether the process has ended; False if the response was truncated.

    Raises:
        RemoteError: the host cannot be queried.
    """
    return (await probe_process(monitored)).is_gone
