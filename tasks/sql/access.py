"""Login to a server as root: identifies the listener on its host, then connects through SSH."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from dagengine.mysql import Connection
from dagengine.remote import Runner
from tasks.cluster.cluster_file import Server
from tasks.errors import Code
from tasks.hosts.commands import sql_listener_command
from tasks.hosts.identity import ProcessIdentity
from tasks.hosts.query import run_query
from tasks.sql import messages
from tasks.sql.connection import SqlNotReady, login
from tasks.sql.route import (
    NotListening,
    Refused,
    SqlFacts,
    ThroughPort,
    decide_port,
    find_socket_file,
    parse_sql_facts,
)


class SqlPeerRefused(SqlNotReady):
    """Raised when the listener is not the identified server; nothing was sent to it."""

    err_code = Code.CHECK_FAILED


async def read_sql_facts(server: Server, runner: Runner, *, only_port: bool = False) -> SqlFacts:
    """Identify the server on the host, and its unix socket or the owner of its SQL port.

    Raises:
        RemoteError: the host does not answer.
    """
    command = sql_listener_command(server, only_port=only_port)
    return parse_sql_facts((await run_query(runner, command)).stdout)


@asynccontextmanager
async def open_sql(server: Server, runner: Runner, password: str) -> AsyncIterator[Connection]:
    """Open a connection as root, only ever to the identified server of a home.

    Prefers the server's unix socket. Through the port, the owner of the port is read again between
    the greeting and the scramble.

    Raises:
        SqlNotReady: the server does not run, or does not answer SQL.
        SqlPeerRefused: the listener is not the server.
        SqlPasswordRefused: the password is wrong.
        RemoteError: the host does not answer.
    """
    facts = await read_sql_facts(server, runner)
    async with AsyncExitStack() as stack:
        connection = await _open_socket_file(facts, server, runner, password, stack)
        if connection is None:
            if facts.has_socket_file:  # the port was not examined in this case
                facts = await read_sql_facts(server, runner, only_port=True)
            _check_port(facts, server)
            host = server.ip if server.sql_via == "direct" else "127.0.0.1"
            local = await stack.enter_async_context(runner.tunnel(host, server.sql_port))
            verify = partial(_verify, facts, server, runner)
            connection = await stack.enter_async_context(
                login(local, password, before_login=verify)
            )
        yield connection


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
    facts = await read_sql_facts(server, runner, only_port=True)
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

    def __init__(self, server: Server, runner: Runner) -> None:
        self.server = server
        self._runner = runner
        self._opened_for: tuple[ProcessIdentity, str] | None = None
        self._connection: Connection | None = None
        self._stack = AsyncExitStack()

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
                open_sql(self.server, self._runner, password)
            )
            self._opened_for = process, password
        return connection

    async def close(self) -> None:
        """Close the connection; the next use opens one."""
        self._connection, stack, self._stack = None, self._stack, AsyncExitStack()
        await stack.aclose()
