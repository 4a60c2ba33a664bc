"""Connections to a MySQL server, with time limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from dagengine.mysql import messages
from dagengine.mysql.answer import Answer, Bounds, Result
from dagengine.mysql.errors import (
    MysqlAuthPluginRefused,
    MysqlConnectionLost,
    MysqlError,
    MysqlProtocolError,
    MysqlRequestRefused,
    MysqlServerError,
    MysqlTimedOut,
)
from dagengine.mysql.protocol import (
    AUTH_MORE,
    AUTOCOMMIT,
    EOF,
    ERROR,
    QUERY,
    QUIT,
    Greeting,
    Options,
    parse_auth_switch,
    parse_error,
    parse_greeting,
    parse_ok,
    render_login,
    render_tls_request,
    scramble,
)
from dagengine.mysql.text import encode_text
from dagengine.mysql.tls import Tls
from dagengine.mysql.wire import Wire, late

Address: TypeAlias = Path | tuple[str, int]
"""Path of a unix socket, or host and port."""

BeforeLogin: TypeAlias = Callable[[], Awaitable[None]]
"""Called after the greeting has arrived and before anything is sent; an exception ends the login.
Use it to verify that the listening process is the expected server."""

_DEFAULTS, _BOUNDS = Options(), Bounds()


class Connection:
    """A connection that executes one statement at a time. Create it with `connect`.

    A time-out, a cancellation and every error other than MysqlServerError and MysqlRequestRefused
    close the connection, because the rest of a response must not be mistaken for the response to
    the next statement.
    """

    def __init__(
        self, wire: Wire, greeting: Greeting, options: Options, bounds: Bounds, timeout_s: float
    ) -> None:
        self._wire = wire
        self._options = options
        self._bounds = bounds
        self._timeout_s = timeout_s
        self._is_busy = False
        self.greeting = greeting

    @property
    def is_open(self) -> bool:
        """Return whether a statement can be sent, as far as this side knows."""
        return self._wire.is_open

    async def query(self, statement: str, *, timeout_s: float | None = None) -> Result:
        """Execute a statement and return its result.

        If the text contains several statements, return the last result.

        Raises:
            MysqlServerError: the server responds with an error.
            MysqlError: see `query_all`.
        """
        return (await self.query_all(statement, timeout_s=timeout_s))[-1]

    async def query_all(
        self, statement: str, *, timeout_s: float | None = None
    ) -> Sequence[Result]:
        """Execute all statements in the text and return their results.

        Args:
            statement: one statement; several only if the connection was created with
                `multi_statements`.
            timeout_s: time limit in seconds; None for the limit of the connection.

        Raises:
            MysqlServerError: the server responds with an error.
            MysqlRequestRefused: the statement cannot be sent, or another one is in progress.
            MysqlConnectionLost, MysqlProtocolError: the connection is closed; `result_unknown`
                indicates whether the statement may have been executed.
        """
        request = QUERY + encode_text(statement, messages.STATEMENT())
        if self._is_busy:
            raise MysqlRequestRefused(messages.STATEMENT_IN_PROGRESS())
        if self._wire.unread_bytes:
            self._wire.abort(messages.UNREQUESTED_DATA())
        self._wire.send_first(request)
        self._is_busy = True
        answer = Answer(self._bounds, multi_statements=self._options.multi_statements)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        # Cheaper than asyncio.timeout, which takes as long as reading a short response.
        timer = asyncio.get_running_loop().call_later(limit_s, self._wire.expire, limit_s)
        try:
            while not answer.is_complete:
                answer.take(await self._wire.receive())
        except MysqlServerError as exc:
            exc.completed = len(answer.results)
            raise
        except MysqlError as exc:
            exc.result_unknown = True
            self._wire.abort(exc.message)
            raise
        except BaseException:
            self._wire.abort(messages.STATEMENT_CANCELLED())
            raise
        finally:
            timer.cancel()
            self._is_busy = False
        return answer.results

    def close(self) -> None:
        """Close the connection; send QUIT first if no statement is in progress."""
        if self._wire.is_open and not self._is_busy:
            self._wire.send_first(QUIT)
        self._wire.close()


async def connect(
    address: Address,
    *,
    user: str,
    password: str,
    options: Options = _DEFAULTS,
    bounds: Bounds = _BOUNDS,
    timeout_s: float = 5.0,
    before_login: BeforeLogin | None = None,
    tls: Tls | None = None,
) -> Connection:
    """Connect and log in.

    The session commits after each statement unless a statement changes that. The password leaves
    this process only as the proof that mysql_native_password computes for one salt.

    Args:
        address: the server.
        user: the account.
        password: empty for an account without a password.
        options: options beyond the fixed capabilities.
        bounds: limits for each response.
        timeout_s: time limit in seconds for connecting and logging in together, and for each
            later statement.
        before_login: see BeforeLogin.
        tls: requires an encrypted connection and a valid certificate; None for plain text, which
            is for a server on this machine or behind an encrypted channel.

    Raises:
        MysqlTlsRefused: `tls` is given, and the peer does not offer TLS or has another
            certificate. Nothing but the request for TLS was sent.
        MysqlAccessDenied: user or password is wrong.
        MysqlServerError: the server rejects the connection for another reason.
        MysqlAuthPluginRefused: the peer requests another authentication plugin.
        MysqlConnectionLost: nothing listens at the address, or the peer closed the connection or
            did not respond in time.
        MysqlProtocolError: the peer is not a MySQL server that this client supports.
    """
    async with _limit(timeout_s):
        wire = await _open(address)
        try:
            greeting = parse_greeting(await wire.receive())
            if before_login is not None:
                await before_login()
            if tls is not None:
                wire.send(render_tls_request(greeting, options))
                await wire.start_tls(tls)
            is_encrypted = tls is not None
            wire.send(render_login(greeting, user, password, options, is_encrypted=is_encrypted))
            status = await _authenticate(wire, password)
            connection = Connection(wire, greeting, options, bounds, timeout_s)
            if not status & AUTOCOMMIT:
                await connection.query("SET autocommit = 1")
        except BaseException:
            wire.abort(messages.LOGIN_FAILED())
            raise
    return connection


@asynccontextmanager
async def open_connection(
    address: Address,
    *,
    user: str,
    password: str,
    options: Options = _DEFAULTS,
    bounds: Bounds = _BOUNDS,
    timeout_s: float = 5.0,
    before_login: BeforeLogin | None = None,
    tls: Tls | None = None,
) -> AsyncIterator[Connection]:
    """Open a connection like `connect`, and close it on leaving the context."""
    connection = await connect(
        address,
        user=user,
        password=password,
        options=options,
        bounds=bounds,
        timeout_s=timeout_s,
        before_login=before_login,
        tls=tls,
    )
    try:
        yield connection
    finally:
        connection.close()


async def _open(address: Address) -> Wire:
    loop = asyncio.get_running_loop()
    try:
        if isinstance(address, Path):
            _, wire = await loop.create_unix_connection(Wire, str(address))
        else:
            _, wire = await loop.create_connection(Wire, *address)
    except (OSError, ValueError, OverflowError) as exc:
        raise MysqlConnectionLost(messages.NOT_CONNECTED(reason=exc)) from exc
    return wire


async def _authenticate(wire: Wire, password: str) -> int:
    """Complete the login and return the status flags of the server."""
    may_switch = True
    while True:
        payload = await wire.receive()
        first = payload[0] if payload else None
        if first == ERROR:
            raise parse_error(payload)
        if first == AUTH_MORE:
            raise MysqlAuthPluginRefused(messages.FULL_AUTHENTICATION())
        if first != EOF:
            return parse_ok(payload).status
        salt = parse_auth_switch(payload)
        if not may_switch:
            raise MysqlProtocolError(messages.SECOND_AUTHENTICATION())
        may_switch = False
        wire.send(scramble(password, salt))


@asynccontextmanager
async def _limit(seconds: float) -> AsyncIterator[None]:
    """Limit the duration of the context.

    Raises:
        MysqlTimedOut: the time limit has passed.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise MysqlTimedOut(late(seconds)) from exc
