"""Broken surroundings: a full disk, a store that others hold or that cannot be written, SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagengine import Engine, SqliteStore, State
from dagengine.errors import StoreUnavailable
from dagengine.testing import eventually
from dagengine.testing.internals import call_writer
from tests.chaos.start_scenarios import TARGETS, World

ROOT = Path(__file__).parents[2]


async def test_engine_full_disk_refuses_submission_and_recovers(tmp_path: Path) -> None:
    """SQLite's own limit on pages makes it answer as on a full disk (SQLITE_FULL)."""
    world = World(tmp_path)
    store = SqliteStore(tmp_path / "store.sqlite")
    async with asyncio.timeout(30), Engine(store=store, operations=[world.operation()]) as engine:
        (full,) = await call_writer(
            store, lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone()
        )
        assert full > 1, "the limit is at least the present size"
        with pytest.raises(StoreUnavailable, match="full"):
            await world.submit(engine, tuple(f"t{n}" for n in range(500)))
        assert await engine.list_dags(limit=9, details=False) == ()
        await call_writer(
            store, lambda connection: connection.execute("PRAGMA max_page_count = 1000000")
        )
        dag = await world.end_of(engine, await world.submit(engine, TARGETS))
        assert dag.state is State.SUCCEED


async def test_engine_unwritable_store_delays_running_dag(tmp_path: Path) -> None:
    world = World(tmp_path)
    store = SqliteStore(tmp_path / "store.sqlite")
    async with asyncio.timeout(30), Engine(store=store, operations=[world.operation()]) as engine:
        dag_id = await world.submit(engine, TARGETS)
        await call_writer(store, lambda connection: connection.execute("PRAGMA query_only = ON"))
        waiting = asyncio.ensure_future(engine.wait(dag_id))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done, "it went on without its store"
        await call_writer(store, lambda connection: connection.execute("PRAGMA query_only = OFF"))
        assert (await waiting).dag.state is State.SUCCEED


async def test_engine_moved_store_file_is_refused_until_restored(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    path, aside = tmp_path / "store.sqlite", tmp_path / "aside"
    store = SqliteStore(path)
    engine = Engine(store=store, operations=[world.operation()])
    async with asyncio.timeout(30), engine:
        path.rename(aside)
        with pytest.raises(StoreUnavailable, match=r"store\.sqlite was removed or replaced"):
            await world.submit(engine, TARGETS)
        with pytest.raises(StoreUnavailable, match="put a backup in its place"):
            await engine.probe_store(datetime.now(UTC))
        await store.ping()  # it lives: a watchdog that ended it would lose what is open
        path.write_bytes(aside.read_bytes())  # another file of the same content is not it
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await world.submit(engine, TARGETS)
        aside.rename(path)
        dag = await world.end_of(engine, await world.submit(engine, TARGETS))
        assert dag.state is State.SUCCEED


async def test_engine_waits_for_store_locked_by_other_process(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = tmp_path / "store.sqlite"
    async with (
        asyncio.timeout(40),
        Engine(store=SqliteStore(path), operations=[world.operation()]) as engine,
    ):
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
        release.start()
        dag = await world.end_of(engine, await world.submit(engine, TARGETS))
        assert dag.state is State.SUCCEED
        release.join()
        other.close()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that others can reach: pytest keeps its own to its user."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("how", ["all of it", "the file alone"])
async def test_sqlite_store_of_other_user_is_refused_by_name(open_path: Path, how: str) -> None:
    program = (
        "import asyncio, os, sys\n"
        "from dagengine.store.sqlite.store import SqliteStore\n"
        "os.setuid(65534)\n"
        "asyncio.run(SqliteStore(sys.argv[1]).open())\n"
    )
    path = open_path / "store.sqlite"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    if how == "the file alone":
        for owned_path in (open_path, open_path / "store.sqlite.lock"):
            os.chown(owned_path, 65534, 65534)
    done = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    said = {
        "all of it": f"cannot open {path}.lock: Permission denied",
        "the file alone": f"this user may not read and write {path};",
    }
    assert "StoreUnavailable: " in done.stderr
    assert said[how] in done.stderr
    assert sorted(open_path.iterdir()) == [path, open_path / "store.sqlite.lock"]


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.05])
async def test_engine_sigterm_during_work_leaves_resumable_store(
    tmp_path: Path, after_s: float
) -> None:
    program = (
        "import asyncio, signal, sys\n"
        "from pathlib import Path\n"
        "from dagengine import Engine, SqliteStore\n"
        "from tests.chaos.start_scenarios import TARGETS, World\n"
        "async def main():\n"
        "    world = World(Path(sys.argv[1]))\n"
        "    stopping = asyncio.Event()\n"
        "    loop = asyncio.get_running_loop()\n"
        "    loop.add_signal_handler(signal.SIGTERM, stopping.set)\n"
        "    store = SqliteStore(Path(sys.argv[1]) / 'store.sqlite')\n"
        "    async with Engine(store=store, operations=[world.operation()]) as engine:\n"
        "        for number in range(50):\n"
        "            asyncio.ensure_future(world.submit(engine, (f'x{number}',)))\n"
        "        await asyncio.sleep(0)\n"
        "        Path(sys.argv[1], 'ready').touch()\n"
        "        await stopping.wait()\n"
        "asyncio.run(main())\n"
    )
    child = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    async def is_ready() -> bool:
        return (tmp_path / "ready").exists()

    await eventually(is_ready, what="the child at work")
    await asyncio.sleep(after_s)  # the moment of the signal is the condition under test
    child.send_signal(signal.SIGTERM)
    _, said = await asyncio.to_thread(child.communicate, timeout=20)
    assert child.returncode == 0, said
    world = World(tmp_path)
    accepted = {words[1] for words in world.notes("told") if words[0] == "accepted"}
    store = SqliteStore(tmp_path / "store.sqlite")
    async with asyncio.timeout(30), Engine(store=store, operations=[world.operation()]) as engine:
        known = {d.dag.dag_id for d in await engine.list_dags(limit=99, details=False)}
        assert accepted <= known
        for dag_id in known:
            await engine.wait(dag_id)
        assert engine.holder("k") is None
    launches = [target for (target,) in world.notes("launches")]
    assert len(launches) == len(set(launches)), "launched twice"
