"""oceanbase: servers in zones that form one database, with commands for the cluster as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from dagengine import Failed, Outcome, Problem, StepContext, Succeeded
from dagengine.errors import DagengineError
from dagengine.mysql import Connection
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import Server
from tasks.cluster.flavour import Flavour
from tasks.cluster.observation import AVAILABLE, TableRow
from tasks.cluster.quorum import explain_majority
from tasks.cluster.scope import RequestedScope, ScopeKind
from tasks.errors import Code, retryable_problem
from tasks.flavours.base import ServiceReport, StopMode
from tasks.flavours.checkpoints import Checkpoints, log_nothing_to_freeze, wait_for_growth
from tasks.flavours.stop_safety import check_plain_stop, force_required_error, read_snapshot
from tasks.sql.access import SqlPeerRefused
from tasks.sql.cluster import (
    CHECKPOINTS,
    SERVERS,
    ZONES,
    Address,
    ClusterSql,
    ServerRow,
    address_of,
    open_cluster_sql,
    parse_checkpoints,
    parse_servers,
    parse_zones,
    query_table,
    render_address,
    render_minor_freeze,
    render_server_change,
    render_zone_change,
)
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, SqlRefused

OCEANBASE = Flavour(
    name="oceanbase",
    program="bin/observer",
    log="log/observer.log",
    can_initialise=False,  # its first start is a bootstrap, which this program does not do
    forms_cluster=True,
    sets_root_password=False,
    # A later start takes no options: the server reads its own configuration (protocol 7.3).
    # Started with the home as working directory.
    command_line=lambda home: ("env", f"LD_LIBRARY_PATH={home}/lib", f"{home}/bin/observer"),
)

_PREVIEW_S = 5.0  # limit for the database to answer the checks of a request
_POLL_S = 0.3
_READ_HISTORY = "read the event history of the cluster"
_ALREADY_ACTIVE = "zone status not match"  # the server's text, known to clients (protocol 7.1)


@dataclass(frozen=True, slots=True)
class OceanbaseActions:
    """Database actions of oceanbase.

    A stop queries the servers in scope; the others only if none of those answers.
    """

    access: ClusterAccess

    # --- start -----------------------------------------------------------------------------

    async def start_cluster(self, context: StepContext, scope: RequestedScope) -> Outcome:
        """Send START SERVER for each healthy target, then START ZONE according to the scope."""
        servers = [self.access.server(name) for name in context.healthy_targets]
        context.wait_for("sql", "the cluster's START SERVER and START ZONE")
        problems: list[str] = []
        try:
            async with open_cluster_sql(self.access, servers) as sql:
                for server in servers:
                    problems += await _start_server(sql, server, context)
                for zone in await _zones_to_start(sql, scope):
                    problems += await _start_zone(sql, zone, context)
        except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
            return Failed(self._explain(context, exc, context.healthy_targets))
        if not problems:
            return Succeeded()
        for line in problems[:-1]:
            await context.log(f"ERROR: {line}")
        return Failed(retryable_problem(SqlRefused.err_code, problems[-1], _READ_HISTORY))

    async def confirm_service(self, context: StepContext, names: Sequence[str]) -> ServiceReport:
        """Confirm that servers are ACTIVE and in service, through another server if possible."""
        servers = [self.access.server(name) for name in names]
        findings = _ServiceFindings({server.name: {"level": "sql"} for server in servers})
        groups: dict[str, tuple[list[Server], list[Server]]] = {}
        for server in servers:
            readers = [other for other in servers if other is not server] or [server]
            groups.setdefault(readers[0].name, (readers, []))[1].append(server)
        for readers, group in groups.values():
            await self._check_service(context, readers, group, findings)
        return ServiceReport(findings.evidence, tuple(findings.problems))

    async def _check_service(
        self,
        context: StepContext,
        readers: Sequence[Server],
        servers: Sequence[Server],
        findings: _ServiceFindings,
    ) -> None:
        """Wait until each of the servers is in service according to the readers."""
        rows: dict[Address, ServerRow] = {}
        try:
            async with open_cluster_sql(self.access, readers) as sql:
                while True:
                    rows = parse_servers(await sql.run_query(SERVERS))
                    waiting = [server.name for server in servers if not _serves(rows, server)]
                    if not waiting or sql.left_s <= _POLL_S:
                        break
                    what = f"the service of {', '.join(waiting)}"
                    context.wait_for("sql", what, next_in_s=_POLL_S)
                    await asyncio.sleep(_POLL_S)
                through = sql.through
        except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
            findings.problems.append(self._explain(context, exc, context.healthy_targets))
            return
        for server in servers:
            problem = _service_problem(rows.get(address_of(server)), server)
            if problem is not None:
                findings.problems.append(problem)
                findings.evidence[server.name]["in_service"] = False
                continue
            is_crossed = through is not server
            how = f"read through {through.name}" if is_crossed else "not cross-checked"
            await context.log(f"{server.name}: ACTIVE and in service ({how})")
            observation = self.access.cluster.observation(server.name)
            version = observation.version if observation else ""
            self.access.record(server, AVAILABLE, version=version)
            findings.evidence[server.name] = {
                "level": "in service",
                "verified": True,
                "cross_checked": is_crossed,
            }

    # --- stop ------------------------------------------------------------------------------

    async def check_stop(self, mode: StopMode, scope: ScopeKind, targets: Sequence[str]) -> None:
        if mode is StopMode.FORCE and scope is not ScopeKind.ZONE:
            return
        cluster = self.access.cluster
        inside = [server for server in cluster.servers if server.name in targets]
        outside = [server for server in cluster.servers if server.name not in targets]
        snapshot = None
        refused: list[SqlPeerRefused] = []
        for servers in (inside, outside):
            if snapshot is None and servers:
                snapshot = await read_snapshot(self.access, servers, _PREVIEW_S, refused)
        if snapshot is None:
            majority = explain_majority(cluster.servers, (), targets)
            raise force_required_error(
                f"the database does not answer: {majority.message}",
                "start what is missing, or stop single servers with force",
                refused,
            )
        if mode is StopMode.PLAIN:
            check_plain_stop(snapshot, scope, {server.zone for server in inside})

    async def freeze(self, context: StepContext, names: Sequence[str]) -> Outcome:
        servers = [self.access.server(name) for name in names]
        try:
            async with self._open(context) as sql:
                rows = parse_servers(await sql.run_query(SERVERS))
                active = [
                    server
                    for server in servers
                    if (row := rows.get(address_of(server))) and row.status == "ACTIVE"
                ]
                if not active:
                    return await log_nothing_to_freeze(context)
                before = await _read_checkpoints(sql, active)
                await sql.run_query(render_minor_freeze(active))

            async def read() -> Checkpoints:
                async with self._open(context) as later:
                    return await _read_checkpoints(later, active)

            return await wait_for_growth(context, self.access, before, read)
        except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
            return Failed(self._explain_stop(context, exc))

    async def stop_by_sql(self, context: StepContext, scope: RequestedScope) -> Outcome:
        context.wait_for("sql", f"STOP {scope.kind} of the cluster")
        try:
            async with self._open(context) as sql:
                for statement in self._stop_statements(scope, context.targets):
                    await sql.run_query(statement)
                    await context.log(f"through {sql.through.name}: {statement}")
                return await self._confirm_stop(context, sql, scope)
        except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
            return Failed(self._explain_stop(context, exc))

    def render_freeze(self, server: Server) -> str:
        return render_minor_freeze([server])

    def render_plain_stop(self, server: Server, scope: ScopeKind) -> str:
        if scope is ScopeKind.ZONE:
            return render_zone_change("STOP", server.zone)
        return render_server_change("STOP", server)

    def _open(self, context: StepContext) -> AbstractAsyncContextManager[ClusterSql]:
        """Open the cluster's SQL, through the targets if possible."""
        servers = self.access.cluster.current.servers
        inside = [server for server in servers if server.name in context.targets]
        outside = [server for server in servers if server not in inside]
        return open_cluster_sql(self.access, [*inside, *outside])

    def _stop_statements(self, scope: RequestedScope, targets: Sequence[str]) -> list[str]:
        if scope.kind is ScopeKind.ZONE:
            return [render_zone_change("STOP", zone) for zone in scope.target]
        return [render_server_change("STOP", self.access.server(name)) for name in targets]

    async def _confirm_stop(
        self, context: StepContext, sql: ClusterSql, scope: RequestedScope
    ) -> Outcome:
        while (left := await self._not_stopped(sql, scope, context.targets)) and sql.left_s > 0:
            context.wait_for("sql", f"the stop of {', '.join(left)}", next_in_s=_POLL_S)
            await asyncio.sleep(_POLL_S)
        if left:
            what = f"the cluster does not show as stopped: {', '.join(left)}"
            return Failed(retryable_problem(Code.CLUSTER_TIMEOUT, what, _READ_HISTORY))
        evidence = {name: {"level": "sql", "in_service": False} for name in context.targets}
        return Succeeded(evidence=evidence, summary="out of service by SQL; the processes run on")

    async def _not_stopped(
        self, sql: ClusterSql, scope: RequestedScope, targets: Sequence[str]
    ) -> list[str]:
        if scope.kind is ScopeKind.ZONE:
            zones = parse_zones(await sql.run_query(ZONES))
            return [zone for zone in scope.target if zones.get(zone) != "INACTIVE"]
        rows = parse_servers(await sql.run_query(SERVERS))
        stopped = {address for address, row in rows.items() if row.stopped}
        return [name for name in targets if address_of(self.access.server(name)) not in stopped]

    # --- both ------------------------------------------------------------------------------

    async def query_table(
        self, connection: Connection
    ) -> Mapping[tuple[str, int], TableRow] | None:
        return await query_table(connection)

    def _explain_stop(self, context: StepContext, exc: DagengineError) -> Problem:
        return self._explain(context, exc, (), alternative="; or stop with force")

    def _explain(
        self,
        context: StepContext,
        exc: DagengineError,
        healthy: Collection[str],
        *,
        alternative: str = "",
    ) -> Problem:
        """Explain a failure; without a specific reason, assume that the majority is missing."""
        if isinstance(exc, SqlPasswordRefused):
            return retryable_problem(exc.err_code, exc.message, "correct the configured password")
        if isinstance(exc, SqlRefused) and not exc.may_pass:
            return retryable_problem(exc.err_code, exc.message, "check the state of the cluster")
        majority = explain_majority(self.access.cluster.servers, healthy, context.targets)
        text = f"{majority.message}; last answer: {exc.message}"
        first = f"{exc.remedy}; " if exc.remedy else ""
        return Problem(SqlNotReady.err_code, text, f"{first}{majority.remedy}{alternative}")


