"""The process ends at every statement of the store's own writes: pin, reserve, prune, migrations.

A child runs one kind of write, and ends with os._exit before or after the statement with a given
number. The store must then open, be sound, contain what was acknowledged, and finish the work.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dagengine.model.states import State
from dagengine.store.contract import Retention
from dagengine.store.sqlite.migrate import newest_version
from dagengine.store.sqlite.store import SqliteStore
from tests.conformance.builders import NOW, batch_of, create, line_of
from tests.fixtures.stores import rows_of, version_of, write_store

CRASHED, WRONG = 77, 78
DIGESTS = tuple(bytes([number]) * 32 for number in range(3))
UNTIL = NOW + timedelta(hours=1)
KEPT = Retention(max_count=2)
DAG_COUNT = 6


class EndingConnection(sqlite3.Connection):
    """A connection that ends the process at a statement of the whole process."""

    left = 0
    side = ""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cls = EndingConnection
        cls.left -= 1
        if cls.left == 0 and cls.side == "before":
            os._exit(CRASHED)
        cursor = super().execute(sql, parameters)
        if cls.left == 0:
            os._exit(CRASHED)
        return cursor


@dataclass(frozen=True)
class StoreWrite:
    """One kind of write, and what must hold after a crash in it.

    Attributes:
        prepare: creates the store at a path.
        write: does the work; called again after the crash until it returns.
        check: checks the finished store, given the rows before.
        check_crashed: checks the store after a crash, given the rows before and whether the work
            was acknowledged.
    """

    prepare: Callable[[Path], Awaitable[None]]
    write: Callable[[SqliteStore], Awaitable[None]]
    check: Callable[[Path], None]
    check_crashed: Callable[[Path, bool], None]


# --- the writes ----------------------------------------------------------------------------------


async def prepare_empty(path: Path) -> None:
    await (store := SqliteStore(path)).open()
    await store.close()


async def prepare_dags(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    for dag_id in range(1, DAG_COUNT + 1):
        created = create(dag_id)
        ended = created.dag._replace(state=State.SUCCEED)
        lines = [line_of(created, f"line {number}") for number in range(3)]
        created = type(created)(ended, created.nodes, created.sub_tasks)
        await store.commit([batch_of(created, *lines, dag_id=dag_id)])
    await store.close()


async def prepare_old(path: Path) -> None:
    write_store(path)


async def prepare_nothing(path: Path) -> None:
    assert not path.exists()


async def pin(store: SqliteStore) -> None:
    assert await store.pin("advertise", "first") == "first"


async def reserve(store: SqliteStore) -> None:
    await store.reserve([(digest, UNTIL) for digest in DIGESTS], delete_before=NOW)


async def prune(store: SqliteStore) -> None:
    while await store.prune(KEPT, NOW):
        pass


async def probe(store: SqliteStore) -> None:
    await store.probe(NOW)


async def only_open(store: SqliteStore) -> None:
    await store.ping()


def ids_of(path: Path, table: str = "dag", column: str = "dag_id") -> list[object]:
    return sorted(row[column] for row in rows_of(path)[table])  # type: ignore[type-var]


def check_pin(path: Path, is_acknowledged: bool = True) -> None:
    pinned = {row["key"]: row["value"] for row in rows_of(path)["meta"]}
    assert pinned.get("advertise") in ({"first"} if is_acknowledged else {"first", None})


def check_probe(path: Path, is_acknowledged: bool = True) -> None:
    assert not is_acknowledged or "probed_at" in {row["key"] for row in rows_of(path)["meta"]}


def check_reserve(path: Path, is_acknowledged: bool = True) -> None:
    stored = {row["digest"] for row in rows_of(path)["reserved_request"]}
    assert stored == set(DIGESTS) if is_acknowledged else stored in (set(), set(DIGESTS))


def check_pruned(path: Path) -> None:
    assert ids_of(path) == [DAG_COUNT - 1, DAG_COUNT]
    for table in ("node", "sub_task", "log"):
        assert set(ids_of(path, table)) == {DAG_COUNT - 1, DAG_COUNT}


def check_partly_pruned(path: Path, is_acknowledged: bool) -> None:
    if is_acknowledged:
        check_pruned(path)
        return
    present = ids_of(path)
    assert present == list(range(DAG_COUNT + 1 - len(present), DAG_COUNT + 1)), "not oldest first"
    for table, rows_per_dag in (("node", 2), ("sub_task", 3), ("log", 3)):
        assert ids_of(path, table) == sorted(present * rows_per_dag), f"{table}: a part of a DAG"


def check_upgraded(path: Path, is_acknowledged: bool = True) -> None:
    reference = path.with_name("reference.sqlite")
    if not reference.exists():
        write_store(reference)
    assert rows_of(path) == rows_of(reference)
    if is_acknowledged:
        assert version_of(path) == newest_version()


def check_created(path: Path, is_acknowledged: bool = True) -> None:
    assert version_of(path) in ({newest_version()} if is_acknowledged else {0, newest_version()})


WRITES = {
    "pin": StoreWrite(prepare_empty, pin, check_pin, check_pin),
    "probe": StoreWrite(prepare_empty, probe, check_probe, check_probe),
    "reserve": StoreWrite(prepare_empty, reserve, check_reserve, check_reserve),
    "prune": StoreWrite(prepare_dags, prune, check_pruned, check_partly_pruned),
    "migration": StoreWrite(prepare_old, only_open, check_upgraded, check_upgraded),
    "creation": StoreWrite(prepare_nothing, only_open, check_created, check_created),
}


# --- crashing ------------------------------------------------------------------------------------


def run_child(path: Path, write: StoreWrite, number: int, side: str) -> int:
    """Open the store and write in a child that ends at a statement; return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            EndingConnection.left, EndingConnection.side = number, side
            asyncio.run(write_and_acknowledge(path, write))
            os._exit(0)
        except BaseException:  # noqa: BLE001  # the parent reads the traceback
            path.with_suffix(".wrong").write_text(traceback.format_exc()[-3000:])
            os._exit(WRONG)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


