"""State of the servers: a watch of each host, and probes of process and SQL.

Probes are bounded; a dead host does not delay the others. A probe shows whether a server answers
SQL; the watch (`watch.py`) shows the end of its process at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from dagengine.errors import ConfigError, ForwardingProhibited, RemoteError
from dagengine.extension import Backoff
from dagengine.remote import HostAddress, Runner
from tasks.cluster.access import ClusterAccess
from tasks.cluster.observation import (
    AVAILABLE,
    NOT_CONNECTED,
    NOT_RUNNING,
    RESTRICTED,
    Observation,
)
from tasks.cluster.servers import Server
from tasks.flavours.select import select_actions
from tasks.hosts.commands import process_command
from tasks.hosts.facts import parse_process
from tasks.hosts.identity import ProcessIdentity, parse_doubts
from tasks.hosts.output import parse_lines
from tasks.hosts.process_age import parse_process_age_s
from tasks.hosts.query import ensure_completed
from tasks.hosts.watch import ProcessState
from tasks.monitoring import messages
from tasks.monitoring.watch import HostWatch
from tasks.sql.access import SqlSession
from tasks.sql.cluster import address_of
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, SqlRefused, query_version

WITHIN_S = 2.0
"""Limit for a reader to wait for all servers together, in seconds."""

CACHE_S = 5.0
"""Minimum age of an observation before the server is probed again, in seconds."""

OUTDATED_S = 10.0
"""Age, in seconds, from which the state of a server on a host that is not watched is unknown."""

_RECHECK_S = 60.0  # maximum age of a state, in seconds, at a sign of life of its host; when it is
# younger, one statement over the open connection shows whether the server still answers SQL
_CALL_S = 1.8  # limit of one query to one host
_AFTER_START_S = 5.0  # until the probe of a server that was started; the DAG needs the CPU time
_BOOT = Backoff((1.0, 2.0, 5.0, 10.0, 20.0, 60.0))  # between probes of a process without SQL


class ClusterMonitor:
    """Keeps the last known state of every server in the cluster file up to date."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._cluster = access.cluster
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._begun_s: dict[str, float] = {}
        self._sessions: dict[str, SqlSession] = {}
        self._watches: dict[HostAddress, HostWatch] = {}
        self._boots: dict[str, asyncio.Task[None]] = {}
        self._pings: dict[str, asyncio.Task[None]] = {}
        self._states: dict[str, ProcessState] = {}  # of servers on hosts that are watched
        self._endings: Counter[str] = Counter()
        self._is_watching = False

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the hosts within the context; leaving it ends all connections to them.

        What was observed is forgotten then: another controller may change the servers.
        """
        try:
            self._is_watching = True
            self.follow_file()
            yield
        finally:
            self._is_watching = False
            await self.close()
            self._cluster.forget_observations()

    def follow_file(self) -> None:
        """Watch the hosts that the cluster file names now; does nothing outside `watching`."""
        if not self._is_watching:
            return
        servers: dict[HostAddress, tuple[Server, ...]] = {}
        for server in self._cluster.servers:
            servers[server.address] = (*servers.get(server.address, ()), server)
        for address, watch in list(self._watches.items()):
            if watch.servers != servers.get(address):
                watch.cancel()
                del self._watches[address]
        for address, on_host in servers.items():
            if address not in self._watches:
                runner = self._access.pool.runner(address)
                self._watches[address] = HostWatch(runner, on_host, self)
                self._watches[address].start()

    def record_process(self, server: Server, state: ProcessState) -> None:
        """Record what a watch reports of the process of a server."""
        self._states[server.name] = state
        if state is ProcessState.RUNNING:
            if self._access.starts.is_followed(server.name):
                self._record_starting(server)
            self._start_boot(server)
            return
        self._note_end(server)
        if state is ProcessState.MISSING:
            self._record_missing(server)
        else:
            reason = messages.PROCESS_UNKNOWN(host=server.address)
            self._record_unknown(server, reason)

    def record_life(self, servers: Sequence[Server]) -> None:
        """Record that what the watch of a host has reported still applies."""
        now = self._access.now()
        for server in servers:
            observation = self._cluster.observation(server.name)
            age_s = (now - observation.observed_at).total_seconds() if observation else 0.0
            if observation is not None and observation.is_known and server.name in self._states:
                self._cluster.record_seen(server.name, now)
            match self._states.get(server.name):
                case ProcessState.RUNNING if age_s >= _RECHECK_S or _lacks_pid(observation):
                    self._start_probe(server)
                case ProcessState.RUNNING if self._is_available(server):
                    self._start_ping(server)
                case ProcessState.MISSING if age_s >= OUTDATED_S:
                    self._record_missing(server)
                case ProcessState.UNKNOWN if age_s >= OUTDATED_S:
                    reason = messages.PROCESS_UNKNOWN(host=server.address)
                    self._record_unknown(server, reason)

    def record_loss(self, servers: Sequence[Server], reason: str) -> None:
        """Record that the state of the servers of a host is unknown from now on."""
        for server in servers:
            self._states.pop(server.name, None)
            self._note_end(server)
            outdated = messages.STATE_OUTDATED(host=server.address, reason=reason)
            self._record_unknown(server, outdated, is_reachable=False)

    def expire(self, servers: Sequence[Server], reason: str) -> None:
        """Forget the states of servers on a host that is not watched, once they are outdated."""
        for server in servers:
            observation = self._cluster.observation(server.name)
            if observation is None or is_outdated(observation, self._access.now()):
                outdated = messages.STATE_OUTDATED(host=server.address, reason=reason)
                self._record_unknown(server, outdated, is_reachable=False)

    async def refresh(self, *, is_now: bool = False) -> Sequence[Server]:
        """Probe each server not probed within CACHE_S; return the servers that have answered.

        With `is_now`, each server is probed.

        Concurrent callers share a running probe. A probe that takes longer than WITHIN_S continues
        in the background, and its result is available to the next reader.
        """
        servers = self._cluster.servers
        now_s = self._access.clock.monotonic_s()
        max_age_s = 0.0 if is_now else CACHE_S
        for server in servers:
            probe = self._probes.get(server.name)
            is_due = now_s - self._begun_s.get(server.name, now_s - max_age_s) >= max_age_s
            if is_due or probe is None:
                self._start_probe(server)
        probes = [self._probes[server.name] for server in servers]
        if probes:
            await asyncio.wait(probes, timeout=WITHIN_S)
        for probe in probes:
            if probe.done():
                probe.result()
        return [server for server in servers if self._has_answered(server)]

    def find_current(self, server: Server) -> Observation | None:
        """Return the last observation, unless a probe has waited for the host longer than that.

        The last one may then be older than the host's failure.
        """
        observation, probe = self._cluster.observation(server.name), self._probes.get(server.name)
        if probe is None or probe.done() or (observation and not observation.is_known):
            return observation
        reason = messages.HOST_SILENT(limit_s=WITHIN_S)
        return Observation(
            self._access.now(), NOT_RUNNING, is_known=False, reason=reason, is_reachable=False
        )

    async def close(self) -> None:
        """Cancel watches and running probes, and close the SQL sessions."""
        watches = [watch.cancel() for watch in self._watches.values()]
        pings = self._pings.values()
        tasks = [*watches, *self._boots.values(), *pings, *self._probes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in self._sessions.values():
            await session.close()
        for mapping in (self._watches, self._boots, self._probes, self._sessions, self._states):
            mapping.clear()
        self._begun_s.clear()

    def _has_answered(self, server: Server) -> bool:
        observation = self._cluster.observation(server.name)
        return self._probes[server.name].done() and observation is not None and observation.is_known

    def _note_end(self, server: Server) -> None:
        """Drop the result of a running probe: it began before the state was lost."""
        self._endings[server.name] += 1
        if boot := self._boots.pop(server.name, None):
            boot.cancel()

    def _record_missing(self, server: Server) -> None:
        now = self._access.now()
        observation = Observation(now, NOT_RUNNING, reason=messages.PROCESS_MISSING())
        self._cluster.record_observation(server.name, observation)

    def _record_starting(self, server: Server) -> None:
        reason = messages.START_IN_PROGRESS()
        observation = Observation(self._access.now(), NOT_CONNECTED, reason=reason)
        self._cluster.record_observation(server.name, observation)

    def _record_unknown(self, server: Server, reason: str, *, is_reachable: bool = True) -> None:
        observation = Observation(
            self._access.now(),
            NOT_RUNNING,
            is_known=False,
            reason=reason,
            is_reachable=is_reachable,
        )
        self._cluster.record_observation(server.name, observation)

    def _start_probe(self, server: Server) -> asyncio.Task[None]:
        """Return the running probe of a server; start one if there is none."""
        probe = self._probes.get(server.name)
        if probe is None or probe.done():
            self._begun_s[server.name] = self._access.clock.monotonic_s()
            probe = asyncio.create_task(self._probe(server), name=f"probe {server.name}")
            self._probes[server.name] = probe
        return probe

    def _start_boot(self, server: Server) -> None:
        boot = self._boots.get(server.name)
        if boot is None or boot.done():
            boot = asyncio.create_task(self._follow_boot(server), name=f"boot {server.name}")
            self._boots[server.name] = boot

    async def _follow_boot(self, server: Server) -> None:
        """Probe a server, at growing intervals, until it answers SQL."""
        failures = 0
        if self._access.starts.is_followed(server.name):
            await self._access.starts.wait_for_end(server.name)
            if self._is_available(server):  # the step has recorded that, but no pid
                await asyncio.sleep(_AFTER_START_S)
                await asyncio.wait([self._start_probe(server)])
        while not self._is_available(server):
            await asyncio.wait([self._start_probe(server)])
            if not self._is_available(server):
                await asyncio.sleep(_BOOT.pause_s(failures))
                failures += 1

    def _start_ping(self, server: Server) -> None:
        ping, probe = self._pings.get(server.name), self._probes.get(server.name)
        if (ping is None or ping.done()) and (probe is None or probe.done()):
            ping = asyncio.create_task(self._ping(server), name=f"ping {server.name}")
            self._pings[server.name] = ping

    async def _ping(self, server: Server) -> None:
        """Probe a server, until it is available again, if it does not answer a statement."""
        if (session := self._sessions.get(server.name)) is not None:
            try:
                async with asyncio.timeout(_CALL_S), session.used():
                    if await session.ping():
                        return
            except (TimeoutError, SqlNotReady):
                async with session.used():
                    await session.close()
        await asyncio.wait([self._start_probe(server)])
        if not self._is_available(server):
            self._start_boot(server)

    def _is_available(self, server: Server) -> bool:
        observation = self._cluster.observation(server.name)
        return observation is not None and observation.ob_state == AVAILABLE

    async def _probe(self, server: Server) -> None:
        endings = self._endings[server.name]
        try:
            observation = await self._observe(server)
        except RemoteError as exc:
            observation = Observation(
                self._access.now(),
                NOT_RUNNING,
                is_known=False,
                reason=_explain(exc),
                is_reachable=False,
            )
        if self._endings[server.name] == endings:  # else its process ended during the probe
            self._cluster.record_observation(server.name, observation)

    async def _session(self, server: Server, runner: Runner) -> SqlSession:
        session = self._sessions.get(server.name)
        if session is None or session.server != server:
            if session is not None:
                await session.close()
            session = self._sessions[server.name] = SqlSession(server, runner, self._cluster.logins)
        return session

    async def _observe(self, server: Server) -> Observation:
        runner = self._access.runner(server)
        command = process_command(server.flavour, server.home)
        result = await runner.run(command, timeout_s=_CALL_S)
        ensure_completed(result, command, runner)
        process = parse_process(result.stdout)
        if process is None:
            if parse_doubts(values := parse_lines(result.stdout)) or "unanswered" in values:
                doubt = messages.PROCESS_UNKNOWN(host=server.address)
                return Observation(self._access.now(), NOT_RUNNING, is_known=False, reason=doubt)
            return Observation(self._access.now(), NOT_RUNNING, reason=messages.PROCESS_MISSING())
        observed_at, age_s = self._access.now(), parse_process_age_s(result.stdout)
        started_at = None if age_s is None else observed_at - timedelta(seconds=age_s)
        observation = await self._observe_sql(server, runner, process)
        return replace(observation, pid=process.pid, started_at=started_at)

    async def _observe_sql(
        self, server: Server, runner: Runner, process: ProcessIdentity
    ) -> Observation:
        session = await self._session(server, runner)
        version = reason = ""
        try:
            async with asyncio.timeout(_CALL_S), session.used():
                connection = await session.connect(process, self._cluster.root_password())
                version = await query_version(connection)
                rows = await select_actions(self._access).query_table(connection)
                # A table without the server itself is not that of its cluster.
                if rows is not None and address_of(server) in rows:
                    self._cluster.record_table(rows)
        except TimeoutError:
            reason = messages.SQL_TIMED_OUT()
        except (
            *(SqlNotReady, SqlRefused, SqlPasswordRefused),
            *(ForwardingProhibited, ConfigError),
        ) as exc:
            reason = str(exc)
        if reason:
            await session.close()
            # It reported its version but did not answer on the cluster: the majority is missing.
            state = RESTRICTED if version else NOT_CONNECTED
            return Observation(self._access.now(), state, version=version, reason=reason)
        return Observation(self._access.now(), AVAILABLE, version=version)


def _explain(error: RemoteError) -> str:
    """Return why a host did not answer, and the remedy; the text names the host once."""
    reason = str(error)
    if error.host in error.message:
        return reason
    return messages.HOST_UNREACHABLE(host=error.host, reason=reason)


def _lacks_pid(observation: Observation | None) -> bool:
    """Return whether a task has recorded the state of a server, without its process."""
    if observation is None or observation.pid is not None:
        return False
    return observation.is_known and observation.ob_state in (RESTRICTED, AVAILABLE)


def is_outdated(observation: Observation, now: datetime) -> bool:
    """Whether a state that no watch confirms is too old to be reported."""
    age = now - observation.observed_at
    return observation.is_known and age >= timedelta(seconds=OUTDATED_S)
