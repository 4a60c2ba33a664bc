"""SQL on a cluster of observers: statements, parsers, and a connection that can change servers.

Source of names and codes: the server's public documentation of its views and error list.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias, TypeVar

from dagengine.errors import DagengineError, RemoteError
from dagengine.extension import Backoff, parse_host_port, render_host_port
from dagengine.mysql import Connection, quote_text, show_text
from tasks.cluster.access import ClusterAccess
from tasks.cluster.observation import TableRow
from tasks.cluster.servers import Server
from tasks.sql.access import SqlPeerRefused, open_sql
from tasks.sql.connection import (
    SqlNotReady,
    SqlPasswordRefused,
    SqlRefused,
    execute,
    query_rows,
    read_number,
    read_text,
    reads_rows,
)

_Parsed = TypeVar("_Parsed")

_BACKOFF = Backoff((0.1, 0.2, 0.4, 0.8, 1.6, 2.0))

_MAX_TEXT = 200
_LAST_INSTANT_S = 253_402_214_400.0  # one day before the last one that Python represents

SERVERS = (
    "SELECT svr_ip, svr_port, zone, status, start_service_time, stop_time"
    " FROM oceanbase.DBA_OB_SERVERS"
)
ZONES = "SELECT zone, status FROM oceanbase.DBA_OB_ZONES"
STREAMS = (
    "SELECT tenant_id, ls_id, role, paxos_member_list, paxos_replica_num"
    " FROM oceanbase.GV$OB_LOG_STAT"
)
_TABLE = (
    "SELECT svr_ip, svr_port, status, stop_time, with_rootserver, build_version,"
    " UNIX_TIMESTAMP(start_service_time) FROM oceanbase.DBA_OB_SERVERS"
)
TENANTS = "SELECT tenant_id, tenant_name FROM oceanbase.DBA_OB_TENANTS"
CHECKPOINTS = (
    "SELECT svr_ip, svr_port, MIN(checkpoint_scn) FROM oceanbase.__all_virtual_ls_info"
    " GROUP BY svr_ip, svr_port"
)

Address: TypeAlias = tuple[str, int]
"""ip and rpc port: a server's name inside its cluster."""


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A server's row in the cluster's table of servers.

    Attributes:
        status: ACTIVE, INACTIVE or DELETING.
        in_service: whether it has come into service since its start.
        stopped: whether STOP SERVER took it out of service.
    """

    address: Address
    zone: str
    status: str
    in_service: bool
    stopped: bool

    @property
    def serves(self) -> bool:
        return self.status == "ACTIVE" and self.in_service and not self.stopped


@dataclass(frozen=True, slots=True)
class LogStream:
    """A log stream, which needs a majority of live members.

    Attributes:
        members: addresses of its voting replicas.
        needed: intended number of replicas.
    """

    tenant_id: int
    stream_id: int
    members: frozenset[Address]
    needed: int


def address_of(server: Server) -> Address:
    """Return the server's name inside its cluster."""
    return server.ip, server.rpc_port


MINOR_FREEZE = "ALTER SYSTEM MINOR FREEZE"


def render_address(server: Server) -> str:
    """Render `ip:rpc_port`, with brackets around an IPv6 address."""
    return render_host_port(server.ip, server.rpc_port)


def render_server_change(verb: str, server: Server) -> str:
    """Render the statement; `verb` is START or STOP."""
    return f"ALTER SYSTEM {verb} SERVER {quote_text(render_address(server))}"


def render_zone_change(verb: str, zone: str) -> str:
    """Render the statement; `verb` is START or STOP."""
    return f"ALTER SYSTEM {verb} ZONE {quote_text(zone)}"


def render_minor_freeze(servers: Sequence[Server]) -> str:
    """Render the statement that makes these servers write their memory to disk."""
    names = ", ".join(quote_text(render_address(server)) for server in servers)
    return f"{MINOR_FREEZE} SERVER = ({names})"


@reads_rows
def parse_servers(rows: Sequence[Sequence[object]]) -> dict[Address, ServerRow]:
    """Parse the rows of SERVERS. A missing time is NULL, or 0 in some releases."""
    servers = {}
    for ip, port, zone, status, started, stopped in rows:
        address = _read_address(ip, port)
        servers[address] = ServerRow(
            address, read_text(zone), read_text(status), _is_time(started), _is_time(stopped)
        )
    return servers


