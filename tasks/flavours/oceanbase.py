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
from tasks.cluster.flavour import Flavour
from tasks.cluster.observation import AVAILABLE, TableRow
from tasks.cluster.quorum import explain_majority
from tasks.cluster.scope import RequestedScope, ScopeKind
from tasks.cluster.servers import Server
from tasks.errors import Code, retryable_problem
from tasks.flavours import messages
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

_QUERY_TIMEOUT_S = 5.0  # limit for the database to answer the checks of a request
_POLL_S = 0.3
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
        context.wait_for("sql", messages.CLUSTER_START())
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
        for problem in problems[:-1]:
            await context.log(messages.START_ERROR(reason=problem))
        remedy = messages.READ_EVENT_HISTORY()
        return Failed(retryable_problem(SqlRefused.err_code, problems[-1], remedy))

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
                    rows = await sql.query(SERVERS, parse_servers)
                    waiting = [server.name for server in servers if not _serves(rows, server)]
                    if not waiting or sql.left_s <= _POLL_S:
                        break
                    subject = messages.SERVICE(servers=", ".join(waiting))
                    context.wait_for("sql", subject, next_in_s=_POLL_S)
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
            if is_crossed:
                line = messages.IN_SERVICE(server=server.name, reader=through.name)
            else:
                line = messages.IN_SERVICE_UNCHECKED(server=server.name)
            await context.log(line)
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
                snapshot = await read_snapshot(self.access, servers, _QUERY_TIMEOUT_S, refused)
        if snapshot is None:
            majority = explain_majority(cluster.servers, (), targets)
            raise force_required_error(
                messages.DATABASE_UNREACHABLE(reason=majority.message),
                messages.START_MISSING_OR_FORCE(),
                refused,
            )
        if mode is StopMode.PLAIN:
            check_plain_stop(snapshot, scope, {server.zone for server in inside})

    async def freeze(self, context: StepContext, names: Sequence[str]) -> Outcome:
        servers = [self.access.server(name) for name in names]
        try:
            async with self._open(context) as sql:
                rows = await sql.query(SERVERS, parse_servers)
                active = [
                    server
                    for server in servers
                    if (row := rows.get(address_of(server))) and row.status == "ACTIVE"
                ]
                if not active:
                    return await log_nothing_to_freeze(context)
                before = await _read_checkpoints(sql, active)
                await sql.execute(render_minor_freeze(active))

            async def read() -> Checkpoints:
                async with self._open(context) as later:
                    return await _read_checkpoints(later, active)

            return await wait_for_growth(context, self.access, before, read)
        except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
            return Failed(self._explain_stop(context, exc))

    async def stop_by_sql(self, context: StepContext, scope: RequestedScope) -> Outcome:
        context.wait_for("sql", messages.CLUSTER_STOP(scope=scope.kind))
        try:
            async with self._open(context) as sql:
                for statement in self._stop_statements(scope, context.targets):
                    await sql.execute(statement)
                    server = sql.through.name
                    await context.log(messages.STOP_SENT(server=server, statement=statement))
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
            subject = messages.STOP_CONFIRMATION(names=", ".join(left))
            context.wait_for("sql", subject, next_in_s=_POLL_S)
            await asyncio.sleep(_POLL_S)
        if left:
            message = messages.STOP_UNCONFIRMED(names=", ".join(left))
            remedy = messages.READ_EVENT_HISTORY()
            return Failed(retryable_problem(Code.CLUSTER_TIMEOUT, message, remedy))
        evidence = {name: {"level": "sql", "in_service": False} for name in context.targets}
        return Succeeded(evidence=evidence, summary=messages.OUT_OF_SERVICE())

    async def _not_stopped(
        self, sql: ClusterSql, scope: RequestedScope, targets: Sequence[str]
    ) -> list[str]:
        if scope.kind is ScopeKind.ZONE:
            zones = await sql.query(ZONES, parse_zones)
            return [zone for zone in scope.target if zones.get(zone) != "INACTIVE"]
        rows = await sql.query(SERVERS, parse_servers)
        stopped = {address for address, row in rows.items() if row.stopped}
        return [name for name in targets if address_of(self.access.server(name)) not in stopped]

    # --- both ------------------------------------------------------------------------------

    async def query_table(
        self, connection: Connection
    ) -> Mapping[tuple[str, int], TableRow] | None:
        return await query_table(connection)

    def _explain_stop(self, context: StepContext, exc: DagengineError) -> Problem:
        return self._explain(context, exc, (), is_stop=True)

    def _explain(
        self,
        context: StepContext,
        exc: DagengineError,
        healthy: Collection[str],
        *,
        is_stop: bool = False,
    ) -> Problem:
        """Explain a failure; without a specific reason, assume that the majority is missing."""
        if isinstance(exc, SqlPasswordRefused):
            return retryable_problem(exc.err_code, exc.message, messages.CORRECT_PASSWORD())
        if isinstance(exc, SqlRefused) and not exc.may_pass:
            return retryable_problem(exc.err_code, exc.message, messages.CHECK_CLUSTER())
        majority = explain_majority(self.access.cluster.servers, healthy, context.targets)
        message = messages.MAJORITY_AND_ERROR(majority=majority.message, reason=exc.message)
        remedy = majority.remedy
        if exc.remedy:
            remedy = messages.REMEDIES(first=exc.remedy, second=remedy)
        if is_stop:
            remedy = messages.OR_STOP_WITH_FORCE(remedy=remedy)
        return Problem(SqlNotReady.err_code, message, remedy)


