"""The store's contract: growing lists, counts, and whether the store can be written and read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.model.changes import AuditAppended, DagChanged
from dagengine.model.records import AuditRecord
from dagengine.model.states import State
from dagengine.store.contract import Retention, Store
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of

STATES = [State.SUCCEED, State.FAILED, State.RUNNING, State.FAILED, State.READY, State.SUCCEED]
NAMES = ["start", "stop"]  # alternating


async def create_dags(store: Store) -> None:
    """Create DAGs 1 to 6, with STATES and NAMES."""
    for dag_id, state in enumerate(STATES, 1):
        created = create(dag_id)
        dag = created.dag._replace(name=NAMES[dag_id % 2], state=state)
        created_batch = batch_of(replace(created, dag=dag), dag_id=dag_id)
        assert await commit_one(store, created_batch) is None


async def search(
    store: Store,
    *,
    before: int | None = None,
    state: State | None = None,
    name: str | None = None,
    limit: int = 9,
) -> list[int]:
    matching = await store.search_dags(before=before, state=state, name=name, limit=limit)
    return [dag.dag_id for dag in matching]


# --- DAGs ----------------------------------------------------------------------------------------


async def test_search_dags_is_newest_first_and_limited(store: Store) -> None:
    await create_dags(store)
    assert await search(store) == [6, 5, 4, 3, 2, 1]
    assert await search(store, limit=2) == [6, 5]


async def test_search_dags_before_id_continues_list(store: Store) -> None:
    await create_dags(store)
    assert await search(store, before=5, limit=2) == [4, 3]
    assert await search(store, before=1) == []
    assert await search(store, before=99, limit=1) == [6]
    pages, before = [], None
    while page := await search(store, before=before, limit=4):
        pages += page
        before = page[-1]
    assert pages == [6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("state", "name", "matching"),
    [
        (State.FAILED, None, [4, 2]),
        (State.SUCCEED, None, [6, 1]),
        (State.READY, None, [5]),
        (None, "start", [6, 4, 2]),
        (None, "stop", [5, 3, 1]),
        (None, "sto", []),
        (None, "%", []),
        (State.FAILED, "start", [4, 2]),
        (State.FAILED, "stop", []),
        (State.SUCCEED, "stop", [1]),
    ],
)
async def test_search_dags_filters_by_state_and_name(
    store: Store, state: State | None, name: str | None, matching: list[int]
) -> None:
    await create_dags(store)
    assert await search(store, state=state, name=name) == matching
    assert await search(store, state=state, name=name, before=5) == [n for n in matching if n < 5]


async def test_search_dags_returns_dag_records(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    (matching,) = await store.search_dags(before=None, state=None, name="op", limit=1)
    assert matching == created.dag


async def test_find_dags_equals_single_reads_in_given_order(store: Store) -> None:
    await create_dags(store)
    for dag_id in (2, 5):
        created = create(dag_id)
        lines = [line_of(created, f"line {n} of {dag_id}") for n in range(3)]
        assert await commit_one(store, batch_of(*lines, dag_id=dag_id)) is None
    for ids in ([6, 5, 4, 3, 2, 1], [2, 5], [5, 99, 2], [1], [99], []):
        single = [await store.find_dag(dag_id, details=True) for dag_id in ids]
        assert list(await store.find_dags(ids)) == [dag for dag in single if dag is not None]


async def test_count_dags_counts_by_state(store: Store) -> None:
    assert not any((await store.count_dags()).values())
    await create_dags(store)
    counted = {state: count for state, count in (await store.count_dags()).items() if count}
    assert counted == {state: STATES.count(state) for state in STATES}


async def test_search_dags_and_count_dags_follow_state_change(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    assert await search(store, state=State.READY) == [1]
    running = created.dag._replace(state=State.RUNNING)
    await commit_one(store, batch_of(DagChanged(created.dag, running)))
    assert await search(store, state=State.READY) == []
    assert await search(store, state=State.RUNNING) == [1]
    counted = await store.count_dags()
    assert (counted.get(State.READY, 0), counted[State.RUNNING]) == (0, 1)


async def test_search_dags_and_count_dags_omit_pruned_dags(store: Store) -> None:
    await create_dags(store)
    while await store.prune(Retention(max_count=1), NOW + timedelta(days=1)):
        pass
    remaining_ids = await search(store)
    assert remaining_ids[0] == 6  # the newest and the unfinished DAGs remain
    assert {3, 5} <= set(remaining_ids) < {1, 2, 3, 4, 5, 6}
    assert sum((await store.count_dags()).values()) == len(remaining_ids)


# --- the audit -----------------------------------------------------------------------------------


async def test_list_audit_before_id_continues_list(store: Store) -> None:
    rows = [AuditRecord(0, NOW, n, None, "RETRY", "me", "why") for n in (1, 2, 1, 2, 1)]
    await store.commit([batch_of(AuditAppended(row)) for row in rows])

    async def ids(dag_id: int | None, *, before: int | None = None, limit: int = 9) -> list[int]:
        matching = await store.list_audit(dag_id, limit=limit, before=before)
        return [row.audit_id for row in matching]

    assert await ids(None, before=None) == [5, 4, 3, 2, 1]
    assert await ids(None, before=4, limit=2) == [3, 2]
    assert await ids(None, before=1) == []
    assert await ids(None, before=99, limit=1) == [5]
    assert await ids(1, before=5) == [3, 1]
    assert await ids(1, before=4) == [3, 1]  # row 2 belongs to another DAG
    assert await ids(1, before=3, limit=1) == [1]
    assert await ids(2, before=2) == []
    assert await ids(3) == []


# --- whether the store can be written and read ----------------------------------------------------


async def test_store_probe_changes_no_row(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created, line_of(created, "a line")))
    before = await store.find_dag(1, details=True)
    for seconds in (0, 1, -1):
        await store.probe(NOW + timedelta(seconds=seconds))
    await store.ping()
    await store.close()
    await store.open()
    await store.probe(NOW)
    assert await store.find_dag(1, details=True) == before
    assert await store.pin("advertise", "first") == "first"  # stored like the probe


async def test_store_closed_refuses_each_call(store: Store) -> None:
    await store.close()
    for call in (store.probe(NOW), store.ping(), store.pin("a", "b"), store.count_dags()):
        with pytest.raises(StoreUnavailable):
            await call
    with pytest.raises(StoreUnavailable):
        await search(store)
    with pytest.raises(StoreUnavailable):
        await store.commit([batch_of(create())])


async def test_store_ping_waits_for_earlier_commits(store: Store) -> None:
    writing = asyncio.ensure_future(store.commit([batch_of(create())]))
    await asyncio.sleep(0)  # it is submitted
    await store.ping()
    assert await store.load_dag(1) is not None
    assert await writing == [None]