@reads_rows
def parse_zones(rows: Sequence[Sequence[object]]) -> dict[str, str]:
    """Parse the rows of ZONES: status by zone."""
    return {read_text(zone): read_text(status) for zone, status in rows}


@reads_rows
def parse_streams(rows: Sequence[Sequence[object]]) -> list[LogStream]:
    """Parse the rows of STREAMS. Every replica lists the members; the leader's row is preferred."""
    rows_by_stream: dict[tuple[int, int], tuple[bool, str, int]] = {}
    for tenant, stream, role, members, needed in rows:
        key = read_number(tenant), read_number(stream)
        leads = read_text(role).upper() == "LEADER"
        if key not in rows_by_stream or (leads and not rows_by_stream[key][0]):
            rows_by_stream[key] = leads, read_text(members), read_number(needed)
    return [
        LogStream(*key, frozenset(_parse_members(members)), needed)
        for key, (_, members, needed) in rows_by_stream.items()
    ]


def _parse_members(text: str) -> list[Address]:
    """Parse `ip:port:timestamp,…`; an IPv6 address is in brackets."""
    members = []
    for member in filter(None, text.split(",")):
        members.append(parse_host_port(member.rpartition(":")[0]))
    return members


@reads_rows
def parse_tenants(rows: Sequence[Sequence[object]]) -> dict[int, str]:
    """Parse the rows of TENANTS: name by id."""
    return {read_number(number): read_text(name) for number, name in rows}


@reads_rows
def parse_checkpoints(rows: Sequence[Sequence[object]]) -> dict[Address, int]:
    """Parse the rows of CHECKPOINTS."""
    return {_read_address(ip, port): read_number(scn) for ip, port, scn in rows}


@reads_rows
def parse_checkpoint(rows: Sequence[Sequence[object]]) -> int | None:
    """Parse the row of a query for one checkpoint, which may be NULL."""
    ((checkpoint,),) = rows
    return None if checkpoint is None else read_number(checkpoint)


@reads_rows
def parse_table(rows: Sequence[Sequence[object]]) -> dict[Address, TableRow]:
    """Parse the rows of the query of `query_table`."""
    table = {}
    for ip, port, status, stopped, root, build, started in rows:
        table[_read_address(ip, port)] = TableRow(
            show_text(read_text(status).encode(), _MAX_TEXT),
            is_stopped=_is_time(stopped),
            with_rootserver=read_text(root).upper() == "YES",
            build_version=show_text(read_text(build).encode(), _MAX_TEXT),
            start_at=_read_instant(started),
        )
    return table


async def query_table(connection: Connection) -> dict[Address, TableRow]:
    """Query the cluster's own table of servers, for the cluster monitor.

    Raises:
        SqlRefused, SqlNotReady: the cluster does not answer the query.
    """
    return parse_table(await query_rows(connection, _TABLE))


def _read_address(ip: object, port: object) -> Address:
    number = read_number(port)
    if not 0 < number < 1 << 16:
        raise ValueError("a port is out of range")
    return read_text(ip), number


def _read_instant(value: object) -> datetime | None:
    """Convert seconds since the epoch; None for NULL and 0.

    Raises TypeError or ValueError for a time that not every time zone can represent.
    """
    if not _is_time(value):
        return None
    if not isinstance(value, int | float | str | Decimal):
        raise TypeError(f"{type(value).__name__} in place of a time")
    seconds = float(value)
    if not 0 <= seconds <= _LAST_INSTANT_S:
        raise ValueError(f"the time {seconds:g} is out of range")
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