@dataclass(slots=True)
class _ServiceFindings:
    evidence: dict[str, dict[str, Any]]
    problems: list[Problem] = field(default_factory=list)


async def _start_server(sql: ClusterSql, server: Server, context: StepContext) -> list[str]:
    try:
        await sql.execute(render_server_change("START", server))
    except SqlRefused as exc:
        if exc.may_pass:
            raise  # it was refused until the deadline, so other statements would fail as well
        return [messages.SERVER_START_REFUSED(server=server.name, reason=exc.message)]
    address = render_address(server)
    await context.log(messages.SERVER_START_SENT(server=server.name, address=address))
    return []


async def _zones_to_start(sql: ClusterSql, scope: RequestedScope) -> list[str]:
    match scope.kind:
        case ScopeKind.GLOBAL:
            return sorted(await sql.query(ZONES, parse_zones))
        case ScopeKind.ZONE:
            return [*scope.target]
        case ScopeKind.SERVER:
            return []


async def _start_zone(sql: ClusterSql, zone: str, context: StepContext) -> list[str]:
    result = messages.ZONE_STARTED
    try:
        await sql.execute(render_zone_change("START", zone))
    except SqlRefused as exc:
        if exc.may_pass:
            raise
        is_active = (await sql.query(ZONES, parse_zones)).get(zone) == "ACTIVE"
        if _ALREADY_ACTIVE not in exc.text or not is_active:
            return [messages.ZONE_START_REFUSED(zone=zone, reason=exc.message)]
        result = messages.ZONE_ALREADY_ACTIVE
    await context.log(result(zone=zone))
    return []


def _serves(rows: Mapping[Address, ServerRow], server: Server) -> bool:
    row = rows.get(address_of(server))
    return row is not None and row.serves


def _service_problem(row: ServerRow | None, server: Server) -> Problem | None:
    if row is None:
        address = render_address(server)
        message = messages.SERVER_NOT_IN_CLUSTER(server=server.name, address=address)
        return retryable_problem(Code.AGENT_NOT_EXIST, message, messages.CORRECT_ADDRESS())
    if row.serves:
        return None
    state = messages.SERVER_STOPPED if row.stopped else messages.SERVER_NOT_IN_SERVICE
    message = state(server=server.name, status=row.status)
    remedy = messages.READ_LOG(file=server.log_file)
    return retryable_problem(Code.CLUSTER_TIMEOUT, message, remedy)


async def _read_checkpoints(sql: ClusterSql, servers: Collection[Server]) -> Checkpoints:
    checkpoints = await sql.query(CHECKPOINTS, parse_checkpoints)
    return {
        server.name: checkpoints[address_of(server)]
        for server in servers
        if address_of(server) in checkpoints
    }
