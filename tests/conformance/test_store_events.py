"""The store's contract: events are numbered in the order of their commits."""

from __future__ import annotations

import asyncio

import pytest

from dagengine.model.changes import Change, DagChanged, DagCreated, NodeChanged, SubTaskChanged
from dagengine.model.events import (
    DagStateChanged,
    EventRecord,
    NodeStateChanged,
    SubTaskStateChanged,
)
from dagengine.model.records import LogRecord
from dagengine.model.states import State
from dagengine.store.contract import Retention, Store
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of, prune


def first_stage_changes(created: DagCreated) -> tuple[Change, ...]:
    """Return the changes that begin the first stage, with the first attempt of its sub-task."""
    dag, node, task = created.dag, created.nodes[0], created.sub_tasks[0]
    running = State.RUNNING
    return (
        DagChanged(dag, dag._replace(state=running)),
        NodeChanged(node, node._replace(state=running)),
        SubTaskChanged(task, task._replace(state=running, attempt_no=1, execute_times=1)),
    )


async def test_store_events_are_numbered_in_order_of_commits(store: Store) -> None:
    created, other = create(), create(2)
    await commit_one(store, batch_of(created, *first_stage_changes(created)))
    await commit_one(store, batch_of(other, dag_id=2))
    await commit_one(store, batch_of(line_of(created, "first", attempt_no=1)))
    await commit_one(store, batch_of(line_of(other, "not ours"), dag_id=2))
    await commit_one(store, batch_of(line_of(created, "second", attempt_no=1)))
    events = await store.list_events(1, after=0, limit=100)
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
    assert [type(event.payload) for event in events] == [
        *(DagStateChanged, DagStateChanged, NodeStateChanged, SubTaskStateChanged),
        *(LogRecord, LogRecord),
    ]
    task = events[3].payload
    assert isinstance(task, SubTaskStateChanged)
    assert (task.sub_task_id, task.state, task.attempt_no, task.execute_times) == (
        *(created.sub_tasks[0].sub_task_id, State.RUNNING),
        *(1, 1),
    )
    assert task.at == NOW
    assert await store.last_event(1) == 6
    assert await store.last_event(2) == 2


async def test_store_events_end_of_dag_is_last_of_commit(store: Store) -> None:
    created = create()
    dag, node = created.dag, created.nodes[0]
    ended = dag._replace(state=State.SUCCEED)
    changes = (DagChanged(dag, ended), NodeChanged(node, node._replace(state=State.RUNNING)))
    await commit_one(store, batch_of(created, *changes))
    *_, last = await store.list_events(1, after=0, limit=100)
    assert isinstance(last.payload, DagStateChanged)
    assert last.payload.state is State.SUCCEED


async def test_store_events_invisible_change_adds_no_event(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    await commit_one(store, batch_of(DagChanged(created.dag, created.dag._replace(lock_token=1))))
    assert await store.last_event(1) == 1


async def test_store_events_rejected_batch_leaves_no_gap(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    good, stale = line_of(created, "good"), line_of(created, "stale", attempt_no=7)
    node = created.nodes[0]
    results = await asyncio.gather(
        commit_one(store, batch_of(good)),
        commit_one(store, batch_of(stale)),
        commit_one(store, batch_of(good)),
        commit_one(store, batch_of(NodeChanged(node, node._replace(state=State.RUNNING)))),
    )
    assert [result is None for result in results] == [True, False, True, True]
    assert [event.seq for event in await store.list_events(1, after=0, limit=9)] == [1, 2, 3, 4]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_store_events_can_be_read_in_pages(store: Store, limit: int) -> None:
    created = create()
    await commit_one(store, batch_of(created, *first_stage_changes(created)))
    for number in range(5):
        await commit_one(store, batch_of(line_of(created, f"line {number}", attempt_no=1)))
    all_events = await store.list_events(1, after=0, limit=100)
    events_read: list[EventRecord] = []
    while page := await store.list_events(1, after=len(events_read), limit=limit):
        assert len(page) <= limit
        events_read += page
    assert tuple(events_read) == all_events


async def test_store_events_of_pruned_dag_are_deleted(store: Store) -> None:
    created = create()
    ended = created.dag._replace(state=State.SUCCEED)
    await commit_one(store, batch_of(created, *first_stage_changes(created)[1:]))
    await commit_one(store, batch_of(line_of(created, "a line", attempt_no=1)))
    await commit_one(store, batch_of(DagChanged(created.dag, ended)))
    await commit_one(store, batch_of(create(2), dag_id=2))
    await prune(store, Retention(max_count=1))
    assert await store.list_events(1, after=0, limit=9) == ()
    assert len(await store.list_events(2, after=0, limit=9)) == 1
