"""The SQLite store: opening and closing, including failures and cancellation."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from operator import methodcaller
from pathlib import Path

import aiosqlite
import pytest

from dagengine.errors import StoreInUse, StoreUnavailable
from dagengine.store.contract import Retention
from dagengine.store.sqlite import store as module
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing import eventually
from dagengine.testing.internals import held_writer
from tests.conformance.builders import NOW, batch_of, create, line_of


async def is_free(path: Path) -> bool:
    """Return whether another store can be opened there, with no thread of an earlier one left."""
    store = SqliteStore(path)
    try:
        await store.open()
    except StoreInUse:
        return False
    await store.close()
    await eventually(no_threads, timeout_s=5, what="the end of the threads")
    return True


async def no_threads() -> bool:
    names = [thread.name for thread in threading.enumerate()]
    return not [name for name in names if "store writer" in name or "_connection_worker" in name]


# --- opening -------------------------------------------------------------------------------------


async def test_sqlite_store_open_cancelled_at_writer_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting, proceed, original = threading.Event(), threading.Event(), module.connect_writer

    def connect(path: Path) -> sqlite3.Connection:
        connecting.set()
        assert proceed.wait(60)
        return original(path)

    monkeypatch.setattr(module, "connect_writer", connect)
    store = SqliteStore(tmp_path / "store.sqlite")
    opening = asyncio.ensure_future(store.open())
    assert await asyncio.to_thread(connecting.wait, 60)
    opening.cancel()
    await asyncio.sleep(0)
    opening.cancel()
    proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    monkeypatch.undo()
    assert await is_free(store.path)


async def test_sqlite_store_open_cancelled_at_reader_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def connect() -> aiosqlite.Connection:
        connecting.set()
        await asyncio.Event().wait()
        raise AssertionError

    def begin(path: Path) -> Awaitable[aiosqlite.Connection]:
        assert asyncio._get_running_loop() is not loop, "not in the thread of the writer"
        return connect()

    monkeypatch.setattr(aiosqlite, "connect", begin)
    store = SqliteStore(tmp_path / "store.sqlite")
    opening = asyncio.ensure_future(store.open())
    await connecting.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    monkeypatch.undo()
    assert await is_free(store.path)


async def test_sqlite_store_open_cancelled_at_any_step_leaves_nothing(tmp_path: Path) -> None:
    path, loop_passes, was_cancelled = tmp_path / "store.sqlite", 0, True
    while was_cancelled:
        store = SqliteStore(path)
        opening = asyncio.ensure_future(store.open())
        for _ in range(loop_passes):
            await asyncio.sleep(0)
        was_cancelled = opening.cancel()
        await asyncio.wait([opening])
        if not was_cancelled:
            await store.close()
        assert await is_free(path)
        loop_passes = loop_passes * 2 + 1


async def test_sqlite_store_open_reader_failure_releases_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect() -> aiosqlite.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(aiosqlite, "connect", lambda path: connect())
    store = SqliteStore(tmp_path / "store.sqlite")
    with pytest.raises(StoreUnavailable, match="cannot be read: unable to open"):
        await store.open()
    monkeypatch.undo()
    assert await is_free(store.path)


async def test_sqlite_store_open_thread_failure_releases_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    store = SqliteStore(tmp_path / "store.sqlite")
    with pytest.raises(RuntimeError, match="new thread"):
        await store.open()
    monkeypatch.undo()
    assert await is_free(store.path)


async def test_sqlite_store_close_during_open_leaves_it_closed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    opening = asyncio.ensure_future(store.open())
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreUnavailable, match="is closed"):
        await opening
    assert await is_free(store.path)


async def test_sqlite_store_relative_path_survives_chdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("store.sqlite")
    await store.open()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert await store.commit([batch_of(create())]) == [None]
    await store.close()
    await store.open()
    assert await store.load_dag(1) is not None
    await store.close()
    assert list((tmp_path / "elsewhere").iterdir()) == []


# --- closing -------------------------------------------------------------------------------------


async def test_sqlite_store_close_cancelled_still_completes(sqlite_store: SqliteStore) -> None:
    created = create()
    await sqlite_store.commit([batch_of(created)])
    async with held_writer(sqlite_store):
        line = asyncio.ensure_future(sqlite_store.commit([batch_of(line_of(created, "x"))]))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(sqlite_store.close())
        for _ in range(3):
            await asyncio.sleep(0)
            closing.cancel()
        assert not await is_free(sqlite_store.path), "given up while it may still write"
        assert not closing.done()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert await line == [None]
    assert await is_free(sqlite_store.path)


async def test_sqlite_store_second_close_waits_for_first(sqlite_store: SqliteStore) -> None:
    async with held_writer(sqlite_store):
        closings = [asyncio.ensure_future(sqlite_store.close()) for _ in range(2)]
        _, waiting = await asyncio.wait(closings, timeout=0.05)
        assert waiting == set(closings)
        assert not await is_free(sqlite_store.path)
    await asyncio.gather(*closings)
    await sqlite_store.close()
    assert await is_free(sqlite_store.path)


REQUESTS: dict[str, Callable[[SqliteStore], Awaitable[object]]] = {
    "commit": lambda store: store.commit([batch_of(create())]),
    "reserve": lambda store: store.reserve([(b"x", NOW)], delete_before=None),
    "probe": lambda store: store.probe(NOW),
    "ping": methodcaller("ping"),
    "pin": methodcaller("pin", "a", "b"),
    "prune": lambda store: store.prune(Retention(), NOW),
    "a DAG": lambda store: store.find_dag(1, details=True),
    "a list": lambda store: store.list_dags(limit=1),
    "unfinished": methodcaller("load_unfinished"),
}


@pytest.mark.parametrize("call_name", REQUESTS)
async def test_sqlite_store_call_during_close_is_refused(
    sqlite_store: SqliteStore, call_name: str
) -> None:
    async with held_writer(sqlite_store):
        closing = asyncio.ensure_future(sqlite_store.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match=r"the store .*store\.sqlite is closed"):
            await asyncio.wait_for(REQUESTS[call_name](sqlite_store), 5)
        assert not closing.done()
    await closing
    with pytest.raises(StoreUnavailable, match=r"the store .*store\.sqlite is closed"):
        await asyncio.wait_for(REQUESTS[call_name](sqlite_store), 5)


async def test_sqlite_writer_call_after_end_is_refused(sqlite_store: SqliteStore) -> None:
    writer = sqlite_store._open_writer
    async with held_writer(sqlite_store):
        writer.end()
        with pytest.raises(StoreUnavailable, match="is closed"):
            await asyncio.wait_for(writer.call(lambda connection: None), 5)


async def test_sqlite_store_close_leaves_only_store_and_lock_file(
    sqlite_store: SqliteStore,
) -> None:
    await sqlite_store.commit([batch_of(create())])
    await sqlite_store.find_dag(1, details=True)
    await sqlite_store.close()
    file_names = sorted(path.name for path in sqlite_store.path.parent.iterdir())
    assert file_names == ["store.sqlite", "store.sqlite.lock"]


# --- the end of the process ----------------------------------------------------------------------

PROGRAM = """
import asyncio, sys, time
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing.internals import call_writer

store = SqliteStore(sys.argv[1])

async def begin():
    await store.open()
    call = call_writer(store, lambda connection: time.sleep(0.3))
    tasks = [asyncio.create_task(call)]
    await asyncio.sleep(0)
    return tasks

async def forget():
    return await begin()

async def fall():
    await begin()
    raise SystemExit(3)

async def close(after_s):
    tasks = await begin()
    tasks.append(asyncio.create_task(store.close()))
    await asyncio.sleep(after_s)
    return tasks  # and the loop cancels them

async def open_again():
    await store.open()
    await store.close()
    print("opened again")

asyncio.run(globals()[sys.argv[2]](*map(float, sys.argv[3:])))
time.sleep(0.5)  # the writer reports to a caller whose loop is closed
if sys.argv[2] == "close":
    asyncio.run(open_again())
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("forget", 0),
        ("fall", 3),
        ("close 0", 0),  # cancelled immediately after it begins
        ("close 0.1", 0),
    ],
)
def test_sqlite_store_left_open_does_not_block_process_exit(
    tmp_path: Path, arguments: str, code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "store.sqlite"), *arguments.split()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout == ("opened again\n" if "close" in arguments else "")
