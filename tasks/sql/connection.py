"""SQL on one server, through its host's SSH connection. Every call is bounded."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import wraps
from pathlib import Path
from typing import TypeVar

from dagengine.errors import DagengineError
from dagengine.extension import wait_until_may_act
from dagengine.mysql import (
    BeforeLogin,
    Bounds,
    Connection,
    MysqlAccessDenied,
    MysqlError,
    MysqlServerError,
    Result,
    Row,
    Value,
    connect,
    show_text,
)
from tasks.errors import Code
from tasks.sql import messages

CALL_S = 5.0
CLUSTER_CALL_S = 15.0  # a server without a majority answers with an error only after 10 s
_MAX_TEXT = 200
_CLIENT_ERRORS = range(2000, 3000)
_BOUNDS = Bounds(columns=64, rows=20_000, answer_bytes=4 << 20)  # of a server's response

# Time-out, try again, (root server) not the master, a lost message inside the cluster, server
# still initialising: errors of a cluster during an election or without a majority.
_PASSING = frozenset({4012, 4023, 4038, 4121, 4122, 4638, 8001})


class SqlNotReady(DagengineError):
    """Raised when no SQL server answers there (yet)."""

    err_code = Code.SQL_NOT_READY


class SqlPasswordRefused(DagengineError):
    """Raised when the server rejects the password."""

    err_code = Code.LOGIN_REFUSED


class SqlRefused(DagengineError):
    """Raised when the server answers a statement with an error.

    Attributes:
        number: of the error, positive.
        may_pass: whether the statement may succeed later or through another server.
    """

    err_code = Code.SQL_ERROR

    def __init__(self, number: int, text: str) -> None:
        super().__init__(messages.STATEMENT_REFUSED(text=text, number=number))
        self.number = number
        self.text = text
        self.may_pass = number in _PASSING


@asynccontextmanager
async def login(
    socket: Path, password: str, *, before_login: BeforeLogin | None = None
) -> AsyncIterator[Connection]:
    """Open a connection as root.

    Args:
        socket: unix socket that leads to the server.
        password: of root; empty if it has none.
        before_login: called between the server's greeting and the proof of the password, to verify
            that the listener is the server; an exception from it aborts the login.

    Raises:
        SqlNotReady: the listener does not answer, or not as an SQL server.
        SqlPasswordRefused: the password is wrong.
    """
    try:
        connection = await connect(
            socket,
            user="root",
            password=password,
            bounds=_BOUNDS,
            timeout_s=CALL_S,
            before_login=before_login,
        )
    except MysqlAccessDenied as exc:
        raise SqlPasswordRefused(messages.PASSWORD_REFUSED()) from exc
    except MysqlError as exc:
        message = messages.LOGIN_FAILED(reason=exc.message)
        raise SqlNotReady(message, remedy=exc.remedy) from exc
    try:
        yield connection
    finally:
        connection.close()


async def query_value(connection: Connection, statement: str) -> Value:
    """Return the first column of the first row; None if the result is empty.

    Raises:
        SqlNotReady: the statement failed.
    """
    try:
        rows = (await connection.query(statement)).rows
    except MysqlError as exc:
        message = messages.STATEMENT_FAILED(statement=statement, reason=exc.message)
        raise SqlNotReady(message) from exc
    return rows[0][0] if rows else None


async def query_version(connection: Connection) -> str:
    """Return the server's version, escaped for display on one line.

    Raises:
        SqlNotReady: the server does not answer with a text.
    """
    version = await query_value(connection, "select version()")
    if not isinstance(version, str):
        raise SqlNotReady(messages.VERSION_NOT_TEXT())
    return show_text(version.encode(), _MAX_TEXT)


async def query_rows(connection: Connection, statement: str) -> list[Row]:
    """Run a query and return all its rows.

    Raises:
        SqlRefused: the server answers with an error.
        SqlNotReady: it does not answer, or without a result set.
    """
    result = await execute(connection, statement)
    if not result.columns:
        raise SqlNotReady(messages.ROWS_MISSING())
    return list(result.rows)


async def execute(connection: Connection, statement: str) -> Result:
    """Run a statement for the cluster.

    Raises:
        SqlRefused: the server answers with an error.
        SqlNotReady: it does not answer.
    """
    await wait_until_may_act()
    try:
        return await connection.query(statement, timeout_s=CLUSTER_CALL_S)
    except MysqlServerError as exc:
        if not _is_lost(exc.number):
            raise SqlRefused(exc.number, exc.text) from exc
        raise _unanswered_error(statement, exc) from exc
    except MysqlError as exc:
        raise _unanswered_error(statement, exc) from exc


def _unanswered_error(statement: str, exc: MysqlError) -> SqlNotReady:
    return SqlNotReady(messages.STATEMENT_UNANSWERED(statement=statement, reason=exc.message))


def _is_lost(number: int) -> bool:
    """Detect client error numbers: a proxy sends them when it loses its server connection."""
    return number == 0 or number in _CLIENT_ERRORS


async def set_root_password(connection: Connection, password: str) -> None:
    """Set the password of root, which must not be empty. Only its hash is sent, and never logged.

    The connection must lead to the identified server.

    Raises:
        SqlNotReady: the server refused.
    """
    # ALTER USER takes the password in clear only. GRANT takes the hash, and USAGE grants nothing.
    # Verified: seekdb 1.4.0.
    stored = hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest()  # noqa: S324  # the plugin's own
    statement = f"GRANT USAGE ON *.* TO root IDENTIFIED BY PASSWORD '*{stored.upper()}'"
    await wait_until_may_act()
    try:
        await connection.query(statement)
    except MysqlError:
        # The server's text may quote the statement: keep the hash out of the message and chain.
        raise SqlNotReady(messages.PASSWORD_NOT_SET()) from None


_Parsed = TypeVar("_Parsed")


def reads_rows(
    parse: Callable[[Sequence[Sequence[object]]], _Parsed],
) -> Callable[[Sequence[Sequence[object]]], _Parsed]:
    """Decorate a parser of rows to raise SqlNotReady on unexpected numbers or types of values.

    Every parser of rows has this decorator, so that a server's response cannot cause other errors.
    """

    @wraps(parse)
    def parse_or_refuse(rows: Sequence[Sequence[object]]) -> _Parsed:
        try:
            return parse(rows)
        except (ValueError, TypeError, ArithmeticError, OSError) as exc:
            reason = show_text(str(exc).encode("utf-8", "replace"), _MAX_TEXT)
            raise SqlNotReady(messages.ROWS_MALFORMED(reason=reason)) from exc

    return parse_or_refuse


def read_text(value: object) -> str:
    """Return a text column. Raises TypeError for any other type (see `reads_rows`)."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of text")
    return value


def read_number(value: object) -> int:
    """Return a whole number, also from text. Raises TypeError or ValueError otherwise."""
    if isinstance(value, int | str):
        return int(value)
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    raise TypeError(f"{type(value).__name__} in place of a whole number")
