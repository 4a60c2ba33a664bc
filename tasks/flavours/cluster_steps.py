"""Stages 5 and 6 of a start, by flavour: commands and queries for the cluster as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
from tasks.cluster.observation import AVAILABLE, Observation
from tasks.cluster.quorum import explain_majority
from tasks.errors import Code
from tasks.sql.cluster import (
    SERVERS,
    ZONES,
    Address,
    ClusterSql,
    ServerRow,
    address_of,
    open_cluster_sql,
    parse_servers,
    parse_zones,
    render_address,
    render_server_change,
    render_zone_change,
)
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, SqlRefused

_POLL_S = 0.3
_ALREADY_ACTIVE = "zone status not match"  # the server's text, known to clients (protocol 7.1)


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """The cluster's view of servers that answer SQL.

    Attributes:
        evidence: by server.
        problems: one for each server that is not in service.
    """

    evidence: Mapping[str, Mapping[str, Any]]
    problems: tuple[Problem, ...] = ()


class ClusterSteps(Protocol):
    """Steps that differ between flavours once every server answers SQL."""

    async def start(self, context: StepContext) -> Outcome:
        """Run stage 5."""
        ...

    async def confirm(self, context: StepContext, names: Sequence[str]) -> ServiceReport:
        """Finish stage 6 for servers that have just answered SQL."""
        ...


class SeekdbSteps:
    """Steps of seekdb; each server is a separate database, so a cluster has no commands."""

    def __init__(self, cluster: ClusterFile, pool: RunnerPool, clock: Clock) -> None:
        del cluster, pool, clock

    async def start(self, context: StepContext) -> Outcome:
        await context.log("seekdb has no cluster of servers and zones to start: nothing to do")
        return Succeeded()

    async def confirm(self, context: StepContext, names: Sequence[str]) -> ServiceReport:
        del context
        return ServiceReport({name: {"level": "sql", "verified": True} for name in names})


@dataclass(frozen=True, slots=True)
class OceanbaseSteps:
    """Steps of oceanbase: servers in zones that form one database."""

    cluster: ClusterFile
    pool: RunnerPool
    clock: Clock

    async def start(self, context: StepContext) -> Outcome:
        """Send START SERVER for each healthy target, then START ZONE according to the scope."""
        servers = [self.cluster.server(name) for name in context.healthy_targets]
        context.wait_for("sql", "the cluster's START SERVER and START ZONE")
        problems: list[str] = []
        try:
            async with self._open(servers) as sql:
                for server in servers:
                    problems += await _start_server(sql, server, context)
                for zone in await self._zones(sql, context):
                    problems += await _start_zone(sql, zone, context)
        except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
            return Failed(self._explain(context, exc))
        if not problems:
            return Succeeded()
        for line in problems[:-1]:
            await context.log(f"ERROR: {line}")
        code = SqlRefused.err_code
        return Failed(
            Problem(code, problems[-1], "look at the cluster's event history, then RETRY")
        )

    async def confirm(self, context: StepContext, names: Sequence[str]) -> ServiceReport:
        """Confirm that servers are ACTIVE and in service, through another server if possible."""
        servers = [self.cluster.server(name) for name in names]
        found = _ServiceFindings({server.name: {"level": "sql"} for server in servers})
        if not servers:
            return ServiceReport({})
        for server in servers:
            readers = [other for other in servers if other is not server] or [server]
            found.readers.setdefault(readers[0].name, (readers, []))[1].append(server)
        for readers, read in found.readers.values():
            await self._read_service(context, readers, read, found)
        return ServiceReport(found.evidence, tuple(found.problems))

    # --- below: the parts ------------------------------------------------------------------

    def _open(self, servers: Sequence[Server]) -> Any:
        limit_s = self.cluster.current.cluster_sql_timeout_s
        return open_cluster_sql(
            servers, self.cluster.root_password(), self.pool, self.clock, limit_s
        )

    async def _zones(self, sql: ClusterSql, context: StepContext) -> list[str]:
        scope = context.params["scope"]
        match scope["type"]:
            case "GLOBAL":
                return sorted(parse_zones(await sql.run_query(ZONES)))
            case "ZONE":
                return [str(zone) for zone in scope["target"]]
            case _:
                return []

    async def _read_service(
        self,
        context: StepContext,
        readers: Sequence[Server],
        read: Sequence[Server],
        found: _ServiceFindings,
    ) -> None:
        """Wait until each server in `read` is in service according to the readers."""
        rows: dict[Address, ServerRow] = {}
        try:
            async with self._open(readers) as sql:
                while True:
                    rows = parse_servers(await sql.run_query(SERVERS))
                    waiting = [s.name for s in read if not _serves(rows, s)]
                    if not waiting or sql.left_s <= _POLL_S:
                        break
                    what = f"the service of {', '.join(waiting)}"
                    context.wait_for("sql", what, next_in_s=_POLL_S)
                    await asyncio.sleep(_POLL_S)
                through = sql.through
        except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
            found.problems.append(self._explain(context, exc))
            return
        for server in read:
            problem = _service_problem(rows.get(address_of(server)), server)
            if problem is not None:
                found.problems.append(problem)
                found.evidence[server.name]["in_service"] = False
                continue
            is_crossed = through is not server
            how = f"read through {through.name}" if is_crossed else "not cross-checked"
            await context.log(f"{server.name}: ACTIVE and in service ({how})")
            seen = self.cluster.observation(server.name)
            version = seen.version if seen else ""
            now = self.clock.now()
            self.cluster.record_observation(
                server.name, Observation(now, AVAILABLE, version=version)
            )
            found.evidence[server.name] = {
                "level": "in service",
                "verified": True,
                "cross_checked": is_crossed,
            }

    def _explain(self, context: StepContext, exc: DagengineError) -> Problem:
        """Explain a failure; without a specific reason, assume that the majority is missing."""
        if isinstance(exc, SqlPasswordRefused):
            return Problem(exc.err_code, exc.message, "correct the configured password, then RETRY")
        if isinstance(exc, SqlRefused) and not exc.may_pass:
            return Problem(exc.err_code, exc.message, "look at the cluster, then RETRY")
        known = explain_majority(self.cluster.servers, context.healthy_targets, context.targets)
        text = f"{known.message}; last answer: {exc.message}"
        first = f"{exc.remedy}; " if exc.remedy else ""
        return Problem(SqlNotReady.err_code, text, f"{first}{known.remedy}")


@dataclass(slots=True)
class _ServiceFindings:
    evidence: dict[str, dict[str, Any]]
    problems: list[Problem] = field(default_factory=list)
    readers: dict[str, tuple[list[Server], list[Server]]] = field(default_factory=dict)


_Maker: TypeAlias = Callable[[ClusterFile, RunnerPool, Clock], ClusterSteps]
_STEPS: Mapping[Flavour, _Maker] = {SEEKDB: SeekdbSteps, OCEANBASE: OceanbaseSteps}


def make_cluster_steps(cluster: ClusterFile, pool: RunnerPool, clock: Clock) -> ClusterSteps:
    """Return the steps of the flavour in the current cluster file."""
    return _STEPS[cluster.current.flavour](cluster, pool, clock)


async def _start_server(sql: ClusterSql, server: Server, context: StepContext) -> list[str]:
    try:
        await sql.run_query(render_server_change("START", server))
    except SqlRefused as exc:
        if exc.may_pass:
            raise  # it was refused until the deadline, so other statements would fail as well
        return [f"{server.name}: START SERVER was refused: {exc.message}"]
    await context.log(f"{server.name}: START SERVER {render_address(server)}")
    return []


async def _start_zone(sql: ClusterSql, zone: str, context: StepContext) -> list[str]:
    said = "started"
    try:
        await sql.run_query(render_zone_change("START", zone))
    except SqlRefused as exc:
        if exc.may_pass:
            raise
        is_active = parse_zones(await sql.run_query(ZONES)).get(zone) == "ACTIVE"
        if _ALREADY_ACTIVE not in exc.text or not is_active:
            return [f"zone {zone}: START ZONE was refused: {exc.message}"]
        said = "ACTIVE already"
    await context.log(f"zone {zone}: {said}")
    return []


def _serves(rows: Mapping[Address, ServerRow], server: Server) -> bool:
    row = rows.get(address_of(server))
    return row is not None and row.serves


def _service_problem(row: ServerRow | None, server: Server) -> Problem | None:
    code = Code.CLUSTER_TIMEOUT
    if row is None:
        what = f"the cluster has no server {render_address(server)}"
        return Problem(
            Code.AGENT_NOT_EXIST, f"{server.name}: {what}", "correct ip and rpc_port, then RETRY"
        )
    if row.serves:
        return None
    state = "stopped" if row.stopped else "not yet in service"
    what = f"the cluster has it as {row.status}, {state}"
    return Problem(code, f"{server.name}: {what}", f"look at {server.log_file}, then RETRY")
