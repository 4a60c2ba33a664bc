"""The SQLite store: its file, the file's ownership, and files of other programs."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from operator import methodcaller
from pathlib import Path

import pytest

from dagengine.errors import StoreInUse, StoreTooNew, StoreUnavailable
from dagengine.model.changes import AuditAppended
from dagengine.model.records import AuditRecord
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing.internals import call_writer
from tests.conformance.builders import NOW, batch_of, commit_one, create


async def test_sqlite_store_commit_is_durable_before_result(
    sqlite_store: SqliteStore,
) -> None:
    """Check WAL with synchronous=FULL: another connection sees commits, and they are flushed."""
    pragmas = await call_writer(
        sqlite_store,
        lambda connection: [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ],
    )
    assert pragmas == ["wal", 2, 1]
    await commit_one(sqlite_store, batch_of(create()))
    with sqlite3.connect(sqlite_store.path) as other:
        assert other.execute("SELECT COUNT(*) FROM dag").fetchone() == (1,)
    other.close()


async def test_sqlite_store_audit_is_append_only(sqlite_store: SqliteStore) -> None:
    rows = [AuditRecord(0, NOW, n, None, "RETRY", "me", "why") for n in (1, 2, 1)]
    await sqlite_store.commit([batch_of(AuditAppended(row)) for row in rows])
    assert [row.audit_id for row in await sqlite_store.list_audit(None, limit=9)] == [3, 2, 1]
    assert [row.audit_id for row in await sqlite_store.list_audit(1, limit=9)] == [3, 1]
    assert [row.audit_id for row in await sqlite_store.list_audit(1, limit=1)] == [3]
    for statement in ("UPDATE audit SET by = 'x'", "DELETE FROM audit"):
        with pytest.raises(StoreUnavailable, match="append-only"):
            await call_writer(sqlite_store, methodcaller("execute", statement))


async def test_store_lock_second_controller_is_refused_with_pid(
    sqlite_store: SqliteStore,
) -> None:
    second = SqliteStore(sqlite_store.path)
    with pytest.raises(StoreInUse, match=r"in use by pid \d+"):
        await second.open()
    await second.close()
    program = (
        "import asyncio, sys\n"
        "from dagengine.store.sqlite.store import SqliteStore\n"
        "asyncio.run(SqliteStore(sys.argv[1]).open())\n"
    )
    completed = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", program, str(sqlite_store.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "StoreInUse" in completed.stderr


@pytest.mark.parametrize("path_kind", ["link", "link to a link", "linked directory", "relative"])
async def test_store_lock_same_file_by_other_name_is_in_use(
    sqlite_store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to(sqlite_store.path)
    Path("links link").symlink_to("link")
    Path("directory").symlink_to("new")
    names = {
        "link": "link",
        "link to a link": "links link",
        "linked directory": "directory/store.sqlite",
        "relative": "new/../new/store.sqlite",
    }
    second = SqliteStore(names[path_kind])
    with pytest.raises(StoreInUse, match=rf"in use by pid {os.getpid()}"):
        await second.open()
    await second.close()
    await sqlite_store.close()
    await second.open()
    await second.close()


async def test_store_lock_write_failure_releases_lock(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(StoreUnavailable, match=r"cannot write .*store\.sqlite\.lock"):
            await store.open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await store.open()
    await store.close()


async def test_sqlite_store_probe_of_read_only_store_fails(
    sqlite_store: SqliteStore,
) -> None:
    await call_writer(sqlite_store, methodcaller("execute", "PRAGMA query_only = ON"))
    with pytest.raises(StoreUnavailable):
        await sqlite_store.probe(NOW)
    await sqlite_store.ping()  # its writer still processes requests
    await call_writer(sqlite_store, methodcaller("execute", "PRAGMA query_only = OFF"))
    await sqlite_store.probe(NOW)


# --- foreign files -------------------------------------------------------------------------------


async def refuse(path: Path, error: type[Exception], match: str) -> None:
    before = path.read_bytes()
    with pytest.raises(error, match=match):
        await SqliteStore(path).open()
    assert path.read_bytes() == before, "a file that was refused was changed"


async def test_sqlite_store_open_refuses_non_database_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"precious notes " * 1000)
    await refuse(path, StoreUnavailable, "file is not a database")


async def test_sqlite_store_open_refuses_foreign_database_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    await refuse(path, StoreUnavailable, "another program")


async def test_sqlite_store_open_refuses_newer_schema_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 999")
    newer.close()
    await refuse(path, StoreTooNew, "schema 999")


async def test_sqlite_store_open_refuses_damaged_file_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    await store.open()
    await store.commit([batch_of(create(n), dag_id=n) for n in range(1, 50)])
    await store.close()
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 6] = b"\xa5" * (4096 * 4)
    path.write_bytes(bytes(data))
    await refuse(path, StoreUnavailable, "damaged")


async def test_sqlite_store_open_names_directory_it_cannot_create(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"cannot create .*file/var"):
        await SqliteStore(tmp_path / "file" / "var" / "store.sqlite").open()
