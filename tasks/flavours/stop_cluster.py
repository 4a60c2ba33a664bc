"""Database side of a stop, by flavour: request checks, minor freeze, stop by SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from dagengine import (
    Clock,
    DagengineError,
    Failed,
    Outcome,
    Problem,
    RunnerPool,
    StepContext,
    Succeeded,
)
from tasks.cluster.cluster_file import ClusterFile, Server
from tasks.cluster.flavour import OCEANBASE, SEEKDB, Flavour
from tasks.cluster.quorum import explain_majority
from tasks.errors import Code, ForceStopOrTerminateRequired, ForceStopRequired
from tasks.flavours.stop_safety import StopMode, check_plain_stop, read_snapshot
from tasks.sql.access import SqlPeerRefused
from tasks.sql.cluster import (
    CHECKPOINTS,
    MINOR_FREEZE,
    SERVERS,
    ZONES,
    ClusterSql,
    address_of,
    open_cluster_sql,
    parse_checkpoints,
    parse_servers,
    parse_zones,
    render_minor_freeze,
    render_server_change,
    render_zone_change,
)
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, SqlRefused

_LOOK_S = 5.0  # limit for the database to answer the checks of a request
_POLL_S = 0.3
_SLOW_POLL_S = 5.0
_SLOW_AFTER_S = 30.0

Checkpoints: TypeAlias = Mapping[str, int]
"""Each server's smallest checkpoint, by the server's name."""


class StopSteps(Protocol):
    """Steps that differ between flavours when servers are stopped."""

    async def check(self, mode: StopMode, scope: str, targets: Sequence[str]) -> None:
        """Run the checks of a request that need the database; raise ApiError if one fails."""
        ...

    async def freeze(self, context: StepContext, names: Sequence[str]) -> Outcome:
        """Have these servers write their memory to disk, and wait until they have done so."""
        ...

    async def stop_by_sql(self, context: StepContext) -> Outcome:
        """Take the targets out of service; their processes keep running."""
        ...


@dataclass(frozen=True, slots=True)
class SeekdbStop:
    """Steps of seekdb; a server is a separate database and cannot be taken out of service."""

    cluster: ClusterFile
    pool: RunnerPool
    clock: Clock

    async def check(self, mode: StopMode, scope: str, targets: Sequence[str]) -> None:
        if mode is StopMode.PLAIN:
            raise ForceStopOrTerminateRequired(
                f"seekdb cannot be taken out of service by SQL, as a {scope} stop without"
                " terminate and force would do",
                remedy="send terminate (its data is written first) or force",
            )
        if mode is StopMode.FORCE:
            return
        servers = [self.cluster.server(name) for name in targets]
        refused: list[SqlPeerRefused] = []
        asking = (self._checkpoint(server, refused) for server in servers)
        if all(checkpoint is None for checkpoint in await asyncio.gather(*asking)):
            raise _force_required(
                "none of the servers answers SQL, so their data cannot be written first",
                "send force instead of terminate",
                refused,
            )

    async def freeze(self, context: StepContext, names: Sequence[str]) -> Outcome:
        servers = [self.cluster.server(name) for name in names]

        refused: list[SqlPeerRefused] = []

        async def read() -> Checkpoints:
            refused.clear()
            found = await asyncio.gather(*(self._checkpoint(server, refused) for server in servers))
            return {s.name: at for s, at in zip(servers, found, strict=True) if at is not None}

        before = await read()
        for error in refused:
            await context.log(f"WARN: not frozen: {error}")
        if not before:
            return await _nothing_to_freeze(context)
        for server in servers:
            if server.name not in before:
                continue
            try:
                async with self._open(server) as sql:
                    await sql.run_query(MINOR_FREEZE)
            except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
                what = f"{server.name}: the minor freeze was not taken: {exc.message}"
                remedy = "RETRY; or PASS this stage, and they are stopped without it"
                return Failed(Problem(exc.err_code, what, remedy))
        return await _wait_growth(context, before, read, self.cluster, self.clock)

    async def stop_by_sql(self, context: StepContext) -> Outcome:
        del context
        what = "seekdb has no STOP SERVER and no STOP ZONE"
        return Failed(Problem(SqlRefused.err_code, what, "stop it with terminate or force"))

    def _open(self, server: Server) -> AbstractAsyncContextManager[ClusterSql]:
        password = self.cluster.root_password()
        return open_cluster_sql([server], password, self.pool, self.clock, 0)

    async def _checkpoint(self, server: Server, refused: list[SqlPeerRefused]) -> int | None:
        query = "SELECT MIN(checkpoint_scn) FROM oceanbase.__all_virtual_ls_info"
        try:
            async with asyncio.timeout(_LOOK_S), self._open(server) as sql:
                ((checkpoint,),) = await sql.run_query(query)
        except SqlPeerRefused as exc:
            refused.append(exc)
            return None
        except (DagengineError, TimeoutError, ValueError):
            return None
        return None if checkpoint is None else int(checkpoint)


@dataclass(frozen=True, slots=True)
class OceanbaseStop:
    """Steps of oceanbase: servers in zones that form one database.

    They query the servers in scope; the others only if none of those answers.
    """

    cluster: ClusterFile
    pool: RunnerPool
    clock: Clock

    async def check(self, mode: StopMode, scope: str, targets: Sequence[str]) -> None:
        if mode is StopMode.FORCE and scope != "ZONE":
            return
        inside = [s for s in self.cluster.servers if s.name in targets]
        outside = [s for s in self.cluster.servers if s.name not in targets]
        snapshot = None
        refused: list[SqlPeerRefused] = []
        for servers in (inside, outside):
            if snapshot is None and servers:
                password = self.cluster.root_password()
                snapshot = await read_snapshot(
                    servers, password, self.pool, self.clock, _LOOK_S, refused
                )
        if snapshot is None:
            known = explain_majority(self.cluster.servers, (), targets)
            raise _force_required(
                f"the database does not answer: {known.message}",
                "start what is missing, or stop single servers with force",
                refused,
            )
        if mode is StopMode.PLAIN:
            check_plain_stop(snapshot, scope, {server.zone for server in inside})

    async def freeze(self, context: StepContext, names: Sequence[str]) -> Outcome:
        servers = [self.cluster.server(name) for name in names]
        try:
            async with self._open(context) as sql:
                rows = parse_servers(await sql.run_query(SERVERS))
                active = [
                    server
                    for server in servers
                    if (row := rows.get(address_of(server))) and row.status == "ACTIVE"
                ]
                if not active:
                    return await _nothing_to_freeze(context)
                before = await _read_checkpoints(sql, active)
                await sql.run_query(render_minor_freeze(active))

            async def read() -> Checkpoints:
                async with self._open(context) as later:
                    return await _read_checkpoints(later, active)

            return await _wait_growth(context, before, read, self.cluster, self.clock)
        except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
            return Failed(self._explain(context, exc))

    async def stop_by_sql(self, context: StepContext) -> Outcome:
        scope = context.params["scope"]
        context.wait_for("sql", f"STOP {scope['type']} of the cluster")
        try:
            async with self._open(context) as sql:
                for statement in self._statements(scope, context.targets):
                    await sql.run_query(statement)
                    await context.log(f"through {sql.through.name}: {statement}")
                return await self._confirm(context, sql, scope)
        except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
            return Failed(self._explain(context, exc))

    # --- below: the parts ------------------------------------------------------------------

    def _open(self, context: StepContext) -> AbstractAsyncContextManager[ClusterSql]:
        current = self.cluster.current
        inside = [server for server in current.servers if server.name in context.targets]
        outside = [server for server in current.servers if server not in inside]
        return open_cluster_sql(
            [*inside, *outside],
            self.cluster.root_password(),
            self.pool,
            self.clock,
            current.cluster_sql_timeout_s,
        )

    def _statements(self, scope: Mapping[str, Any], targets: Sequence[str]) -> list[str]:
        if scope["type"] == "ZONE":
            return [render_zone_change("STOP", zone) for zone in scope["target"]]
        return [render_server_change("STOP", self.cluster.server(name)) for name in targets]

    async def _confirm(
        self, context: StepContext, sql: ClusterSql, scope: Mapping[str, Any]
    ) -> Outcome:
        while (left := await self._not_stopped(sql, scope, context.targets)) and sql.left_s > 0:
            context.wait_for("sql", f"the stop of {', '.join(left)}", next_in_s=_POLL_S)
            await asyncio.sleep(_POLL_S)
        if left:
            what = f"the cluster does not show as stopped: {', '.join(left)}"
            code = Code.CLUSTER_TIMEOUT
            return Failed(Problem(code, what, "look at the cluster's event history, then RETRY"))
        evidence = {name: {"level": "sql", "in_service": False} for name in context.targets}
        return Succeeded(evidence=evidence, summary="out of service by SQL; the processes run on")

    async def _not_stopped(
        self, sql: ClusterSql, scope: Mapping[str, Any], targets: Sequence[str]
    ) -> list[str]:
        if scope["type"] == "ZONE":
            zones = parse_zones(await sql.run_query(ZONES))
            return [zone for zone in scope["target"] if zones.get(zone) != "INACTIVE"]
        rows = parse_servers(await sql.run_query(SERVERS))
        stopped = {address for address, row in rows.items() if row.stopped}
        return [n for n in targets if address_of(self.cluster.server(n)) not in stopped]

    def _explain(self, context: StepContext, exc: DagengineError) -> Problem:
        if isinstance(exc, SqlRefused) and not exc.may_pass:
            return Problem(exc.err_code, exc.message, "look at the cluster, then RETRY")
        if isinstance(exc, SqlPasswordRefused):
            return Problem(exc.err_code, exc.message, "correct the configured password, then RETRY")
        known = explain_majority(self.cluster.servers, (), context.targets)
        text = f"{known.message}; last answer: {exc.message}"
        first = f"{exc.remedy}; " if exc.remedy else ""
        return Problem(SqlNotReady.err_code, text, f"{first}{known.remedy}; or stop with force")


def _force_required(what: str, remedy: str, refused: Sequence[SqlPeerRefused]) -> ForceStopRequired:
    """Build the error; also names processes on SQL ports that are not the expected server."""
    whats, remedies = [what], [remedy]
    for error in refused:
        whats.append(error.message)
        remedies.insert(0, error.remedy)
    return ForceStopRequired("; ".join(whats), remedy="; ".join(dict.fromkeys(remedies)))


_Maker: TypeAlias = Callable[[ClusterFile, RunnerPool, Clock], StopSteps]
_STEPS: Mapping[Flavour, _Maker] = {SEEKDB: SeekdbStop, OCEANBASE: OceanbaseStop}


def make_stop_steps(cluster: ClusterFile, pool: RunnerPool, clock: Clock) -> StopSteps:
    """Return the steps of the flavour in the current cluster file."""
    return _STEPS[cluster.current.flavour](cluster, pool, clock)


async def _read_checkpoints(sql: ClusterSql, servers: Collection[Server]) -> Checkpoints:
    found = parse_checkpoints(await sql.run_query(CHECKPOINTS))
    return {s.name: found[address_of(s)] for s in servers if address_of(s) in found}


async def _nothing_to_freeze(context: StepContext) -> Outcome:
    await context.log("no server of this task serves: there is nothing to freeze")
    return Succeeded()


async def _wait_growth(
    context: StepContext,
    before: Checkpoints,
    read: Callable[[], Awaitable[Checkpoints]],
    cluster: ClusterFile,
    clock: Clock,
) -> Outcome:
    """Wait until each server's smallest checkpoint has grown, that is, its memory is on disk."""
    begun_s, limit_s = clock.monotonic_s(), cluster.current.freeze_timeout_s
    context.wait_for("sql", f"the checkpoints of {', '.join(before)}", next_in_s=_POLL_S)
    await context.log(f"minor freeze of {', '.join(before)}; waiting for their checkpoints")
    while True:
        now = await read()
        left = [name for name, at in before.items() if now.get(name, at) <= at]
        waited_s = clock.monotonic_s() - begun_s
        if not left:
            await context.log(f"every checkpoint has grown, after {waited_s:.1f} s")
            return Succeeded()
        if waited_s >= limit_s:
            break
        pause_s = _POLL_S if waited_s < _SLOW_AFTER_S else _SLOW_POLL_S
        what = f"the checkpoints of {', '.join(left)}"
        context.wait_for("sql", what, next_in_s=pause_s)
        await asyncio.sleep(pause_s)
    return Failed(
        Problem(
            Code.FREEZE_TIMEOUT,
            f"after {limit_s:g} s the checkpoint has not grown of {', '.join(left)}",
            "RETRY; or PASS this stage, and they are stopped without it",
        )
    )
