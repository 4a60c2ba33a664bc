"""The MySQL client and tasks/sql/connection.py against a real seekdb."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from dagengine.mysql import (
    Connection,
    MysqlAccessDenied,
    MysqlConnectionLost,
    MysqlProtocolError,
    MysqlServerError,
    MysqlTimedOut,
    Options,
    connect,
    hex_literal,
    open_connection,
    quote_text,
)
from dagengine.testing import eventually
from tasks.demo.cluster import START_OPTIONS, find_seekdb
from tasks.demo.hosts import free_port
from tasks.demo.reaper import ProcessReaper
from tasks.sql.connection import (
    SqlNotReady,
    SqlPasswordRefused,
    SqlRefused,
    login,
    query_rows,
    query_value,
    query_version,
    set_root_password,
)

pytestmark = pytest.mark.slow

BOOT_S = 90.0
# One of each class that a literal or an encoding could lose.
TEXT = "".join(map(chr, (*range(256), 0x2028, 0xD7FF, 0xE000, 0xFFFD, 0x1F600, 0x10FFFF)))


@dataclass(frozen=True)
class Seekdb:
    port: int
    home: Path

    async def connect(self, password: str = "", options: Options | None = None) -> Connection:
        return await connect(
            ("127.0.0.1", self.port),
            user="root",
            password=password,
            options=options or Options(),
            timeout_s=30,
        )


@pytest.fixture(scope="module")
def booting() -> Iterator[Seekdb]:
    guard = ProcessReaper("dagengine-mysql-")
    home, port = guard.directory / "seekdb", free_port()
    home.mkdir()
    guard.watch_home(home)
    argv = [str(find_seekdb()), "--base-dir", str(home), "--port", str(port)]
    for name, value in START_OPTIONS.items():
        argv += ["--parameter", f"{name}={value}"]
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    yield Seekdb(port, home)
    assert guard.close()


@pytest.fixture
async def seekdb(booting: Seekdb) -> Seekdb:
    async def accepts_login() -> bool:
        try:
            (await booting.connect()).close()
        except MysqlConnectionLost:
            return False
        return True

    await eventually(accepts_login, timeout_s=BOOT_S, what="seekdb")
    return booting


async def test_query_on_seekdb_gives_typed_values(seekdb: Seekdb) -> None:
    connection = await seekdb.connect()
    statement = "select 1, 1.50, 2e0, null, 'pä\N{EURO SIGN}\N{GRINNING FACE}', x'ff00'"
    result = await connection.query(statement)
    assert result.rows == [
        (1, Decimal("1.50"), 2.0, None, "pä\N{EURO SIGN}\N{GRINNING FACE}", b"\xff\0")
    ]
    assert await query_value(connection, "select 1") == 1
    assert "seekdb" in await query_version(connection)
    (row,) = await query_rows(connection, "select @@autocommit, @@character_set_connection")
    assert row == (1, "utf8mb4")
    connection.close()


async def test_query_error_on_seekdb_leaves_connection_open(seekdb: Seekdb) -> None:
    connection = await seekdb.connect()
    with pytest.raises(MysqlServerError) as caught:
        await connection.query("select nosuch")
    assert (caught.value.number, caught.value.sqlstate) == (1054, "42S22")
    with pytest.raises(SqlRefused):
        await query_rows(connection, "select nosuch")
    assert (await connection.query("select 2")).rows == [(2,)]
    connection.close()


async def test_literals_on_seekdb_keep_every_character(seekdb: Seekdb) -> None:
    connection = await seekdb.connect(options=Options("test"))
    await connection.query("create table literals (id int primary key, t longtext)")
    literals = [hex_literal(TEXT), quote_text(TEXT), hex_literal(""), quote_text("")]
    for number, literal in enumerate(literals):
        await connection.query(f"insert into literals values ({number}, {literal})")
    result = await connection.query("select t from literals order by id")
    assert result.rows == [(TEXT,), (TEXT,), ("",), ("",)]
    connection.close()


async def test_several_statements_on_seekdb_give_their_results(seekdb: Seekdb) -> None:
    options = Options("test", found_rows=True, multi_statements=True)
    connection = await seekdb.connect(options=options)
    await connection.query("create table pairs (a int primary key, b int)")
    await connection.query("insert into pairs values (1, 1)")
    packet = "begin; update pairs set b = 1 where a = 1; select row_count(); commit"
    results = await connection.query_all(packet)
    assert [r.affected_rows for r in results] == [0, 1, 0, 0]  # matched, not changed
    assert results[2].rows == [(1,)]
    with pytest.raises(MysqlServerError):
        await connection.query_all("select 1; select nosuch; select 2")
    assert (await connection.query("select 3")).rows == [(3,)]
    connection.close()


async def test_second_statement_without_capability_closes_connection(seekdb: Seekdb) -> None:
    # seekdb 1.4 executes several statements although the capability was not set.
    connection = await seekdb.connect()
    with pytest.raises(MysqlProtocolError, match="more results"):
        await connection.query("select 1; select 2")
    assert not connection.is_open


async def test_large_result_of_seekdb_is_read_up_to_bounds(seekdb: Seekdb) -> None:
    connection = await seekdb.connect(options=Options("test"))
    await connection.query("create table big (id int primary key auto_increment, t text)")
    rows_of_500 = ", ".join(["(repeat('x', 1000))"] * 500)
    await connection.query(f"insert into big (t) values {rows_of_500}")
    for _ in range(4):
        await connection.query("insert into big (t) select t from big")
    rows = (await connection.query("select id, t from big")).rows
    assert len(rows) == 8000
    assert {row[1] for row in rows} == {"x" * 1000}
    connection.close()
    async with login(seekdb.home / "run/sql.sock", "") as bounded:
        with pytest.raises(SqlNotReady, match="response has more than"):
            await query_rows(bounded, "select t from test.big")


async def test_time_out_on_seekdb_closes_connection(seekdb: Seekdb) -> None:
    connection = await seekdb.connect()
    with pytest.raises(MysqlTimedOut) as caught:
        await connection.query("select sleep(5)", timeout_s=0.05)
    assert caught.value.result_unknown
    with pytest.raises(MysqlConnectionLost):
        await connection.query("select 1")


async def test_killed_connection_of_seekdb_is_lost(seekdb: Seekdb) -> None:
    connection, other = await seekdb.connect(), await seekdb.connect()
    ((number,),) = (await connection.query("select connection_id()")).rows
    await other.query(f"kill {number}")
    with pytest.raises((MysqlConnectionLost, MysqlServerError, MysqlProtocolError)):
        await connection.query("select 1")
    other.close()


async def test_login_socket_without_listener_is_not_ready(seekdb: Seekdb, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(SqlNotReady, match="connection was not established"):
            async with login(tmp_path / "s", ""):
                pass


@pytest.mark.parametrize(
    "password",
    ["p@ss'word", "pä\N{EURO SIGN}\N{GRINNING FACE}", "a\\b'c\"%_--", "\\", "x" * 60],
)
async def test_set_root_password_on_seekdb_is_verified(seekdb: Seekdb, password: str) -> None:
    socket_path = seekdb.home / "run/sql.sock"
    async with login(socket_path, "") as connection:
        await connection.query("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'")
        await set_root_password(connection, password)
        try:
            for wrong in ("", password + "x", password.upper() + "A"):
                with pytest.raises(SqlPasswordRefused):
                    async with login(socket_path, wrong):
                        pass
            async with login(socket_path, password) as second:
                assert await query_value(second, "select 1") == 1
        finally:
            await connection.query("ALTER USER root IDENTIFIED BY ''")
    async with open_connection(("127.0.0.1", seekdb.port), user="root", password="") as third:
        assert third.is_open
    with pytest.raises(MysqlAccessDenied):
        await seekdb.connect(password)
