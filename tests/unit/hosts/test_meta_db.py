"""Parameters in a copy of meta.db, which a compromised host may have crafted."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagengine.remote import Command, CommandResult, HostAddress
from tasks.hosts.home_state import StoredParameters
from tasks.hosts.meta_db import (
    LIMIT_BYTES,
    MetaDb,
    MetaDbEmpty,
    MetaDbUnreadable,
    fetch_parameters,
    read_parameters,
)

# As seekdb 1.4 creates it (docs/concepts/flavours.md), without the columns that are never read.
TABLE = (
    "CREATE TABLE __all_sys_parameter (gmt_create INTEGER, name TEXT NOT NULL PRIMARY KEY,"
    " value TEXT NOT NULL)"
)
INSERT = "INSERT INTO __all_sys_parameter (name, value) VALUES (?, ?)"
LAST_ROWS = (
    "enable_record_trace_log",
    "_enable_dbms_job_package",
    "_bloom_filter_ratio",
    "_enable_mysql_compatible_dates",
)
NOTHING = StoredParameters()
_DEEP = " UNION ALL ".join(["SELECT n FROM c"] * 2)
_ENDLESS = f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) {_DEEP}"


def make(tmp_path: Path, *statements: str, **values: object) -> MetaDb:
    path = tmp_path / "made.db"
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.executemany(INSERT, values.items()) if values else None
        connection.commit()
    return MetaDb(path.read_bytes(), b"")


def test_read_parameters_returns_stored_values(tmp_path: Path) -> None:
    copy = make(tmp_path, TABLE, mysql_port="2899", data_dir="/data/ä b", redo_dir="store/redo")
    assert read_parameters(copy) == StoredParameters(2899, "/data/ä b", "store/redo")


@pytest.mark.parametrize("missing", ["", *LAST_ROWS])
def test_read_parameters_detects_completed_boot(tmp_path: Path, missing: str) -> None:
    rows: dict[str, object] = {name: "x" for name in LAST_ROWS if name != missing}
    copy = make(tmp_path, TABLE, mysql_port="1", data_dir="/d", redo_dir="/r", **rows)
    assert read_parameters(copy) == StoredParameters(1, "/d", "/r", boot_completed=not missing)


@pytest.mark.parametrize("database", [b"", None])
def test_read_parameters_without_table_raises_meta_db_empty(
    tmp_path: Path, database: bytes | None
) -> None:
    copy = make(tmp_path, "PRAGMA user_version = 1")
    with pytest.raises(MetaDbEmpty):
        read_parameters(copy if database is None else MetaDb(database, b""))


def test_read_parameters_without_rows_is_empty(tmp_path: Path) -> None:
    assert read_parameters(make(tmp_path, TABLE, other="x", data_dir="")) == NOTHING


def test_read_parameters_wal_overrides_database(tmp_path: Path) -> None:
    path = tmp_path / "made.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(TABLE)
        connection.execute(INSERT, ("mysql_port", "1"))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("UPDATE __all_sys_parameter SET value = '2899'")
        connection.execute(INSERT, ("redo_dir", "/redo"))
        connection.commit()
        database, wal = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    assert read_parameters(MetaDb(database, b"")).sql_port == 1
    assert read_parameters(MetaDb(database, wal)) == StoredParameters(2899, None, "/redo")
    assert read_parameters(MetaDb(database, wal[:100])).sql_port == 1
    assert read_parameters(MetaDb(database, b"junk" * 99)).sql_port == 1


@pytest.mark.parametrize("port", ["0", "65536", "-1", "", "2881x", "٣", "9" * 4000, " 2881", "1e3"])
def test_read_parameters_invalid_port_is_refused(tmp_path: Path, port: str) -> None:
    with pytest.raises(MetaDbUnreadable, match="mysql_port"):
        read_parameters(make(tmp_path, TABLE, mysql_port=port))


@pytest.mark.parametrize("text", ["/a\nb", "/a\x1b[2J", "/a\x00b", "\u202e/a", "/a\u2028b"])
def test_read_parameters_control_character_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MetaDbUnreadable):
        read_parameters(make(tmp_path, TABLE, data_dir=text))


@pytest.mark.parametrize(
    "statements",
    [
        (),
        ("CREATE TABLE another (name, value)",),
        ("CREATE TABLE __all_sys_parameter (name TEXT)",),
        (f"CREATE VIEW __all_sys_parameter AS {_ENDLESS}",),
        (f"CREATE VIEW __all_sys_parameter(name, value) AS SELECT n, n FROM ({_ENDLESS})",),
        ("CREATE VIRTUAL TABLE __all_sys_parameter USING fts4(name, value)",),
        (
            "CREATE TABLE __all_sys_parameter (name TEXT,"
            " value TEXT AS (name LIKE '%a%b%c%d%e%f%g'))",
        ),
    ],
    ids=["empty", "another table", "no value", "view", "named view", "virtual", "generated"],
)
def test_read_parameters_other_schema_is_refused(
    tmp_path: Path, statements: tuple[str, ...]
) -> None:
    with pytest.raises(MetaDbUnreadable):
        read_parameters(make(tmp_path, *statements))


def test_read_parameters_huge_table_is_interrupted(tmp_path: Path) -> None:
    table = "CREATE TABLE __all_sys_parameter (name TEXT, value TEXT)"
    fill = (
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 200000)"
        " INSERT INTO __all_sys_parameter SELECT 'x', '' FROM c"
    )
    with pytest.raises(MetaDbUnreadable, match="interrupted"):
        read_parameters(make(tmp_path, table, fill))


def test_read_parameters_too_long_value_is_ignored(tmp_path: Path) -> None:
    assert read_parameters(make(tmp_path, TABLE, data_dir="/" * 5000)) == NOTHING


def test_read_parameters_huge_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetaDbUnreadable, match="too big"):
        read_parameters(make(tmp_path, TABLE, data_dir="/" * (2 << 20)))


def test_read_parameters_undecodable_value_is_refused(tmp_path: Path) -> None:
    table = "CREATE TABLE __all_sys_parameter (name TEXT, value TEXT)"
    row = "INSERT INTO __all_sys_parameter VALUES ('data_dir', CAST(x'2fff' AS TEXT))"
    with pytest.raises(MetaDbUnreadable):
        read_parameters(make(tmp_path, table, row))


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_read_parameters_utf_16_database_is_read(tmp_path: Path, encoding: str) -> None:
    copy = make(tmp_path, f"PRAGMA encoding = '{encoding}'", TABLE, data_dir="/ä")
    assert read_parameters(copy).data_dir == "/ä"


@pytest.mark.parametrize("database", [b"", b"\0" * 4096, b"SQLite format 3\0", b"junk" * 4096])
def test_read_parameters_other_file_is_refused(database: bytes) -> None:
    with pytest.raises(MetaDbUnreadable):
        read_parameters(MetaDb(database, b""))


@settings(max_examples=50)
@given(st.data())
def test_read_parameters_any_damage_is_handled(data: st.DataObject) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(TABLE)
        connection.execute(INSERT, ("mysql_port", "2899"))
        connection.commit()
        damaged = bytearray(connection.serialize())
    for position in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=20)):
        damaged[position] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(damaged)))
    try:
        parameters = read_parameters(MetaDb(bytes(damaged[:length]), data.draw(st.binary())))
    except MetaDbUnreadable:
        return
    assert parameters.sql_port is None or 0 < parameters.sql_port < 65536


@dataclass
class _Host:
    """A host that returns the same text for each request for a part of a file."""

    text: str
    count: int = field(default=0)
    address: HostAddress = field(default_factory=lambda: HostAddress("127.0.0.1"))

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        self.count += 1
        return CommandResult(0, None, self.text, "")


_ONE_BYTE = base64.b64encode(b"x").decode()


@pytest.mark.parametrize(
    ("text", "error_part"),
    [
        ("", "was not read"),
        ("end=yes\n", "cannot read it"),
        (f"size={LIMIT_BYTES + 1}\ndata=\nend=yes\n", "more than"),
        ("size=9\ndata=!!\nend=yes\n", "intact"),
        (f"size={LIMIT_BYTES}\ndata={_ONE_BYTE}\nend=yes\n", "intact"),
        ("size=9\ndata=\nend=yes\n", "intact"),
        (f"size=0\ndata={_ONE_BYTE}\nend=yes\n", "intact"),
    ],
)
async def test_fetch_parameters_hostile_host_terminates(text: str, error_part: str) -> None:
    host = _Host(text)
    with pytest.raises(MetaDbUnreadable, match=error_part):
        await fetch_parameters(host, "/h/meta.db")  # type: ignore[arg-type]  # implements part of Runner
    assert host.count < 10
