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
_ACCESS_DENIED = 1045


class SqlNotReady(DagengineError):
    """Nothing that speaks SQL answers there (yet)."""

    err_code = "Agent.OceanBase.Useless"


class SqlPasswordRefused(DagengineError):
    """The server answers and refuses the password."""

    err_code = "Security.Authentication.IncorrectOceanbasePassword"


@asynccontextmanager
async def login(socket: Path, password: str) -> AsyncIterator[Any]:
    """A connection as root; `socket` leads to the server.

    Raises:
        SqlNotReady: no answer, or not an SQL server's.
        SqlPasswordRefused: the password is wrong.
    """
    try:
        async with asyncio.timeout(_CALL_S):
            connection = await aiomysql.connect(
                unix_socket=str(socket), user="root", password=password, autocommit=True
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
