"""The store's contract: each guard rejects a change alone; errors contain no stored value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from dagengine.errors import StaleWrite
from dagengine.model.changes import (
    AttemptClosed,
    Change,
    DagChanged,
    IdempotencyKeyUsed,
    LockReleased,
    LockTaken,
    NodeChanged,
    SubTaskChanged,
    TargetConfirmed,
    TargetUnconfirmed,
)
from dagengine.model.operation import IdempotencyKey
from dagengine.model.records import AttemptRecord, LockRecord, UnconfirmedRecord
from dagengine.model.states import Operator, State
from dagengine.store.contract import DagRows, Store
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of

SECRET = "hunter2"
CREATED = create()
DAG, NODE, TASK = CREATED.dag, CREATED.nodes[0], CREATED.sub_tasks[0]
LOCK = LockRecord("k", 1, 1, SECRET, NOW)
LOCKED_DAG = DAG._replace(state=State.RUNNING, lock_token=1, last_lock_token=1)
RUNNING_NODE = NODE._replace(state=State.RUNNING)
RUNNING_TASK = TASK._replace(state=State.RUNNING, attempt_no=1, data={"password": SECRET})
ENDED = AttemptRecord(TASK.sub_task_id, 1, "Failed", SECRET, NOW, NOW)
UNCONFIRMED = UnconfirmedRecord("a", 1, "one", NOW)
KEY = IdempotencyKey(SECRET, SECRET)

STORED: Sequence[Change] = (
    *(CREATED, IdempotencyKeyUsed(KEY, 1), LockTaken(LOCK), DagChanged(DAG, LOCKED_DAG)),
    *(NodeChanged(NODE, RUNNING_NODE), SubTaskChanged(TASK, RUNNING_TASK)),
    *(AttemptClosed(ENDED), TargetUnconfirmed(UNCONFIRMED)),
)


@dataclass(frozen=True)
class GuardCase:
    """A change that differs from the stored row in one guarded column."""

    stale: Change
    row: str


def stale_dag(**differs: object) -> GuardCase:
    before = LOCKED_DAG._replace(params={"password": SECRET})._replace(**differs)  # type: ignore[arg-type]
    return GuardCase(DagChanged(before, before._replace(stage=2)), f"DAG {before.dag_id}")


def stale_node(**differs: object) -> GuardCase:
    before = RUNNING_NODE._replace(**differs)  # type: ignore[arg-type]
    return GuardCase(NodeChanged(before, before._replace(state=State.FAILED)), "node 1")


def stale_sub_task(**differs: object) -> GuardCase:
    before = RUNNING_TASK._replace(**differs)  # type: ignore[arg-type]
    after = before._replace(state=State.FAILED, summary=SECRET)
    return GuardCase(SubTaskChanged(before, after), "sub-task 1")


def stale_lock(**differs: object) -> GuardCase:
    fields = {"key": "k", "dag_id": 1, "token": 1, "at": NOW} | differs
    return GuardCase(LockReleased(**fields), f"lock {fields['key']}")  # type: ignore[arg-type]


def stale_unconfirmed(**differs: object) -> GuardCase:
    record_fields = {"target": "a", "dag_id": 1, "stage": "one", "since_at": NOW} | differs
    mark = UnconfirmedRecord(**record_fields)  # type: ignore[arg-type]
    return GuardCase(TargetConfirmed(mark), f"the marker of {mark.target}")


GUARDS = {
    "state of a DAG": stale_dag(state=State.READY),
    "operator of a DAG": stale_dag(operator=Operator.CANCEL),
    "lock_token of a DAG: it has none yet": stale_dag(lock_token=0),
    "lock_token of a DAG: another one": stale_dag(lock_token=2),
    "id of a DAG": stale_dag(dag_id=2),
    "state of a node": stale_node(state=State.PENDING),
    "operator of a node": stale_node(operator=Operator.RETRY),
    "state of a sub-task": stale_sub_task(state=State.PENDING),
    "attempt of a sub-task: an earlier one": stale_sub_task(attempt_no=0),
    "attempt of a sub-task: a later one": stale_sub_task(attempt_no=2),
    "an attempt that has ended": GuardCase(AttemptClosed(ENDED), "attempt 1 of sub-task 1"),
    "attempt of a line: an earlier one": GuardCase(
        line_of(CREATED, SECRET, attempt_no=0), "sub-task 1"
    ),
    "attempt of a line: a later one": GuardCase(
        line_of(CREATED, SECRET, attempt_no=2), "sub-task 1"
    ),
    "a lock that is held": GuardCase(LockTaken(LockRecord("k", 1, 2, SECRET, NOW)), "lock k"),
    "owner of a lock": stale_lock(dag_id=2),
    "token of a lock: an earlier one": stale_lock(token=0),
    "token of a lock: a later one": stale_lock(token=2),
    "key of a lock": stale_lock(key="other"),
    "target of a mark": stale_unconfirmed(target="b"),
    "DAG of a mark": stale_unconfirmed(dag_id=2),
    "stage of a mark": stale_unconfirmed(stage="two"),
    "time of a mark": stale_unconfirmed(since_at=NOW + timedelta(microseconds=1)),
    "a key that is used": GuardCase(IdempotencyKeyUsed(KEY, 1), "an idempotency key"),
}


@pytest.mark.parametrize("name", GUARDS)
async def test_store_guard_one_stale_column_rejects_change(store: Store, name: str) -> None:
    guard = GUARDS[name]
    assert await commit_one(store, batch_of(*STORED)) is None
    refused = await commit_one(store, batch_of(guard.stale))
    assert isinstance(refused, StaleWrite)
    kind = type(guard.stale).__name__
    assert str(refused) == f"the {kind} of DAG 1 was not written: {guard.row} has changed"
    rows = await store.load_dag(1)
    assert rows == DagRows(
        LOCKED_DAG, (RUNNING_NODE, *CREATED.nodes[1:]), (RUNNING_TASK, *CREATED.sub_tasks[1:])
    )
    assert await store.load_locks() == (LOCK,)
    assert await store.load_unconfirmed() == (UNCONFIRMED,)
    assert await store.find_logs(TASK.sub_task_id) == ()
    assert SECRET not in str(refused)


async def test_store_guard_current_rows_accept_change(store: Store) -> None:
    """Without a difference the same changes are accepted: each error is due to one column."""
    assert await commit_one(store, batch_of(*STORED)) is None
    guard_cases = (stale_dag(), stale_node(), stale_sub_task(), stale_lock(), stale_unconfirmed())
    line = line_of(CREATED, "x", attempt_no=1)
    assert (
        await commit_one(store, batch_of(line, *(guard_case.stale for guard_case in guard_cases)))
        is None
    )


async def test_store_guard_free_lock_accepts_next_token_only(store: Store) -> None:
    await commit_one(store, batch_of(*STORED, LockReleased("k", 1, 1, NOW)))
    for token in (1, 3):
        taking = LockTaken(LockRecord("k", 1, token, "", NOW))
        assert isinstance(await commit_one(store, batch_of(taking)), StaleWrite)
    assert await commit_one(store, batch_of(LockTaken(LockRecord("k", 1, 2, "", NOW)))) is None


@pytest.mark.parametrize("lock_token", [0, 2])
async def test_store_guard_other_lock_token_rejects_batch(store: Store, lock_token: int) -> None:
    await commit_one(store, batch_of(*STORED))
    line = line_of(CREATED, SECRET, attempt_no=1)
    refused = await commit_one(store, batch_of(line, lock_token=lock_token))
    assert isinstance(refused, StaleWrite)
    assert str(refused) == f"DAG 1 no longer has lock token {lock_token}"
    assert await commit_one(store, batch_of(line, lock_token=1)) is None
