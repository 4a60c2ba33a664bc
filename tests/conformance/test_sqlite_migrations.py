"""The SQLite store's own: the schema, and stores of older ones."""

from __future__ import annotations

import sqlite3
from operator import methodcaller
from pathlib import Path

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.model.records import LogRecord
from dagengine.store.sqlite.connection import APPLICATION_ID, list_migrations
from dagengine.store.sqlite.queries import read_sql
from dagengine.store.sqlite.store import SqliteStore


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Everything in the schema, without comments and spacing."""
    found = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return sorted((kind, name, plain(sql)) for kind, name, sql in found)


def plain(sql: str) -> str:
    words = " ".join(line.split("--")[0] for line in sql.splitlines()).split()
    # SQLite quotes the name of a table that a migration renamed.
    return " ".join(words).replace("( ", "(").replace(" )", ")").replace(" ,", ",").replace('"', "")


async def test_the_schema_file_is_the_sum_of_the_migrations(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    await store.close()
    migrated, written = sqlite3.connect(store.path), sqlite3.connect(":memory:")
    written.executescript(read_sql("schema.sql"))
    assert schema_of(migrated) == schema_of(written)
    assert migrated.execute("PRAGMA user_version").fetchone() == (list_migrations()[-1][0],)
    migrated.close()
    written.close()


async def test_a_store_of_an_older_schema_keeps_its_rows_and_references(
    tmp_path: Path,
) -> None:
    """Migrations that swap tables lose nothing, and what refers to them still does."""
    path = tmp_path / "store.sqlite"
    old = sqlite3.connect(path, isolation_level=None)
    for number, name in list_migrations()[:2]:
        old.executescript(read_sql(f"migrations/{name}"))
        old.execute(f"PRAGMA user_version = {number}")
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute(
        "INSERT INTO dag VALUES (1, 'op', 1, '{}', '[]', 1, 1, 'RUNNING', 'RUN', NULL, 0,"
        " 1, 1, 1, 0, NULL)"
    )
    old.execute("INSERT INTO node VALUES (1, 1, 1, 'one', 'normal', 31, 'RUNNING', 'RUN', 1, 1)")
    old.execute(
        "INSERT INTO sub_task VALUES"
        " (1, 1, 1, 1, NULL, 'RUNNING', 'RUN', 2, 2, 5, 5, NULL, NULL, '')"
    )
    old.execute("INSERT INTO attempt VALUES (1, 1, 'Failed', 'x', 1, 2), (1, 2, NULL, NULL, 5, 5)")
    old.close()
    store = SqliteStore(path)
    await store.open()
    rows = await store.load_dag(1)
    assert rows is not None
    assert rows.sub_tasks[0].attempt_no == 2
    attempts = await store.find_attempts(1)
    assert [(a.attempt_no, a.outcome) for a in attempts] == [(1, "Failed"), (2, None)]
    with pytest.raises(StoreUnavailable, match="FOREIGN KEY"):
        await store._open_writer.call(methodcaller("execute", "DELETE FROM dag"))
    await store.close()
    seen = sqlite3.connect(path)
    assert seen.execute("PRAGMA foreign_key_check").fetchall() == []
    assert seen.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    seen.close()


async def test_lines_of_an_older_version_are_numbered_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    for number, name in list_migrations()[:2]:
        connection.executescript(read_sql(f"migrations/{name}"))
        connection.execute(f"PRAGMA user_version = {number:d}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    for dag_id in (1, 2):
        connection.execute(
            "INSERT INTO dag VALUES (?, 'op', 1, '{}', '[]', 1, 1, 'FAILED', 'RUN', NULL, 0, 1, 1,"
            " 1, 0, NULL)",
            (dag_id,),
        )
        connection.execute(
            "INSERT INTO node VALUES (?1, ?1, 1, 'one', 'normal', 0, 'FAILED', 'RUN', 1, 1)",
            (dag_id,),
        )
        connection.execute(
            "INSERT INTO sub_task VALUES (?1, ?1, ?1, 1, NULL, 'FAILED', 'RUN', 1, 1, 1, 1, NULL,"
            " NULL, '')",
            (dag_id,),
        )
    for number in range(6):
        connection.execute(
            "INSERT INTO log VALUES (NULL, ?, 1, 1, ?, 1)", (1 + number % 2, f"line {number}")
        )
    connection.close()
    store = SqliteStore(path)
    await store.open()
    events = await store.list_events(2, after=0, limit=9)
    await store.close()
    lines = [
        (event.seq, event.what.content) for event in events if isinstance(event.what, LogRecord)
    ]
    assert lines == [(1, "line 1"), (2, "line 3"), (3, "line 5")]
