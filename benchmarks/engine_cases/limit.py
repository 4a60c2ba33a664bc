"""The raw limits: the rows of 200 DAGs of six steps, written without an engine.

`python limit.py DIRECTORY` records once what DAGs of `ours` write, and then measures three cases:

- The same batches in groups, one transaction for all 200 DAGs per step: steps per second.
- One DAG after the other, each batch durable before the next one is submitted: the time per DAG of
  an engine that makes no decisions, with the same store.
- The same without an event loop, in one thread, with the values of the statements prepared.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import structlog
from ours import SIX, STEPS

from dagengine import Engine, SqliteStore, Submission
from dagengine.model.changes import Batch
from dagengine.store.contract import BatchRefused
from dagengine.store.sqlite.connection import connect_writer
from dagengine.store.sqlite.writes import write_batch

DAGS = 200

Statement: TypeAlias = tuple[str, tuple[object, ...]]


class Recording(SqliteStore):
    """A store that keeps every batch that it writes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[list[Batch]] = []

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        self.batches.append(list(batches))
        return await super().commit(batches)


async def record(directory: Path) -> dict[int, list[Batch]]:
    """Return the batches of each of 200 DAGs, in order."""
    store = Recording(directory / "recorded.sqlite")
    async with Engine(store=store, operations=[SIX]) as engine:
        for _ in range(DAGS):
            await engine.wait((await engine.submit(Submission("six"))).dag.dag_id)
    found: dict[int, list[Batch]] = {}
    for batches in store.batches:
        for batch in batches:
            found.setdefault(batch.dag_id, []).append(batch)
    return found


def render(batches: Iterable[Batch]) -> tuple[Statement, ...]:
    """Return the statements with their values."""
    catcher = _Catcher()
    for batch in batches:
        write_batch(catcher, batch)  # type: ignore[arg-type]
    return tuple(catcher.caught)


class _Catcher:
    """A fake connection that keeps the statements instead of running them."""

    rowcount = 1

    def __init__(self) -> None:
        self.caught: list[tuple[str, tuple[object, ...]]] = []

    def execute(self, sql: str, values: tuple[object, ...]) -> _Catcher:
        self.caught.append((sql, values))
        return self

    def executemany(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        self.caught += [(sql, row) for row in rows]

    def fetchone(self) -> tuple[int]:
        return (1,)


def replay(directory: Path, rounds: Sequence[tuple[Statement, ...]]) -> float:
    """Return the seconds for all rounds, one durable transaction each."""
    connection: sqlite3.Connection = connect_writer(directory / "replayed.sqlite")
    begun = time.perf_counter()
    _write_rounds(connection, rounds)
    took_s = time.perf_counter() - begun
    connection.close()
    return took_s


def _write_rounds(connection: sqlite3.Connection, rounds: Iterable[tuple[Statement, ...]]) -> None:
    for statements in rounds:
        connection.execute("BEGIN IMMEDIATE")
        for sql, values in statements:
            connection.execute(sql, values)
        connection.execute("COMMIT")


def write_alone(directory: Path, dags: Iterable[list[Batch]]) -> float:
    """Return the median seconds per DAG without an event loop, threads or rendering."""
    connection: sqlite3.Connection = connect_writer(directory / "alone.sqlite")
    times = []
    for rounds in [[render([batch]) for batch in batches] for batches in dags]:
        begun = time.perf_counter()
        _write_rounds(connection, rounds)
        times.append(time.perf_counter() - begun)
    connection.close()
    return sorted(times)[len(times) // 2]


async def hand_in(directory: Path, dags: Iterable[list[Batch]]) -> float:
    """Return the median seconds per DAG if each batch is durable before the next is submitted."""
    store = SqliteStore(directory / "handed.sqlite")
    await store.open()
    times = []
    for batches in dags:
        begun = time.perf_counter()
        for batch in batches:
            await store.commit([batch])
        times.append(time.perf_counter() - begun)
    await store.close()
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    place = Path(sys.argv[1])
    dags = asyncio.run(record(place)).values()
    took_s = replay(place, [render(group) for group in zip(*dags, strict=True)])
    found = {"one_s": asyncio.run(hand_in(place, dags)), "alone_s": write_alone(place, dags)}
    print(json.dumps({"per_s": DAGS * STEPS / took_s, **found}))
