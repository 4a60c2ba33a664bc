"""SQL on a server, through its host's SSH connection. Every call is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomysql
import pymysql

from dagengine import DagengineError

_CALL_S = 5.0
_CLUSTER_CALL_S = 15.0  # a server without a majority says so after its own ten seconds
_CLIENT_ERRORS = range(2000, 3000)
_ACCESS_DENIED = 1045

# Time-out, try again, (root server) not the master, a lost message inside the cluster, the server
# is still initialising: what a cluster answers while it elects, or has no majority.
_PASSING = frozenset({4012, 4023, 4038, 4121, 4122, 4638, 8001})


class SqlNotReady(DagengineError):
    """Nothing that speaks SQL answers there (yet)."""

    err_code = "Agent.OceanBase.Useless"


class SqlPasswordRefused(DagengineError):
    """The server answers and refuses the password."""

    err_code = "Security.Authentication.IncorrectOceanbasePassword"


class SqlRefused(DagengineError):
    """The server answers a statement with an error.

    Attributes:
        number: of the error, positive.
        may_pass: the same statement may work a little later, or through another server.
    """

    err_code = "MySQL.Error"

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{text} (error {number})")
        self.number = number
        self.text = text
        self.may_pass = number in _PASSING


@asynccontextmanager
async def login(socket: Path, password: str) -> AsyncIterator[Any]:
    """A connection as root; `socket` leads to the server.

    Raises:
        SqlNotReady: no answer, or not an SQL server's.
        SqlPasswordRefused: the password is wrong.
    """
    # The driver sends a password's characters as Latin-1; servers keep what statements, which
    # are UTF-8, said it is.
    sent = password.encode("utf-8").decode("latin-1")
    try:
        async with asyncio.timeout(_CALL_S):
            connection = await aiomysql.connect(
                unix_socket=str(socket), user="root", password=sent, autocommit=True
            )
    except pymysql.err.OperationalError as exc:
        if exc.args and exc.args[0] == _ACCESS_DENIED:
            raise SqlPasswordRefused("the server refuses the password of root") from exc
        raise SqlNotReady(f"no SQL answer: {exc}") from exc
    except (pymysql.err.Error, OSError, TimeoutError, EOFError) as exc:
        raise SqlNotReady(f"no SQL answer: {exc!r}") from exc
    try:
        yield connection
    finally:
        connection.close()


async def ask_one(connection: Any, statement: str) -> Any:
    """The first column of the first row.

    Raises:
        SqlNotReady: the statement failed.
    """
    try:
        async with asyncio.timeout(_CALL_S), connection.cursor() as cursor:
            await cursor.execute(statement)
            row = await cursor.fetchone()
    except (pymysql.err.Error, OSError, TimeoutError, EOFError) as exc:
        raise SqlNotReady(f"{statement!r} failed: {exc}") from exc
    return row[0] if row else None


async def ask_rows(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    """All rows of an answer; none for a statement that has no rows.

    Raises:
        SqlRefused: the server answers with an error.
        SqlNotReady: it does not answer.
    """
    try:
        async with asyncio.timeout(_CLUSTER_CALL_S), connection.cursor() as cursor:
            await cursor.execute(statement)
            return list(await cursor.fetchall())
    except pymysql.err.Error as exc:
        number, *said = exc.args if exc.args else (0,)
        if isinstance(number, int) and said and not _is_lost(number):
            raise SqlRefused(number, str(said[0])) from exc
        raise SqlNotReady(f"{statement!r} got no answer: {exc}") from exc
    except (OSError, TimeoutError, EOFError) as exc:
        raise SqlNotReady(f"{statement!r} got no answer: {exc!r}") from exc


def _is_lost(number: int) -> bool:
    """The driver's own numbers: the connection broke."""
    return number == 0 or number in _CLIENT_ERRORS


async def set_root_password(connection: Any, password: str) -> None:
    """Give root a password. It is sent as a quoted literal and never logged.

    Raises:
        SqlNotReady: the server refused.
    """
    literal = connection.escape(password)
    try:
        async with asyncio.timeout(_CALL_S), connection.cursor() as cursor:
            await cursor.execute(f"ALTER USER root IDENTIFIED BY {literal}")
    except (pymysql.err.Error, OSError, TimeoutError, EOFError) as exc:
        # The driver's text may quote the statement: keep the secret out of it.
        raise SqlNotReady("the server refused to set the password of root") from exc
