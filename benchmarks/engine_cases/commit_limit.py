"""Lower bounds: the commits of 200 DAGs with six steps each, without an engine.

`python commit_limit.py DIRECTORY` records the batches that DAGs of `dagengine_cases` write, writes
them again in three ways and prints one JSON object:

- `per_s`: one transaction per step for all 200 DAGs; steps per second.
- `store_s`: through the same store, DAG after DAG, each batch durable before the next one is
  submitted; median seconds per DAG. An engine that takes no time for decisions needs as much.
- `thread_s`: the same in one thread without an event loop, with prepared values.
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
from dagengine_cases import SIX_STEPS, STEPS

from dagengine import Engine, SqliteStore, Submission
from dagengine.model.changes import Batch
from dagengine.store.contract import BatchRefused
from dagengine.store.sqlite.connection import connect_writer
from dagengine.store.sqlite.writes import write_batch

DAGS = 200

Statement: TypeAlias = tuple[str, tuple[object, ...]]


class RecordingStore(SqliteStore):
    """A store that records every batch that it writes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[list[Batch]] = []

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        self.batches.append(list(batches))
        return await super().commit(batches)


async def record(directory: Path) -> dict[int, list[Batch]]:
    """Run all DAGs; return the batches of each one, in order."""
    store = RecordingStore(directory / "recorded.sqlite")
    async with Engine(store=store, operations=[SIX_STEPS]) as engine:
        for _ in range(DAGS):
            await engine.wait((await engine.submit(Submission("six"))).dag.dag_id)
    batches_by_dag: dict[int, list[Batch]] = {}
    for batches in store.batches:
        for batch in batches:
            batches_by_dag.setdefault(batch.dag_id, []).append(batch)
    return batches_by_dag


def render(batches: Iterable[Batch]) -> tuple[Statement, ...]:
    """Return the statements of the batches, with their values."""
    recorder = _StatementRecorder()
    for batch in batches:
        write_batch(recorder, batch)  # type: ignore[arg-type]
    return tuple(recorder.statements)


class _StatementRecorder:
    """A fake connection that records statements and does not run them."""

    rowcount = 1

    def __init__(self) -> None:
        self.statements: list[tuple[str, tuple[object, ...]]] = []

    def execute(self, sql: str, values: tuple[object, ...]) -> _StatementRecorder:
        self.statements.append((sql, values))
        return self

    def executemany(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        self.statements += [(sql, row) for row in rows]

    def fetchone(self) -> tuple[int]:
        return (1,)


def write_in_groups(directory: Path, rounds: Sequence[tuple[Statement, ...]]) -> float:
    """Return the seconds for all rounds; each one is a durable transaction."""
    connection: sqlite3.Connection = connect_writer(directory / "groups.sqlite")
    started_s = time.perf_counter()
    _write_rounds(connection, rounds)
    elapsed_s = time.perf_counter() - started_s
    connection.close()
    return elapsed_s


def _write_rounds(connection: sqlite3.Connection, rounds: Iterable[tuple[Statement, ...]]) -> None:
    for statements in rounds:
        connection.execute("BEGIN IMMEDIATE")
        for sql, values in statements:
            connection.execute(sql, values)
        connection.execute("COMMIT")


def write_in_thread(directory: Path, dags: Iterable[list[Batch]]) -> float:
    """Return the median seconds per DAG in this thread, with statements rendered in advance."""
    connection: sqlite3.Connection = connect_writer(directory / "thread.sqlite")
    times_s = []
    for rounds in [[render([batch]) for batch in batches] for batches in dags]:
        started_s = time.perf_counter()
        _write_rounds(connection, rounds)
        times_s.append(time.perf_counter() - started_s)
    connection.close()
    return sorted(times_s)[len(times_s) // 2]


async def write_through_store(directory: Path, dags: Iterable[list[Batch]]) -> float:
    """Return the median seconds per DAG if each batch is durable before the next is submitted."""
    store = SqliteStore(directory / "store.sqlite")
    await store.open()
    times_s = []
    for batches in dags:
        started_s = time.perf_counter()
        for batch in batches:
            await store.commit([batch])
        times_s.append(time.perf_counter() - started_s)
    await store.close()
    return sorted(times_s)[len(times_s) // 2]


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    directory = Path(sys.argv[1])
    dags = asyncio.run(record(directory)).values()
    elapsed_s = write_in_groups(directory, [render(group) for group in zip(*dags, strict=True)])
    result = {
        "per_s": DAGS * STEPS / elapsed_s,
        "store_s": asyncio.run(write_through_store(directory, dags)),
        "thread_s": write_in_thread(directory, dags),
    }
    print(json.dumps(result))
