"""The store's contract: retention, and the limit of rows deleted at once."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest

from dagengine.model.changes import DagChanged
from dagengine.model.states import State
from dagengine.store.contract import Retention, Store
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of, prune


async def finish(store: Store, dag_id: int, end_at: datetime, lines: int = 1) -> None:
    created = create(dag_id)
    batch = batch_of(created, *(line_of(created, "x") for _ in range(lines)), dag_id=dag_id)
    ended = created.dag._replace(state=State.SUCCEED, end_at=end_at)
    await store.commit([batch, batch_of(DagChanged(created.dag, ended), dag_id=dag_id)])


async def list_dag_ids(store: Store) -> list[int]:
    return [dag.dag_id for dag in await store.list_dags(limit=99)]


async def test_store_prune_keeps_unfinished_and_newest_dags(store: Store) -> None:
    long_ago = NOW - timedelta(days=100)
    await finish(store, 1, long_ago)
    await store.commit([batch_of(create(2), dag_id=2)])
    await finish(store, 3, NOW)
    await finish(store, 4, long_ago)
    ids = await store.last_ids()
    await prune(store, Retention(max_age_s=86_400))
    assert await list_dag_ids(store) == [4, 3, 2]
    assert await store.last_ids() == ids
    assert await store.find_logs(1) == ()


async def test_store_prune_max_count_keeps_newest(store: Store) -> None:
    for dag_id in range(1, 8):
        await finish(store, dag_id, NOW)
    await prune(store, Retention(max_count=3))
    assert await list_dag_ids(store) == [7, 6, 5]


@pytest.mark.parametrize("max_age_s", [1e6 * 86_400, 1e300, math.inf])
async def test_store_prune_huge_max_age_applies_max_count(store: Store, max_age_s: float) -> None:
    for dag_id in range(1, 5):
        await finish(store, dag_id, NOW - timedelta(days=10_000))
    assert await prune(store, Retention(max_age_s=max_age_s, max_count=2**80)) == 0
    assert await list_dag_ids(store) == [4, 3, 2, 1]
    await prune(store, Retention(max_age_s=max_age_s, max_count=2))
    assert await list_dag_ids(store) == [4, 3]


async def test_store_prune_huge_max_count_applies_max_age(store: Store) -> None:
    for dag_id in range(1, 5):
        await finish(store, dag_id, NOW - timedelta(days=4 - dag_id))
    await prune(store, Retention(max_age_s=1.5 * 86_400, max_count=2**80))
    assert await list_dag_ids(store) == [4, 3]


async def test_store_prune_large_dag_is_deleted_in_slices(
    store: Store,
) -> None:
    await finish(store, 1, NOW - timedelta(days=9), lines=5000)
    await store.commit([batch_of(create(2), dag_id=2)])
    assert 0 < await store.prune(Retention(max_age_s=1), NOW) <= 2000
    assert await list_dag_ids(store) == [2, 1]
    assert await commit_one(store, batch_of(line_of(create(2), "a line"), dag_id=2)) is None
    assert await prune(store, Retention(max_age_s=1)) >= 2
    assert await list_dag_ids(store) == [2]