class ClusterSql:
    """Runs statements through the first usable server of a list, and changes servers on failure.

    A fault of one server, which may be hostile, must not end the statements of the others. Use it
    through `open_cluster_sql`. Failures that may be temporary are retried with growing pauses until
    the deadline; every statement sent here is safe to repeat.
    """

    def __init__(self, access: ClusterAccess, servers: Sequence[Server], limit_s: float) -> None:
        self._access = access
        self._servers = tuple(servers)
        self._password = access.cluster.root_password()
        self._deadline_s = access.clock.monotonic_s() + limit_s
        self._turn = 0
        self._open: tuple[Connection, AsyncExitStack] | None = None
        self._refused: SqlPeerRefused | None = None
        self._password_refused: SqlPasswordRefused | None = None
        self._excluded: set[str] = set()

    @property
    def through(self) -> Server:
        """Server used for the current or next statement."""
        usable = [server for server in self._servers if server.name not in self._excluded]
        return (usable or self._servers)[self._turn % len(usable or self._servers)]

    @property
    def left_s(self) -> float:
        """Time until the deadline, in seconds."""
        return self._deadline_s - self._access.clock.monotonic_s()

    async def execute(self, statement: str) -> None:
        """Run a statement that changes the cluster; a refusal is the answer of the cluster.

        Raises:
            SqlRefused: the cluster refuses the statement, or did so until the deadline.
            SqlPeerRefused, SqlNotReady, SqlPasswordRefused: see `query`.
        """

        async def run(connection: Connection) -> None:
            await execute(connection, statement)

        await self._repeat(run, is_read=False)

    async def query(
        self, statement: str, parse: Callable[[Sequence[Sequence[object]]], _Parsed]
    ) -> _Parsed:
        """Run a query and return its parsed rows.

        A server that refuses the query or the password is not used again; one that sends rows of an
        unexpected shape counts as one that does not answer.

        Raises:
            SqlRefused: every server refuses the query, or the last one did until the deadline.
            SqlPeerRefused: no server answered, and a port belongs to another process.
            SqlNotReady: no server answered until the deadline.
            SqlPasswordRefused: no server answered, and one refuses the password.
        """

        async def run(connection: Connection) -> _Parsed:
            return parse(await query_rows(connection, statement))

        return await self._repeat(run, is_read=True)

    async def _repeat(
        self, run: Callable[[Connection], Awaitable[_Parsed]], *, is_read: bool
    ) -> _Parsed:
        failures = 0
        while True:
            pause_s = _BACKOFF.pause_s(failures)
            try:
                return await run(await self._connection())
            except (SqlNotReady, SqlRefused, SqlPasswordRefused, RemoteError) as exc:
                if isinstance(exc, SqlPeerRefused):
                    self._refused = exc
                if not _may_pass(exc):
                    if not is_read and not isinstance(exc, SqlPasswordRefused):
                        raise
                    await self._exclude(exc)
                    continue
                if self.left_s <= pause_s:
                    raise (self._refused or self._password_refused or _not_ready(exc)) from exc
                await self.close()
                self._turn += 1
            await asyncio.sleep(pause_s)
            failures += 1

    async def _exclude(self, exc: DagengineError) -> None:
        """Stop using the current server; raise the error if no other one is left."""
        if isinstance(exc, SqlPasswordRefused):
            self._password_refused = exc
        self._excluded.add(self.through.name)
        await self.close()
        if len(self._excluded) == len(self._servers):
            raise exc

    async def close(self) -> None:
        """Close the connection; the next statement opens one."""
        if self._open is not None:
            (_, stack), self._open = self._open, None
            await stack.aclose()

    async def _connection(self) -> Connection:
        if self._open is None:
            async with AsyncExitStack() as stack:
                server = self.through
                runner = self._access.runner(server)
                logins = self._access.cluster.logins
                connection = await stack.enter_async_context(
                    open_sql(server, runner, self._password, logins=logins)
                )
                self._open = connection, stack.pop_all()
        return self._open[0]


@asynccontextmanager
async def open_cluster_sql(
    access: ClusterAccess, servers: Sequence[Server], limit_s: float | None = None
) -> AsyncIterator[ClusterSql]:
    """Provide a ClusterSql on these servers, as root.

    Args:
        access: to the cluster.
        servers: the servers to try, at least one.
        limit_s: time until the deadline, in seconds; None: `cluster_sql_timeout_s` of the cluster.

    Raises:
        ConfigError: the password of root cannot be read.
    """
    if limit_s is None:
        limit_s = access.cluster.current.cluster_sql_timeout_s
    sql = ClusterSql(access, servers, limit_s)
    try:
        yield sql
    finally:
        await sql.close()


def _not_ready(exc: DagengineError) -> DagengineError:
    return SqlNotReady(str(exc)) if isinstance(exc, RemoteError) else exc


def _may_pass(exc: Exception) -> bool:
    """Return whether the same statement may succeed later or through another server."""
    return not isinstance(exc, SqlPasswordRefused) and (
        not isinstance(exc, SqlRefused) or exc.may_pass
    )


def _is_time(value: object) -> bool:
    return value not in (None, 0, "", "0")
