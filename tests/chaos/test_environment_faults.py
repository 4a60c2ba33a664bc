"""Environment faults: full disk, a store that is in use or cannot be written, SIGTERM."""

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
from tests.chaos.start_scenarios import TARGETS, ChaosEnvironment

ROOT = Path(__file__).parents[2]


async def test_engine_full_disk_refuses_submission_and_recovers(tmp_path: Path) -> None:
    """SQLite's limit on pages causes the same error as a full disk (SQLITE_FULL)."""
    environment = ChaosEnvironment(tmp_path)
    store = SqliteStore(tmp_path / "store.sqlite")
    async with (
        asyncio.timeout(30),
        Engine(store=store, operations=[environment.operation()]) as engine,
    ):
        (full,) = await call_writer(
            store, lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone()
        )
        assert full > 1, "the limit is at least the present size"
        with pytest.raises(StoreUnavailable, match="full"):
            await environment.submit(engine, tuple(f"t{n}" for n in range(500)))
        assert await engine.list_dags(limit=9, details=False) == ()
        await call_writer(
            store, lambda connection: connection.execute("PRAGMA max_page_count = 1000000")
        )
        dag = await environment.end_of(engine, await environment.submit(engine, TARGETS))
        assert dag.state is State.SUCCEED


async def test_engine_unwritable_store_delays_running_dag(tmp_path: Path) -> None:
    environment = ChaosEnvironment(tmp_path)
    store = SqliteStore(tmp_path / "store.sqlite")
    async with (
        asyncio.timeout(30),
        Engine(store=store, operations=[environment.operation()]) as engine,
    ):
        dag_id = await environment.submit(engine, TARGETS)
        await call_writer(store, lambda connection: connection.execute("PRAGMA query_only = ON"))
        waiting = asyncio.ensure_future(engine.wait(dag_id))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done, "the DAG ended without its store"
        await call_writer(store, lambda connection: connection.execute("PRAGMA query_only = OFF"))
        assert (await waiting).dag.state is State.SUCCEED


async def test_engine_moved_store_file_is_refused_until_restored(
    tmp_path: Path,
) -> None:
    environment = ChaosEnvironment(tmp_path)
    path, aside = tmp_path / "store.sqlite", tmp_path / "aside"
    store = SqliteStore(path)
    engine = Engine(store=store, operations=[environment.operation()])
    async with asyncio.timeout(30), engine:
        path.rename(aside)
        with pytest.raises(StoreUnavailable, match=r"store\.sqlite was removed or replaced"):
            await environment.submit(engine, TARGETS)
        with pytest.raises(StoreUnavailable, match="put a backup in its place"):
            await engine.probe_store(datetime.now(UTC))
        await store.ping()  # a watchdog that ended it would lose open transactions
        path.write_bytes(aside.read_bytes())  # another file of the same content is not the store
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await environment.submit(engine, TARGETS)
        aside.rename(path)
        dag = await environment.end_of(engine, await environment.submit(engine, TARGETS))
        assert dag.state is State.SUCCEED


async def test_engine_waits_for_store_locked_by_other_process(tmp_path: Path) -> None:
    environment = ChaosEnvironment(tmp_path)
    path = tmp_path / "store.sqlite"
    async with (
        asyncio.timeout(40),
        Engine(store=SqliteStore(path), operations=[environment.operation()]) as engine,
    ):
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
        release.start()
        dag = await environment.end_of(engine, await environment.submit(engine, TARGETS))
        assert dag.state is State.SUCCEED
        release.join()
        other.close()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Yield a directory that other users can reach; pytest's own is private."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("owned", ["all of it", "the file alone"])
async def test_sqlite_store_of_other_user_is_refused_by_name(open_path: Path, owned: str) -> None:
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
    if owned == "the file alone":
        for owned_path in (open_path, open_path / "store.sqlite.lock"):
            os.chown(owned_path, 65534, 65534)
    done = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    expected_texts = {
        "all of it": f"cannot open {path}.lock: Permission denied",
        "the file alone": f"this user may not read and write {path};",
    }
    assert "StoreUnavailable: " in done.stderr
    assert expected_texts[owned] in done.stderr
    assert sorted(open_path.iterdir()) == [path, open_path / "store.sqlite.lock"]


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.05])
async def test_engine_sigterm_during_work_leaves_resumable_store(
    tmp_path: Path, after_s: float
) -> None:
    program = (
        "import asyncio, signal, sys\n"
        "from pathlib import Path\n"
        "from dagengine import Engine, SqliteStore\n"
        "from tests.chaos.start_scenarios import TARGETS, ChaosEnvironment\n"
        "async def main():\n"
        "    environment = ChaosEnvironment(Path(sys.argv[1]))\n"
        "    stopping = asyncio.Event()\n"
        "    loop = asyncio.get_running_loop()\n"
        "    loop.add_signal_handler(signal.SIGTERM, stopping.set)\n"
        "    store = SqliteStore(Path(sys.argv[1]) / 'store.sqlite')\n"
        "    async with Engine(store=store, operations=[environment.operation()]) as engine:\n"
        "        for number in range(50):\n"
        "            asyncio.ensure_future(environment.submit(engine, (f'x{number}',)))\n"
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
    _, stderr = await asyncio.to_thread(child.communicate, timeout=20)
    assert child.returncode == 0, stderr
    environment = ChaosEnvironment(tmp_path)
    accepted = {words[1] for words in environment.notes("responses") if words[0] == "accepted"}
    store = SqliteStore(tmp_path / "store.sqlite")
    async with (
        asyncio.timeout(30),
        Engine(store=store, operations=[environment.operation()]) as engine,
    ):
        dag_ids = {d.dag.dag_id for d in await engine.list_dags(limit=99, details=False)}
        assert accepted <= dag_ids
        for dag_id in dag_ids:
            await engine.wait(dag_id)
        assert engine.holder("k") is None
    launches = [target for (target,) in environment.notes("launches")]
    assert len(launches) == len(set(launches)), "started twice"
