"""The contract dagengine.store.contract: a batch is stored completely or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import NoneType

import pytest

from dagengine.errors import NotSerializable, StaleWrite
from dagengine.model.changes import (
    AttemptClosed,
    AuditAppended,
    Batch,
    DagChanged,
    DagCreated,
    IdempotencyKeyUsed,
    LockReleased,
    LockTaken,
    NodeChanged,
    SubTaskChanged,
    TargetConfirmed,
    TargetUnconfirmed,
)
from dagengine.model.operation import IdempotencyKey
from dagengine.model.outcome import Json
from dagengine.model.records import AttemptRecord, AuditRecord, LockRecord, UnconfirmedRecord
from dagengine.model.states import State
from dagengine.store.contract import LastIds, Retention, Store
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of, prune

# --- reading what was written --------------------------------------------------------------------


async def test_store_created_dag_is_read_back(store: Store) -> None:
    created = create()
    assert await commit_one(store, batch_of(created)) is None
    rows = await store.load_dag(1)
    assert rows is not None
    assert (rows.dag, rows.nodes, rows.sub_tasks) == (
        created.dag,
        created.nodes,
        created.sub_tasks,
    )
    assert await store.load_unfinished() == (rows,)
    assert await store.last_ids() == LastIds(1, 2, 3)
    detail = await store.find_dag(1, details=True)
    assert detail is not None
    assert detail.nodes is not None
    assert [[s.sub_task for s in node.sub_tasks] for node in detail.nodes] == [
        [created.sub_tasks[0]],
        list(created.sub_tasks[1:]),
    ]


async def test_store_missing_row_is_none_or_empty(store: Store) -> None:
    assert await store.load_dag(7) is None
    assert await store.find_dag(7, details=True) is None
    assert await store.find_node(7, details=True) is None
    assert await store.find_sub_task(7) is None
    assert await store.find_logs(7) == ()
    assert await store.list_dags(limit=5) == ()
    assert await store.last_ids() == LastIds(0, 0, 0)


async def test_store_list_dags_is_newest_first_and_limited(store: Store) -> None:
    await store.commit([batch_of(create(n), dag_id=n) for n in (1, 2, 3)])
    dag = create(2).dag
    ended = dag._replace(state=State.SUCCEED)
    assert await commit_one(store, batch_of(DagChanged(dag, ended), dag_id=2)) is None
    assert [d.dag_id for d in await store.list_dags(limit=2)] == [3, 2]
    assert [d.dag_id for d in await store.list_dags(limit=9, unfinished=True)] == [3, 1]


async def test_store_log_lines_keep_order_of_writing(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    for number in range(20):
        await commit_one(store, batch_of(line_of(created, f"line {number}")))
    lines = await store.find_logs(created.sub_tasks[0].sub_task_id)
    assert [line.content for line in lines] == [f"line {n}" for n in range(20)]


async def test_store_instants_keep_microseconds(store: Store) -> None:
    created = create()
    instant = NOW + timedelta(microseconds=123_457)
    created = replace(created, dag=created.dag._replace(start_at=instant))
    await commit_one(store, batch_of(created))
    rows = await store.load_dag(1)
    assert rows is not None
    assert rows.dag.start_at == instant


async def test_store_running_attempt_is_read_from_sub_task(store: Store) -> None:
    created = create()
    task = created.sub_tasks[0]
    started_task = task._replace(state=State.RUNNING, attempt_no=1, start_at=NOW)
    await commit_one(store, batch_of(created))
    await commit_one(store, batch_of(SubTaskChanged(task, started_task)))
    running = AttemptRecord(task.sub_task_id, 1, None, None, NOW, NOW)
    assert await store.find_attempts(task.sub_task_id) == (running,)
    assert await store.list_dag_attempts(1) == (running,)
    ended = AttemptRecord(task.sub_task_id, 1, "Failed", "why", NOW, NOW)
    failed = SubTaskChanged(started_task, started_task._replace(state=State.FAILED))
    await commit_one(store, batch_of(AttemptClosed(ended), failed))
    assert await store.find_attempts(task.sub_task_id) == (ended,)
    assert await store.list_dag_attempts(1) == (ended,)
    assert await store.list_dag_attempts(2) == ()


async def test_store_find_dag_returns_current_rows(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    written = 0

    async def write() -> None:
        nonlocal written
        for number in range(100):
            await commit_one(store, batch_of(line_of(created, f"line {number}")))
            written = number + 1

    async def count_lines() -> int:
        detail = await store.find_dag(1, details=True)
        assert detail is not None
        assert detail.nodes is not None
        return len(detail.nodes[0].sub_tasks[0].logs)

    writing = asyncio.create_task(write(), name="writing")
    while not writing.done():
        minimum = written
        assert await count_lines() >= minimum
        await asyncio.sleep(0)
    await writing
    assert [await count_lines() for _ in range(3)] == [100, 100, 100]
    await store.prune(Retention(max_age_s=1.0, max_count=1), NOW + timedelta(days=1))
    await store.close()
    await store.open()
    assert await count_lines() == 100


async def test_store_reopen_keeps_rows(store: Store) -> None:
    await commit_one(store, batch_of(create()))
    await store.close()
    await store.close()
    await store.open()
    assert await store.load_dag(1) is not None


# --- data without a DAG, or that outlives it -----------------------------------------------------


async def test_store_reserved_requests_are_kept_until_expiry(store: Store) -> None:
    soon, late = NOW + timedelta(seconds=1), NOW + timedelta(seconds=99)
    await store.reserve([(b"a", soon), (b"b", soon)], delete_before=None)
    # a repeated reservation is allowed
    await store.reserve([(b"b", late), (b"c", late)], delete_before=soon)
    assert sorted(await store.load_reserved()) == [(b"a", soon), (b"b", soon), (b"c", late)]
    await store.close()
    await store.open()
    after = NOW + timedelta(seconds=2)
    await store.reserve([(b"d", late), (b"a", NOW)], delete_before=after)
    assert sorted(await store.load_reserved()) == [(b"a", NOW), (b"c", late), (b"d", late)]


async def test_store_pinned_value_is_never_changed(store: Store) -> None:
    assert await store.pin("advertise", "first") == "first"
    assert await store.pin("advertise", "second") == "first"


async def test_store_target_stays_unconfirmed_until_confirmed(store: Store) -> None:
    await commit_one(store, batch_of(create()))
    first, second = (UnconfirmedRecord("a", 1, stage, NOW) for stage in ("start", "stop"))
    assert await commit_one(store, batch_of(TargetUnconfirmed(first))) is None
    assert await commit_one(store, batch_of(TargetUnconfirmed(second))) is None
    await store.close()
    await store.open()
    assert await store.load_unconfirmed() == (second,)
    assert await commit_one(store, batch_of(TargetConfirmed(second))) is None
    assert isinstance(await commit_one(store, batch_of(TargetConfirmed(second))), StaleWrite)
    assert await store.load_unconfirmed() == ()


@pytest.mark.parametrize(
    "newer",
    [
        UnconfirmedRecord("a", 2, "start", NOW),
        UnconfirmedRecord("a", 1, "stop", NOW),
        UnconfirmedRecord("a", 1, "start", NOW + timedelta(microseconds=1)),
    ],
    ids=["of another DAG", "of another stage", "set later"],
)
async def test_store_newer_unconfirmed_record_stays(store: Store, newer: UnconfirmedRecord) -> None:
    inspected, other = (
        UnconfirmedRecord("a", 1, "start", NOW),
        UnconfirmedRecord("b", 1, "start", NOW),
    )
    unconfirmed_changes = [TargetUnconfirmed(mark) for mark in (inspected, other, newer)]
    assert await commit_one(store, batch_of(*unconfirmed_changes)) is None
    assert isinstance(await commit_one(store, batch_of(TargetConfirmed(inspected))), StaleWrite)
    assert await store.load_unconfirmed() == (newer, other)
    assert await commit_one(store, batch_of(TargetConfirmed(newer))) is None
    assert await store.load_unconfirmed() == (other,)


async def test_store_idempotency_key_creates_one_dag(store: Store) -> None:
    created, key = create(), IdempotencyKey("k", "digest")
    assert await store.find_key("k") is None
    assert await commit_one(store, batch_of(created, IdempotencyKeyUsed(key, 1))) is None
    assert await store.find_key("k") == ("digest", 1)
    second_result = await commit_one(
        store, batch_of(create(2), IdempotencyKeyUsed(key, 2), dag_id=2)
    )
    assert isinstance(second_result, StaleWrite)
    assert await store.load_dag(2) is None
    ended = created.dag._replace(state=State.SUCCEED)
    await commit_one(store, batch_of(DagChanged(created.dag, ended)))
    await commit_one(store, batch_of(create(3), dag_id=3))
    await prune(store, Retention(max_count=1))
    assert await store.find_key("k") is None


# --- guards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dag", "node", "sub-task", "attempt", "line", "fence"])
async def test_store_stale_change_rejects_whole_batch(store: Store, kind: str) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    dag, node, task = created.dag, created.nodes[0], created.sub_tasks[0]
    running = State.RUNNING
    moved_task = task._replace(state=running, attempt_no=1)
    attempt = AttemptRecord(task.sub_task_id, 1, "Succeeded", None, NOW, NOW)
    stale: dict[str, Batch] = {
        "dag": batch_of(DagChanged(dag._replace(state=running), dag)),
        "node": batch_of(NodeChanged(node._replace(state=running), node)),
        "sub-task": batch_of(SubTaskChanged(moved_task, task)),
        "attempt": batch_of(AttemptClosed(attempt), AttemptClosed(attempt)),
        "line": batch_of(line_of(created, "x", attempt_no=3)),
        "fence": batch_of(line_of(created, "x"), lock_token=9),
    }
    good = batch_of(SubTaskChanged(task, moved_task))
    bad = replace(stale[kind], changes=(line_of(created, "of the batch"), *stale[kind].changes))
    results = await store.commit([bad, good])
    assert isinstance(results[0], StaleWrite)
    assert results[1] is None, "another batch was harmed"
    rows = await store.load_dag(1)
    assert rows is not None
    assert rows.dag == dag
    assert await store.find_logs(task.sub_task_id) == ()


async def test_store_lock_has_one_owner_and_growing_token(store: Store) -> None:
    await store.commit([batch_of(create(n), dag_id=n) for n in (1, 2)])
    first = LockRecord("k", 1, 1, "op", NOW)
    assert await commit_one(store, batch_of(LockTaken(first))) is None
    rival = LockRecord("k", 2, 2, "op", NOW)
    assert isinstance(await commit_one(store, batch_of(LockTaken(rival), dag_id=2)), StaleWrite)
    release_by_other = LockReleased("k", 2, 1, NOW)
    assert isinstance(await commit_one(store, batch_of(release_by_other, dag_id=2)), StaleWrite)
    assert await commit_one(store, batch_of(LockReleased("k", 1, 1, NOW))) is None
    same_token = LockRecord("k", 2, 1, "op", NOW)
    taking = batch_of(LockTaken(same_token), dag_id=2)
    assert isinstance(await commit_one(store, taking), StaleWrite)
    assert await commit_one(store, batch_of(LockTaken(rival), dag_id=2)) is None
    assert await store.load_locks() == (rival,)


# --- several callers -----------------------------------------------------------------------------


async def test_store_concurrent_calls_are_written_in_order(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    calls = [store.commit([batch_of(line_of(created, str(n)))]) for n in range(300)]
    results = await asyncio.gather(*calls)
    assert results == [[None]] * 300
    lines = await store.find_logs(created.sub_tasks[0].sub_task_id)
    assert [line.content for line in lines] == [str(n) for n in range(300)]


async def test_store_cancelled_caller_leaves_no_open_transaction(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    calls = [
        asyncio.ensure_future(store.commit([batch_of(line_of(created, str(n)))])) for n in range(9)
    ]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert await commit_one(store, batch_of(line_of(created, "last"))) is None
    lines = await store.find_logs(created.sub_tasks[0].sub_task_id)
    assert lines[-1].content == "last"
    assert {"1", "3", "5", "7"} <= {line.content for line in lines}


# --- values that cannot be stored ----------------------------------------------------------------

NOT_SERIALIZABLE: dict[str, Callable[[DagCreated], Batch]] = {
    "text that is no Unicode": lambda new_dag: batch_of(line_of(new_dag, "secret\udcff")),
    "no JSON": lambda new_dag: batch_of(evidence_of(new_dag, {"x": {"secret"}})),
    "JSON without an end": lambda new_dag: batch_of(evidence_of(new_dag, deep_json())),
    "JSON that holds itself": lambda new_dag: batch_of(evidence_of(new_dag, circular_json())),
    "no text": lambda new_dag: batch_of(AuditAppended(replace(audit_row(), by=None))),  # type: ignore[arg-type]
    "no value of SQL": lambda new_dag: batch_of(AuditAppended(replace(audit_row(), by={}))),  # type: ignore[arg-type]
    "too big a number": lambda new_dag: batch_of(
        AuditAppended(replace(audit_row(), node_id=2**70))
    ),
    "too big a number for the guard": lambda new_dag: batch_of(
        line_of(new_dag, "x"), lock_token=2**70
    ),
    "an id that is taken": batch_of,
}


def evidence_of(new_dag: DagCreated, evidence: Json) -> SubTaskChanged:
    task = new_dag.sub_tasks[0]
    return SubTaskChanged(task, task._replace(evidence=evidence))


def deep_json() -> Json:
    nested: Json = {}
    for _ in range(5000):
        nested = {"x": nested}
    return nested


def circular_json() -> Json:
    nested: Json = {}
    nested["x"] = nested
    return nested


def audit_row() -> AuditRecord:
    return AuditRecord(0, NOW, 1, None, "RETRY", "me", "why")


@pytest.mark.parametrize("kind", NOT_SERIALIZABLE)
async def test_store_not_serializable_batch_does_not_affect_others(store: Store, kind: str) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    bad = NOT_SERIALIZABLE[kind](created)
    bad = replace(bad, changes=(line_of(created, "of the batch"), *bad.changes))
    stale, good = batch_of(line_of(created, "x"), lock_token=9), batch_of(line_of(created, "good"))
    results = await store.commit([good, bad, stale, good])
    assert [type(result) for result in results] == [NoneType, NotSerializable, StaleWrite, NoneType]
    error_text = str(results[1])
    assert "of DAG 1 cannot be stored" in error_text
    assert "secret" not in error_text
    lines = await store.find_logs(created.sub_tasks[0].sub_task_id)
    assert [line.content for line in lines] == ["good", "good"]
    assert await store.last_event(1) == 3


async def test_store_concurrent_callers_get_own_results(store: Store) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    good, bad = batch_of(line_of(created, "good")), batch_of(line_of(created, "\ud800"))
    results = await asyncio.gather(*(store.commit([bad if n % 3 else good]) for n in range(9)))
    kinds = [type(result) for (result,) in results]
    assert kinds == [NotSerializable if n % 3 else NoneType for n in range(9)]
    assert len(await store.find_logs(created.sub_tasks[0].sub_task_id)) == 3


async def test_store_duplicate_dag_is_refused(
    store: Store,
) -> None:
    first, second = await store.commit([batch_of(create()), batch_of(create())])
    assert first is None
    assert isinstance(second, NotSerializable)
    assert "UNIQUE" in str(second)
    assert await commit_one(store, batch_of(line_of(create(), "x"))) is None


async def test_store_not_serializable_reserved_request_is_refused(store: Store) -> None:
    with pytest.raises(NotSerializable, match="RequestReserved"):
        await store.reserve([(None, NOW)], delete_before=None)  # type: ignore[list-item]
    assert await store.load_reserved() == []