@dataclass(slots=True)
class _ServiceFindings:
    evidence: dict[str, dict[str, Any]]
    problems: list[Problem] = field(default_factory=list)


async def _start_server(sql: ClusterSql, server: Server, context: StepContext) -> list[str]:
    try:
        await sql.run_query(render_server_change("START", server))
    except SqlRefused as exc:
        if exc.may_pass:
            raise  # it was refused until the deadline, so other statements would fail as well
        return [f"{server.name}: START SERVER was refused: {exc.message}"]
    await context.log(f"{server.name}: START SERVER {render_address(server)}")
    return []


async def _zones_to_start(sql: ClusterSql, scope: RequestedScope) -> list[str]:
    match scope.kind:
        case ScopeKind.GLOBAL:
            return sorted(parse_zones(await sql.run_query(ZONES)))
        case ScopeKind.ZONE:
            return [*scope.target]
        case ScopeKind.SERVER:
            return []


async def _start_zone(sql: ClusterSql, zone: str, context: StepContext) -> list[str]:
    result = "started"
    try:
        await sql.run_query(render_zone_change("START", zone))
    except SqlRefused as exc:
        if exc.may_pass:
            raise
        is_active = parse_zones(await sql.run_query(ZONES)).get(zone) == "ACTIVE"
        if _ALREADY_ACTIVE not in exc.text or not is_active:
            return [f"zone {zone}: START ZONE was refused: {exc.message}"]
        result = "ACTIVE already"
    await context.log(f"zone {zone}: {result}")
    return []


def _serves(rows: Mapping[Address, ServerRow], server: Server) -> bool:
    row = rows.get(address_of(server))
    return row is not None and row.serves


def _service_problem(row: ServerRow | None, server: Server) -> Problem | None:
    if row is None:
        what = f"the cluster has no server {render_address(server)}"
        remedy = "correct ip and rpc_port"
        return retryable_problem(Code.AGENT_NOT_EXIST, f"{server.name}: {what}", remedy)
    if row.serves:
        return None
    state = "stopped" if row.stopped else "not yet in service"
    what = f"{server.name}: the cluster has it as {row.status}, {state}"
    return retryable_problem(Code.CLUSTER_TIMEOUT, what, f"read {server.log_file}")


async def _read_checkpoints(sql: ClusterSql, servers: Collection[Server]) -> Checkpoints:
    checkpoints = parse_checkpoints(await sql.run_query(CHECKPOINTS))
    return {
        server.name: checkpoints[address_of(server)]
        for server in servers
        if address_of(server) in checkpoints
    }
