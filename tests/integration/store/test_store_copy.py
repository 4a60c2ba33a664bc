"""Copies between SQLite files and a shared store on a real seekdb."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from dagengine.errors import StoreInUse, StoreUnavailable
from dagengine.model.changes import (
    AttemptClosed,
    AuditAppended,
    DagChanged,
    IdempotencyKeyUsed,
    LockTaken,
    SubTaskChanged,
    TargetUnconfirmed,
)
from dagengine.model.credentials import Access, SessionEntry, SessionRecord, TokenRecord
from dagengine.model.operation import IdempotencyKey
from dagengine.model.records import AttemptRecord, AuditRecord, LockRecord, UnconfirmedRecord
from dagengine.model.states import State
from dagengine.store.copy import TABLES, copy_to_database, copy_to_file
from dagengine.store.mysql.store import MysqlStore
from dagengine.store.sqlite.store import SqliteStore
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of
from tests.support.store_databases import StoreDatabase

NOW_S = 1_900_000_000
LONG = "ü" * 100_000


async def fill(store: SqliteStore | MysqlStore) -> None:
    """Write a row of every table, some of them with long texts."""
    created = create()
    task = created.sub_tasks[0]
    lock = LockRecord("k", 1, 1, "why", NOW)
    locked = created.dag._replace(state=State.RUNNING, lock_token=1, last_lock_token=1)
    moved = task._replace(state=State.RUNNING, attempt_no=1, evidence={"x": LONG})
    changes = (
        *(created, LockTaken(lock), DagChanged(created.dag, locked), SubTaskChanged(task, moved)),
        AttemptClosed(AttemptRecord(task.sub_task_id, 1, "Failed", LONG, NOW, NOW)),
        TargetUnconfirmed(UnconfirmedRecord("a", 1, "one", NOW)),
        AuditAppended(AuditRecord(0, NOW, 1, None, "RETRY", "me", "why\0'\\;")),
        IdempotencyKeyUsed(IdempotencyKey("key", "digest"), 1),
    )
    assert await commit_one(store, batch_of(*changes)) is None
    for number in range(40):
        line = line_of(created, f"line {number}\0'\\;", attempt_no=1)
        assert await commit_one(store, batch_of(line)) is None
    await store.reserve([(bytes(range(32)), NOW)], delete_before=None)
    await store.pin("advertise", "2886 127.0.0.1")
    digest = sha256(b"token").digest()
    await store.add_token(TokenRecord("ci", digest, Access.ACT, None, "me", NOW, None, None))
    await store.add_session(
        SessionRecord(bytes(32), SessionEntry.TOKEN, "ci", Access.ACT, None, digest, NOW, NOW)
    )


def rows_of(path: Path) -> Mapping[str, Sequence[tuple[object, ...]]]:
    names = [*(table.name for table in TABLES), "session"]
    with closing(sqlite3.connect(path)) as connection:
        return {
            name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2').fetchall()
            for name in names
        }


async def test_copy_there_and_back_keeps_all_rows(
    seekdb_database: StoreDatabase, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.sqlite", tmp_path / "second.sqlite"
    store = SqliteStore(first)
    await store.open()
    await fill(store)
    before = await store.load_identity()
    await store.close()
    copied = await copy_to_database(first, seekdb_database.settings, "copied", now_s=NOW_S)
    assert (copied.store_id, copied.epoch) == (before.store_id, NOW_S)
    back = await copy_to_file(seekdb_database.settings, "copied", second, now_s=NOW_S)
    assert (back.store_id, back.epoch) == (before.store_id, NOW_S + 1)
    original = dict(rows_of(first))
    assert len(original["session"]) == 1
    assert all(original.values()), "a table without rows proves nothing"
    assert rows_of(second) == original | {"session": []}
    reopened = SqliteStore(second)
    await reopened.open()
    assert await reopened.load_identity() == back
    assert await reopened.pin("advertise", "other") == "2886 127.0.0.1"
    await reopened.close()
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == []


async def test_copied_cluster_continues_ids(seekdb_database: StoreDatabase, tmp_path: Path) -> None:
    path = tmp_path / "first.sqlite"
    store = SqliteStore(path)
    await store.open()
    await fill(store)
    last_ids, events = await store.last_ids(), await store.last_event(1)
    await store.close()
    await copy_to_database(path, seekdb_database.settings, "continued", now_s=NOW_S)
    opened = MysqlStore(seekdb_database.settings, await seekdb_database.take_cluster("continued"))
    await opened.open()
    assert await opened.last_ids() == last_ids
    assert await commit_one(opened, batch_of(line_of(create(), "next", attempt_no=1))) is None
    assert await opened.last_event(1) == events + 1
    lines = await opened.find_logs(1)
    assert [line.content for line in lines][-1] == "next"
    audit = AuditAppended(AuditRecord(0, NOW, 1, None, "RETRY", "me", "again"))
    assert await commit_one(opened, batch_of(audit)) is None
    assert [row.audit_id for row in await opened.list_audit(None, limit=9)] == [2, 1]
    await opened.close()


async def test_copy_to_existing_cluster_is_refused(
    seekdb_database: StoreDatabase, tmp_path: Path
) -> None:
    path = tmp_path / "first.sqlite"
    store = SqliteStore(path)
    await store.open()
    ownership = await seekdb_database.own_cluster()
    with pytest.raises(StoreInUse):
        await copy_to_database(path, seekdb_database.settings, "in-use", now_s=NOW_S)
    await store.close()
    with pytest.raises(StoreUnavailable, match="already has"):
        await copy_to_database(path, seekdb_database.settings, ownership.cluster, now_s=NOW_S)
    with pytest.raises(StoreUnavailable, match="has no cluster"):
        await copy_to_file(seekdb_database.settings, "unknown", tmp_path / "x", now_s=NOW_S)
    with pytest.raises(StoreUnavailable, match="already exists"):
        await copy_to_file(seekdb_database.settings, ownership.cluster, path, now_s=NOW_S)


async def test_copy_after_interrupted_copy_starts_again(
    seekdb_database: StoreDatabase, tmp_path: Path
) -> None:
    path = tmp_path / "first.sqlite"
    store = SqliteStore(path)
    await store.open()
    await fill(store)
    await store.close()
    ownership = await seekdb_database.own_cluster("interrupted")
    half = MysqlStore(seekdb_database.settings, ownership)
    await half.open()
    await fill(half)
    await half.close()
    await seekdb_database.query("DELETE FROM cluster WHERE name = 'interrupted'")
    await copy_to_database(path, seekdb_database.settings, "interrupted", now_s=NOW_S)
    target = tmp_path / "back.sqlite"
    await copy_to_file(seekdb_database.settings, "interrupted", target, now_s=NOW_S)
    assert rows_of(target) == dict(rows_of(path)) | {"session": []}


async def test_copy_while_controller_lives_is_refused(
    seekdb_database: StoreDatabase, tmp_path: Path
) -> None:
    in_use = await seekdb_database.make_database("in_use")
    await in_use.query(
        "INSERT INTO controller (controller_id, name, version, state, beat, started_at, seen_at)"
        " VALUES (1, 'a', '1', 'LIVE', 0, 0, 0)"
    )
    with pytest.raises(StoreInUse, match="1 controller"):
        await copy_to_file(in_use.settings, "any", tmp_path / "x", now_s=NOW_S)


def test_copy_knows_all_columns() -> None:
    """A new column of SQLite's schema must be copied, too."""
    from dagengine.store.sqlite.queries import read_file  # noqa: PLC0415

    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(read_file("schema.sql"))
        names = {
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
        assert names == {table.name for table in TABLES} | {"meta", "session"}
        for table in TABLES:
            rows = connection.execute(f'PRAGMA table_info("{table.name}")').fetchall()
            assert {row[1] for row in rows} == set(table.columns)
