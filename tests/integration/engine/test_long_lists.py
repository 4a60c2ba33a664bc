"""Lists of DAGs with details are read in pages, with a bounded number of queries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from sqlite3 import Row
from typing import Any

import aiosqlite
import pytest

from dagengine import DagRecord, Engine, Outcome, SqliteStore, State, StepContext
from dagengine.engine.queries import PAGE
from dagengine.testing import eventually
from tests.support.minimal_operations import hang, op, submit, succeed

DAG_COUNT = 2 * PAGE + 20
PAGES = 3
QUERIES_PER_PAGE = 4


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that the reader has executed."""
    executed: list[str] = []
    execute = aiosqlite.Connection.execute_fetchall

    async def record(self: aiosqlite.Connection, sql: str, *values: Any) -> Iterable[Row]:
        executed.append(sql)
        return await execute(self, sql, *values)

    monkeypatch.setattr(aiosqlite.Connection, "execute_fetchall", record)
    return executed


@pytest.mark.parametrize("is_unfinished", [False, True], ids=["newest", "unfinished"])
async def test_list_with_details_needs_few_queries(
    tmp_path: Path, queries: list[str], is_unfinished: bool
) -> None:
    operation = op(hang if is_unfinished else succeed, succeed)
    async with Engine(store=SqliteStore(tmp_path / "store"), operations=[operation]) as engine:
        ids = [await submit(engine) for _ in range(DAG_COUNT)]
        expected_state = State.RUNNING if is_unfinished else State.SUCCEED

        async def has_settled() -> bool:
            return (await engine.count_dags()).get(expected_state) == DAG_COUNT

        await eventually(has_settled, timeout_s=60, what="the DAGs")
        queries.clear()
        if is_unfinished:
            details = await engine.list_unfinished(details=True)
        else:
            details = await engine.list_dags(limit=DAG_COUNT, details=True)
        assert len(queries) <= 1 + PAGES * QUERIES_PER_PAGE
        assert [detail.dag.dag_id for detail in details] == ids[::-1]
        for detail in details[:: PAGE // 2]:
            assert detail == await engine.find_dag(detail.dag.dag_id, details=True)


async def test_unfinished_list_omits_dag_that_ends_meanwhile(tmp_path: Path) -> None:
    latch = asyncio.Event()

    class EndingStore(SqliteStore):
        """Its only DAG ends after the list of the unfinished DAGs was read."""

        async def list_dags(self, *, limit: int, unfinished: bool = False) -> tuple[DagRecord, ...]:
            dags = await super().list_dags(limit=limit, unfinished=unfinished)
            latch.set()
            await eventually(has_ended, what="the DAG")
            return dags

    async def wait(context: StepContext) -> Outcome:
        await latch.wait()
        return await succeed(context)

    async def has_ended() -> bool:
        return (await engine.count_dags()).get(State.SUCCEED) == 1

    store = EndingStore(tmp_path / "store")
    async with Engine(store=store, operations=[op(wait)]) as engine:
        await submit(engine)
        assert await engine.list_unfinished(details=True) == ()
