"""Lists of DAGs with details are read in pages, with a bounded number of queries."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from sqlite3 import Row
from typing import Any

import aiosqlite
import pytest

from dagengine import Engine, SqliteStore, State
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
