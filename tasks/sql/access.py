"""Login to a server as root: identifies the listener on its host, then connects through SSH."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from dagengine.mysql import Connection
from dagengine.remote import Runner
from tasks.cluster.root_password import RootLogins
from tasks.cluster.servers import Server
from tasks.errors import Code
from tasks.hosts.commands import sql_listener_command
from tasks.hosts.identity import ProcessIdentity
from tasks.hosts.query import ScriptFailed, run_query
from tasks.sql import messages
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, login, query_version
from tasks.sql.route import (
    NotListening,
    Refused,
    SqlFacts,
    ThroughPort,
    decide_port,
    find_socket_file,
    parse_sql_facts,
    sql_host,
)


class SqlPeerRefused(SqlNotReady):
    """Raised when the listener is not the identified server; nothing was sent to it."""

    err_code = Code.CHECK_FAILED


async def read_sql_facts(
    server: Server,
    runner: Runner,
    *,
    only_port: bool = False,
    known: ProcessIdentity | None = None,
) -> SqlFacts:
    """Identify the server on the host, and its unix socket or the owner of its SQL port.

    Args:
        server: the server.
        runner: for its host.
        only_port: whether to skip the unix socket.
        known: the process that was identified before; it is identified again, but found at once.

    Raises:
        SqlNotReady: the script failed.
        RemoteError: the host does not answer.
    """
    pid = known.pid if known else 0
    command = sql_listener_command(server, only_port=only_port, pid=pid)
    try:
        return parse_sql_facts((await run_query(runner, command)).stdout)
    except ScriptFailed as exc:  # one failure proves nothing: a caller that waits tries again
        raise SqlNotReady(exc.message, remedy=exc.remedy) from exc


@asynccontextmanager
async def open_sql(
    server: Server,
    runner: Runner,
    password: str,
    *,
    logins: RootLogins,
    known: ProcessIdentity | None = None,
) -> AsyncIterator[Connection]:
    """Open a connection as root, only ever to the identified server of a home.

    Prefers the server's unix socket. Through the port, the owner of the port is read again between
    the greeting and the scramble.

    Args:
        server: the server.
        runner: for its host.
        password: of root; empty if it has none.
        logins: records whether the server accepts the password.
        known: see `read_sql_facts`.

    Raises:
        SqlNotReady: the server does not run, or does not answer SQL.
        SqlPeerRefused: the listener is not the server.
        SqlPasswordRefused: the password is wrong.
        ForwardingProhibited: sshd does not permit a connection to the port.
        RemoteError: the host does not answer.
    """
    facts = await read_sql_facts(server, runner, known=known)
    async with AsyncExitStack() as stack:
        try:
            connection = await _open_route(facts, server, runner, password, stack)
        except SqlPasswordRefused:
            logins.record_refusal(server.name, password)
            raise
        logins.record_success(server.name, password)
        yield connection


async def _open_route(
    facts: SqlFacts, server: Server, runner: Runner, password: str, stack: AsyncExitStack
) -> Connection:
    connection = await _open_socket_file(facts, server, runner, password, stack)
    if connection is not None:
        return connection
    if facts.has_socket_file:  # the port was not examined in this case
        facts = await read_sql_facts(server, runner, only_port=True, known=facts.process)
    _check_port(facts, server)
    return await _open_port(facts, server, runner, password, stack)


async def _open_port(
    facts: SqlFacts, server: Server, runner: Runner, password: str, stack: AsyncExitStack
) -> Connection:
    host, port = sql_host(server), server.sql_port
    local = await stack.enter_async_context(runner.tunnel(host, port))
    verify = partial(_verify, facts, server, runner)
    try:
        return await stack.enter_async_context(login(local, password, before_login=verify))
    except SqlNotReady:
        await runner.ensure_forwarding(host, port)
        raise


async def _open_socket_file(
    facts: SqlFacts, server: Server, runner: Runner, password: str, stack: AsyncExitStack
) -> Connection | None:
    """Return a connection through the server's unix socket, None if the socket is unusable."""
    route = find_socket_file(facts, server)
    if route is None:
        return None
    try:
        async with AsyncExitStack() as trial:
            local = await trial.enter_async_context(runner.tunnel_to_socket(route.path))
            connection = await trial.enter_async_context(login(local, password))
            stack.push_async_exit(trial.pop_all())
            return connection
    except SqlNotReady:
        return None  # sshd does not forward to sockets, or the file is older than the server


async def _verify(before: SqlFacts, server: Server, runner: Runner) -> None:
    """Raise SqlPeerRefused unless the same server still owns the port."""
    facts = await read_sql_facts(server, runner, only_port=True, known=before.process)
    _check_port(facts, server)
    if facts.process != before.process:
        raise SqlPeerRefused(messages.PORT_TAKEN_DURING_LOGIN(), remedy=messages.REPEAT_COMMAND())


def _check_port(facts: SqlFacts, server: Server) -> None:
    match decide_port(facts, server):
        case NotListening(reason):
            raise SqlNotReady(messages.LOGIN_FAILED(reason=reason))
        case Refused(cause, remedy):
            message = messages.LISTENER_REFUSED(server=server.name, reason=cause)
            raise SqlPeerRefused(message, remedy=remedy)
        case ThroughPort():
            pass


class SqlSession:
    """A connection to one server that stays open between uses; the server is identified once."""

    def __init__(self, server: Server, runner: Runner, logins: RootLogins) -> None:
        self.server = server
        self._runner = runner
        self._logins = logins
        self._opened_for: tuple[ProcessIdentity, str] | None = None
        self._connection: Connection | None = None
        self._stack = AsyncExitStack()
        self._in_use = asyncio.Lock()

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Reserve the session within the context: a connection runs one statement at a time."""
        async with self._in_use:
            yield

    async def ping(self) -> bool:
        """Run a statement on the open connection; False if none is open.

        Raises:
            SqlNotReady: the server does not answer it.
        """
        if self._connection is None or not self._connection.is_open:
            return False
        await query_version(self._connection)
        return True

    async def connect(self, process: ProcessIdentity, password: str) -> Connection:
        """Return the open connection; open a new one if it broke or process or password changed.

        Raises:
            SqlNotReady, SqlPeerRefused, SqlPasswordRefused, RemoteError: see `open_sql`.
        """
        connection = self._connection
        is_usable = connection is not None and connection.is_open
        if connection is None or not is_usable or self._opened_for != (process, password):
            await self.close()
            connection = self._connection = await self._stack.enter_async_context(
                open_sql(self.server, self._runner, password, logins=self._logins, known=process)
            )
            self._opened_for = process, password
        return connection

    async def close(self) -> None:
        """Close the connection; the next use opens one."""
        self._connection, stack, self._stack = None, self._stack, AsyncExitStack()
        await stack.aclose()