async def write_and_acknowledge(path: Path, write: StoreWrite) -> None:
    connect = sqlite3.connect

    def ending(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, factory=EndingConnection, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", ending)
        store = SqliteStore(path)
        await store.open()
        await write.write(store)
        path.with_suffix(".acknowledged").touch()
        await store.close()


def check_sound(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def crash_at(directory: Path, write: StoreWrite, prepared: Sequence[Path], point: str) -> bool:
    """Crash at one statement, check, and finish; return False if there are fewer statements."""
    number, _, side = point.partition("-")
    place = directory / point
    place.mkdir()
    path = place / "store.sqlite"
    for file in prepared:
        shutil.copy(file, place)
    code = run_child(path, write, int(number), side)
    wrong = path.with_suffix(".wrong")
    assert code in (0, CRASHED), wrong.read_text() if wrong.exists() else code
    if path.exists() and path.stat().st_size:
        check_sound(path)
        write.check_crashed(path, path.with_suffix(".acknowledged").exists())
    assert run_child(path, write, 0, "") == 0, wrong.read_text()
    check_sound(path)
    write.check(path)
    return code == CRASHED


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    "kind",
    [
        "reserve",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("pin", "probe", "prune", "migration", "creation")
        ),
    ],
)
def test_store_crash_at_any_statement_loses_nothing(kind: str, tmp_path: Path) -> None:
    write, original = WRITES[kind], tmp_path / "original"
    original.mkdir()
    asyncio.run(write.prepare(original / "store.sqlite"))
    prepared = sorted(original.iterdir())
    for number in count(1):
        points = [f"{number}-{side}" for side in ("before", "after")]
        is_reached = [crash_at(tmp_path, write, prepared, point) for point in points]
        if not any(is_reached):
            break
    assert number > 5, "statements of the writer are not seen"
