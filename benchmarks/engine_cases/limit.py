"""The raw limit: the rows of 200 DAGs of six steps, written with nothing around, in groups.

`python limit.py DIRECTORY`. What a DAG of `ours` writes is recorded once; then the same batches
are written for 200 DAGs, one transaction for all of them at every step. Prints steps per second.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from ours import SIX, STEPS

from dagengine import Engine, SqliteStore, Submission
from dagengine.errors import StaleWrite
from dagengine.model.transition import Batch
from dagengine.store.sqlite.connect import connect_writer
from dagengine.store.sqlite.writes import write_batch

DAGS = 200


class Recording(SqliteStore):
    """Keeps every batch that it writes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[list[Batch]] = []

    async def commit(self, batches: Sequence[Batch]) -> list[StaleWrite | None]:
        self.batches.append(list(batches))
        return await super().commit(batches)


async def record(directory: Path) -> list[tuple[tuple[str, tuple[object, ...]], ...]]:
    """Statements with their values, for each commit of each of 200 DAGs."""
    store = Recording(directory / "recorded.sqlite")
    async with Engine(store=store, operations=[SIX]) as engine:
        for _ in range(DAGS):
            await engine.wait((await engine.submit(Submission("six"))).dag.dag_id)
    statements: dict[int, list[list[tuple[str, tuple[object, ...]]]]] = {}
    catcher = _Catcher()
    for batches in store.batches:
        for batch in batches:
            catcher.caught = []
            write_batch(catcher, batch)  # type: ignore[arg-type]
            statements.setdefault(batch.dag_id, []).append(catcher.caught)
    rounds = zip(*statements.values(), strict=True)
    return [tuple(one for caught in group for one in caught) for group in rounds]


class _Catcher:
    """Stands for a connection: keeps the statements instead of running them."""

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


def replay(directory: Path, rounds: list[tuple[tuple[str, tuple[object, ...]], ...]]) -> float:
    """Seconds for all rounds, one durable transaction each."""
    connection: sqlite3.Connection = connect_writer(directory / "replayed.sqlite")
    begun = time.perf_counter()
    for statements in rounds:
        connection.execute("BEGIN IMMEDIATE")
        for sql, values in statements:
            connection.execute(sql, values)
        connection.execute("COMMIT")
    took_s = time.perf_counter() - begun
    connection.close()
    return took_s


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    place = Path(sys.argv[1])
    took_s = replay(place, asyncio.run(record(place)))
    print(json.dumps({"per_s": DAGS * STEPS / took_s}))
