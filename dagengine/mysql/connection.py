"""A connection to a MySQL server, bounded by time limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

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
    scramble,
)
from dagengine.mysql.text import encode_text
from dagengine.mysql.wire import Wire, late

Address: TypeAlias = Path | tuple[str, int]
"""A unix socket, or host and port."""

BeforeLogin: TypeAlias = Callable[[], Awaitable[None]]
"""Called after the greeting has arrived and before anything is sent; what it raises ends the login.
Use it to check that the listener is the server."""

_DEFAULTS, _BOUNDS = Options(), Bounds()


class Connection:
    """Statements, one at a time. Use `connect` to make one.

    After a time-out, a cancellation and every error other than MysqlServerError and
    MysqlRequestRefused the connection is closed: the rest of an answer must not be taken for the
    answer to the next statement.
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
        """Whether a statement can be sent, as far as known."""
        return self._wire.is_open

    async def query(self, statement: str, *, timeout_s: float | None = None) -> Result:
        """The result of a statement; the last result where it holds several statements.

        Raises:
            MysqlServerError: the server answers with an error.
            MysqlError: see `query_all`.
        """
        return (await self.query_all(statement, timeout_s=timeout_s))[-1]

    async def query_all(
        self, statement: str, *, timeout_s: float | None = None
    ) -> Sequence[Result]:
        """The results of all statements in the text.

        Args:
            statement: several only if the connection was made with `multi_statements`.
            timeout_s: in place of the connection's own limit.

        Raises:
            MysqlServerError: the server answers with an error.
            MysqlRequestRefused: the statement cannot be sent, or another one is under way.
            MysqlConnectionLost, MysqlProtocolError: the connection is closed; `result_unknown`
                tells whether the statement may have been executed.
        """
        request = QUERY + encode_text(statement, "the statement")
        if self._is_busy:
            raise MysqlRequestRefused("another statement is under way on this connection")
        if self._wire.unread_bytes:
            self._wire.abort("the peer sent something that nothing had asked for")
        self._wire.send_first(request)
        self._is_busy = True
        answer = Answer(self._bounds, multi_statements=self._options.multi_statements)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        # Cheaper than asyncio.timeout, which costs as much as reading a short answer.
        timer = asyncio.get_running_loop().call_later(limit_s, self._wire.expire, limit_s)
        try:
            while not answer.is_complete:
                answer.take(await self._wire.receive())
        except MysqlServerError:
            raise
        except MysqlError as exc:
            exc.result_unknown = True
            self._wire.abort(exc.message)
            raise
        except BaseException:
            self._wire.abort("a statement was cancelled")
            raise
        finally:
            timer.cancel()
            self._is_busy = False
        return answer.results

    def close(self) -> None:
        """Tell the server, if nothing is under way, and close."""
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
) -> Connection:
    """Log in; the session commits after each statement unless it says otherwise.

    The password leaves this process only as the proof of mysql_native_password for one salt.

    Args:
        address: of a server on this machine or behind an encrypted channel; there is no TLS yet.
        user: the account.
        password: empty for an account without one.
        options: what is asked for beyond the fixed capabilities.
        bounds: of each answer.
        timeout_s: for everything up to the login, and for each statement later.
        before_login: see BeforeLogin.

    Raises:
        MysqlAccessDenied: user or password is wrong.
        MysqlServerError: the server refuses the connection for another reason.
        MysqlAuthPluginRefused: the peer requests another authentication plugin.
        MysqlConnectionLost: nothing listens there, or it ended the connection, or did not answer.
        MysqlProtocolError: it is not a MySQL server that this client can use.
    """
    async with _limit(timeout_s):
        wire = await _open(address)
        try:
            greeting = parse_greeting(await wire.receive())
            # TLS belongs here: SSLRequest, then `loop.start_tls`, then the login.
            if before_login is not None:
                await before_login()
            wire.send(render_login(greeting, user, password, options))
            status = await _authenticate(wire, password)
            connection = Connection(wire, greeting, options, bounds, timeout_s)
            if not status & AUTOCOMMIT:
                await connection.query("SET autocommit = 1")
        except BaseException:
            wire.abort("the login failed")
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
) -> AsyncIterator[Connection]:
    """A connection as from `connect`; leaving the context closes it."""
    connection = await connect(
        address,
        user=user,
        password=password,
        options=options,
        bounds=bounds,
        timeout_s=timeout_s,
        before_login=before_login,
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
        raise MysqlConnectionLost(f"no connection: {exc}") from exc
    return wire


async def _authenticate(wire: Wire, password: str) -> int:
    """The server's status after the login."""
    may_switch = True
    while True:
        payload = await wire.receive()
        first = payload[0] if payload else None
        if first == ERROR:
            raise parse_error(payload)
        if first == AUTH_MORE:
            raise MysqlAuthPluginRefused("further data (full authentication)")
        if first != EOF:
            return parse_ok(payload).status
        salt = parse_auth_switch(payload)
        if not may_switch:
            raise MysqlProtocolError("the peer requests authentication a second time")
        may_switch = False
        wire.send(scramble(password, salt))


@asynccontextmanager
async def _limit(seconds: float) -> AsyncIterator[None]:
    """Bound what is done within.

    Raises:
        MysqlTimedOut: the time is over.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise MysqlTimedOut(late(seconds)) from exc
