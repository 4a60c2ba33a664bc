"""Probes of the servers: process and SQL. Bounded; a dead host does not delay the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from dagengine.errors import ConfigError, RemoteError
from dagengine.remote import Runner
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import Server
from tasks.cluster.observation import (
    AVAILABLE,
    NOT_CONNECTED,
    NOT_RUNNING,
    RESTRICTED,
    Observation,
)
from tasks.flavours.select import select_actions
from tasks.hosts.commands import process_command
from tasks.hosts.facts import parse_process
from tasks.routes import messages
from tasks.sql.access import SqlSession
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, SqlRefused, query_version

WITHIN_S = 2.0
"""Limit for a reader to wait for all servers together, in seconds."""

CACHE_S = 5.0
"""Minimum age of an observation before the server is probed again, in seconds."""

_CALL_S = 1.8  # limit of one query to one host


class ClusterMonitor:
    """Keeps the last known state of every server in the cluster file up to date."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._cluster = access.cluster
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._begun_s: dict[str, float] = {}
        self._sessions: dict[str, SqlSession] = {}

    async def refresh(self) -> Sequence[Server]:
        """Probe every server not probed within CACHE_S; return the servers that have answered.

        Concurrent callers share a running probe. A probe that takes longer than WITHIN_S continues
        in the background, and its result is available to the next reader.
        """
        servers = self._cluster.servers
        now_s = self._access.clock.monotonic_s()
        for server in servers:
            probe = self._probes.get(server.name)
            is_due = now_s - self._begun_s.get(server.name, now_s - CACHE_S) >= CACHE_S
            if is_due and (probe is None or probe.done()):
                self._begun_s[server.name] = now_s
                name = f"probe {server.name}"
                self._probes[server.name] = asyncio.create_task(self._probe(server), name=name)
        probes = [self._probes[server.name] for server in servers]
        if probes:
            await asyncio.wait(probes, timeout=WITHIN_S)
        for probe in probes:
            if probe.done():
                probe.result()
        return [server for server in servers if self._has_answered(server)]

    async def close(self) -> None:
        """Cancel running probes and close the SQL sessions."""
        for probe in self._probes.values():
            probe.cancel()
        await asyncio.gather(*self._probes.values(), return_exceptions=True)
        for session in self._sessions.values():
            await session.close()

    def _has_answered(self, server: Server) -> bool:
        observation = self._cluster.observation(server.name)
        return (
            self._probes[server.name].done()
            and observation is not None
            and observation.is_reachable
        )

    async def _probe(self, server: Server) -> None:
        try:
            observation = await self._observe(server)
        except RemoteError as exc:
            observation = Observation(
                self._access.now(),
                NOT_RUNNING,
                is_reachable=False,
                why=messages.HOST_UNREACHABLE(host=exc.host, reason=exc.message),
            )
        self._cluster.record_observation(server.name, observation)

    async def _session(self, server: Server, runner: Runner) -> SqlSession:
        session = self._sessions.get(server.name)
        if session is None or session.server != server:
            if session is not None:
                await session.close()
            session = self._sessions[server.name] = SqlSession(server, runner)
        return session

    async def _observe(self, server: Server) -> Observation:
        runner = self._access.runner(server)
        command = process_command(server.flavour, server.home)
        result = await runner.run(command, timeout_s=_CALL_S)
        process = parse_process(result.stdout)
        if process is None:
            return Observation(self._access.now(), NOT_RUNNING, why=messages.PROCESS_MISSING())
        session = await self._session(server, runner)
        version = why = ""
        try:
            async with asyncio.timeout(_CALL_S):
                connection = await session.connect(process, self._cluster.root_password())
                version = await query_version(connection)
                rows = await select_actions(self._access).query_table(connection)
                if rows is not None:
                    self._cluster.record_table(rows)
        except TimeoutError:
            why = messages.SQL_TIMED_OUT()
        except (SqlNotReady, SqlRefused, SqlPasswordRefused, ConfigError) as exc:
            why = str(exc)
        if why:
            await session.close()
            # It reported its version but did not answer on the cluster: the majority is missing.
            state = RESTRICTED if version else NOT_CONNECTED
            return Observation(self._access.now(), state, version=version, why=why)
        return Observation(self._access.now(), AVAILABLE, version=version)


@asynccontextmanager
async def open_monitor(access: ClusterAccess) -> AsyncIterator[ClusterMonitor]:
    """Provide a monitor; leaving the context cancels its probes."""
    monitor = ClusterMonitor(access)
    try:
        yield monitor
    finally:
        await monitor.close()
