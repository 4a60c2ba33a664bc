"""The SQLite store: grouped commits, and reads that do not access the file."""

from __future__ import annotations

import asyncio
import sqlite3
from operator import methodcaller

import pytest

from dagengine.errors import NotSerializable, StoreUnavailable
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing.internals import call_writer, held_writer
from tests.conformance.builders import batch_of, commit_one, create, line_of


async def test_writer_concurrent_calls_share_commit(sqlite_store: SqliteStore) -> None:
    created = create()
    await commit_one(sqlite_store, batch_of(created))
    before = count_commits(sqlite_store), sqlite_store.commit_count
    async with held_writer(sqlite_store):
        line = batch_of(line_of(created, "x"))
        calls = [asyncio.ensure_future(sqlite_store.commit([line])) for _ in range(300)]
        await asyncio.sleep(0)  # they are submitted
    assert await asyncio.gather(*calls) == [[None]] * 300
    assert (count_commits(sqlite_store), sqlite_store.commit_count) == (
        before[0] + 1,
        before[1] + 1,
    )


def count_commits(store: SqliteStore) -> int:
    """Count the commit frames of the write-ahead log: their header has the database's size."""
    data = store.path.with_name(store.path.name + "-wal").read_bytes()
    page_bytes = int.from_bytes(data[8:12], "big")
    frames = range(32, len(data), 24 + page_bytes)
    return sum(int.from_bytes(data[at + 4 : at + 8], "big") != 0 for at in frames)


async def test_writer_full_disk_does_not_blame_batches(sqlite_store: SqliteStore) -> None:
    created = create()
    await commit_one(sqlite_store, batch_of(created))
    # No page more than the file has.
    await call_writer(sqlite_store, methodcaller("execute", "PRAGMA max_page_count = 1"))
    stale, big = (
        batch_of(line_of(created, "x"), lock_token=9),
        batch_of(line_of(created, "x" * 10**6)),
    )
    for batches in ([big], [stale, big]):
        with pytest.raises(StoreUnavailable, match="cannot be written: database or disk is full"):
            await sqlite_store.commit(batches)
    await call_writer(sqlite_store, methodcaller("execute", "PRAGMA max_page_count = 1000000"))
    assert await commit_one(sqlite_store, big) is None


async def test_writer_too_long_text_rejects_own_batch_only(
    sqlite_store: SqliteStore,
) -> None:
    created = create()
    await commit_one(sqlite_store, batch_of(created))
    await call_writer(sqlite_store, methodcaller("setlimit", sqlite3.SQLITE_LIMIT_LENGTH, 5000))
    bad, good = batch_of(line_of(created, "x" * 5001)), batch_of(line_of(created, "y"))
    refused, written = await sqlite_store.commit([bad, good])
    assert isinstance(refused, NotSerializable)
    assert written is None


async def test_writer_defect_is_raised_and_next_commit_succeeds(
    sqlite_store: SqliteStore,
) -> None:
    with pytest.raises(ZeroDivisionError):
        await call_writer(sqlite_store, lambda connection: 1 / 0)
    assert await commit_one(sqlite_store, batch_of(create())) is None


async def test_read_cache_unchanged_dag_is_read_once(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = create()
    await commit_one(sqlite_store, batch_of(created))
    first = await sqlite_store.find_dag(1, details=True)
    read_names: list[str] = []
    read = sqlite_store._read  # file access cannot be observed from outside

    def record_read(name: str, *values: int | str | None) -> object:
        read_names.append(name)
        return read(name, *values)

    monkeypatch.setattr(sqlite_store, "_read", record_read)
    assert await sqlite_store.find_dag(1, details=True) is first
    assert read_names == []
    await commit_one(sqlite_store, batch_of(line_of(created, "more")))
    assert await sqlite_store.find_dag(1, details=True) != first
    assert read_names != []


async def test_read_cache_large_dag_is_not_cached(sqlite_store: SqliteStore) -> None:
    created = create()
    await commit_one(sqlite_store, batch_of(created))
    lines = [line_of(created, f"line {number}") for number in range(2001)]
    await commit_one(sqlite_store, batch_of(*lines))
    first, second = [await sqlite_store.find_dag(1, details=True) for _ in range(2)]
    assert first == second
    assert first is not second
