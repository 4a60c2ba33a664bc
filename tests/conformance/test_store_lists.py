"""The store's contract: lists that grow, counts, and whether the store can be written and asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.model.changes import AuditAppended, DagChanged
from dagengine.model.records import AuditRecord
from dagengine.model.states import State
from dagengine.store.contract import Retention
from dagengine.store.sqlite.store import SqliteStore
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of

STATES = [State.SUCCEED, State.FAILED, State.RUNNING, State.FAILED, State.READY, State.SUCCEED]
NAMES = ["start", "stop"]  # in turn


async def fill(store: SqliteStore) -> None:
    """DAGs 1 to 6, with STATES and NAMES."""
    for dag_id, state in enumerate(STATES, 1):
        created = create(dag_id)
        dag = created.dag._replace(name=NAMES[dag_id % 2], state=state)
        made = batch_of(replace(created, dag=dag), dag_id=dag_id)
        assert await commit_one(store, made) is None


async def search(
    store: SqliteStore,
    *,
    before: int | None = None,
    state: State | None = None,
    name: str | None = None,
    limit: int = 9,
) -> list[int]:
    found = await store.search_dags(before=before, state=state, name=name, limit=limit)
    return [dag.dag_id for dag in found]


# --- DAGs ----------------------------------------------------------------------------------------


async def test_a_search_is_newest_first_and_limited(store: SqliteStore) -> None:
    await fill(store)
    assert await search(store) == [6, 5, 4, 3, 2, 1]
    assert await search(store, limit=2) == [6, 5]


async def test_a_search_goes_on_before_the_last_that_was_read(store: SqliteStore) -> None:
    await fill(store)
    assert await search(store, before=5, limit=2) == [4, 3]
    assert await search(store, before=1) == []
    assert await search(store, before=99, limit=1) == [6]
    pages, before = [], None
    while page := await search(store, before=before, limit=4):
        pages += page
        before = page[-1]
    assert pages == [6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("state", "name", "found"),
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
async def test_a_search_finds_what_is_in_that_state_and_of_that_name(
    store: SqliteStore, state: State | None, name: str | None, found: list[int]
) -> None:
    await fill(store)
    assert await search(store, state=state, name=name) == found
    assert await search(store, state=state, name=name, before=5) == [n for n in found if n < 5]


async def test_what_a_search_finds_is_the_row(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    (found,) = await store.search_dags(before=None, state=None, name="op", limit=1)
    assert found == created.dag


async def test_dags_are_counted_by_their_state(store: SqliteStore) -> None:
    assert not any((await store.count_dags()).values())
    await fill(store)
    counted = {state: count for state, count in (await store.count_dags()).items() if count}
    assert counted == {state: STATES.count(state) for state in STATES}


async def test_a_dag_that_moves_is_counted_and_found_where_it_is_now(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    assert await search(store, state=State.READY) == [1]
    running = created.dag._replace(state=State.RUNNING)
    await commit_one(store, batch_of(DagChanged(created.dag, running)))
    assert await search(store, state=State.READY) == []
    assert await search(store, state=State.RUNNING) == [1]
    counted = await store.count_dags()
    assert (counted.get(State.READY, 0), counted[State.RUNNING]) == (0, 1)


async def test_what_was_pruned_is_neither_counted_nor_found(store: SqliteStore) -> None:
    await fill(store)
    while await store.prune(Retention(max_count=1), NOW + timedelta(days=1)):
        pass
    left = await search(store)
    assert left[0] == 6  # the newest stays, and what is unfinished
    assert {3, 5} <= set(left) < {1, 2, 3, 4, 5, 6}
    assert sum((await store.count_dags()).values()) == len(left)


# --- the audit -----------------------------------------------------------------------------------


async def test_the_audit_is_read_on_before_the_last_that_was_read(store: SqliteStore) -> None:
    rows = [AuditRecord(0, NOW, n, None, "RETRY", "me", "why") for n in (1, 2, 1, 2, 1)]
    await store.commit([batch_of(AuditAppended(row)) for row in rows])

    async def ids(dag_id: int | None, *, before: int | None = None, limit: int = 9) -> list[int]:
        found = await store.list_audit(dag_id, limit=limit, before=before)
        return [row.audit_id for row in found]

    assert await ids(None, before=None) == [5, 4, 3, 2, 1]
    assert await ids(None, before=4, limit=2) == [3, 2]
    assert await ids(None, before=1) == []
    assert await ids(None, before=99, limit=1) == [5]
    assert await ids(1, before=5) == [3, 1]
    assert await ids(1, before=4) == [3, 1]  # that row is of another DAG
    assert await ids(1, before=3, limit=1) == [1]
    assert await ids(2, before=2) == []
    assert await ids(3) == []


# --- whether it can be written and asked ----------------------------------------------------------


async def test_somebody_may_ask_again_and_again_and_no_row_moves(store: SqliteStore) -> None:
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
    assert await store.pin("advertise", "first") == "first"  # in the same table, if it has one


async def test_a_store_that_is_closed_answers_nobody(store: SqliteStore) -> None:
    await store.close()
    for asked in (store.probe(NOW), store.ping(), store.pin("a", "b"), store.count_dags()):
        with pytest.raises(StoreUnavailable):
            await asked
    with pytest.raises(StoreUnavailable):
        await search(store)
    with pytest.raises(StoreUnavailable):
        await store.commit([batch_of(create())])


async def test_a_ping_comes_back_after_what_was_submitted_before(store: SqliteStore) -> None:
    writing = asyncio.ensure_future(store.commit([batch_of(create())]))
    await asyncio.sleep(0)  # it is submitted
    await store.ping()
    assert await store.load_dag(1) is not None
    assert await writing == [None]
