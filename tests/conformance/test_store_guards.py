"""The store's contract: each guard refuses alone, and a refusal tells no value of the change."""

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
from dagengine.store.contract import DagRows
from dagengine.store.sqlite.store import SqliteStore
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of

SECRET = "hunter2"
MADE = create()
DAG, NODE, TASK = MADE.dag, MADE.nodes[0], MADE.sub_tasks[0]
LOCK = LockRecord("k", 1, 1, SECRET, NOW)
LOCKED_DAG = DAG._replace(state=State.RUNNING, lock_token=1, held=1)
RUNNING_NODE = NODE._replace(state=State.RUNNING)
RUNNING_TASK = TASK._replace(state=State.RUNNING, attempt_no=1, data={"password": SECRET})
ENDED = AttemptRecord(TASK.sub_task_id, 1, "Failed", SECRET, NOW, NOW)
MARK = UnconfirmedRecord("a", 1, "one", NOW)
KEY = IdempotencyKey(SECRET, SECRET)

STORED: Sequence[Change] = (
    *(MADE, IdempotencyKeyUsed(KEY, 1), LockTaken(LOCK), DagChanged(DAG, LOCKED_DAG)),
    *(NodeChanged(NODE, RUNNING_NODE), SubTaskChanged(TASK, RUNNING_TASK)),
    *(AttemptClosed(ENDED), TargetUnconfirmed(MARK)),
)


@dataclass(frozen=True)
class ProcessReaper:
    """A change that differs from what is stored in one column that guards it."""

    stale: Change
    row: str


def dag_moved(**differs: object) -> ProcessReaper:
    before = LOCKED_DAG._replace(params={"password": SECRET})._replace(**differs)  # type: ignore[arg-type]
    return ProcessReaper(DagChanged(before, before._replace(stage=2)), f"DAG {before.dag_id}")


def node_moved(**differs: object) -> ProcessReaper:
    before = RUNNING_NODE._replace(**differs)  # type: ignore[arg-type]
    return ProcessReaper(NodeChanged(before, before._replace(state=State.FAILED)), "node 1")


def task_moved(**differs: object) -> ProcessReaper:
    before = RUNNING_TASK._replace(**differs)  # type: ignore[arg-type]
    after = before._replace(state=State.FAILED, summary=SECRET)
    return ProcessReaper(SubTaskChanged(before, after), "sub-task 1")


def lock_moved(**differs: object) -> ProcessReaper:
    asked = {"key": "k", "dag_id": 1, "token": 1, "at": NOW} | differs
    return ProcessReaper(LockReleased(**asked), f"lock {asked['key']}")  # type: ignore[arg-type]


def mark_moved(**differs: object) -> ProcessReaper:
    looked_at = {"target": "a", "dag_id": 1, "stage": "one", "since_at": NOW} | differs
    mark = UnconfirmedRecord(**looked_at)  # type: ignore[arg-type]
    return ProcessReaper(TargetConfirmed(mark), f"the marker of {mark.target}")


GUARDS = {
    "state of a DAG": dag_moved(state=State.READY),
    "operator of a DAG": dag_moved(operator=Operator.CANCEL),
    "lock_token of a DAG: it has none yet": dag_moved(lock_token=0),
    "lock_token of a DAG: another one": dag_moved(lock_token=2),
    "id of a DAG": dag_moved(dag_id=2),
    "state of a node": node_moved(state=State.PENDING),
    "operator of a node": node_moved(operator=Operator.RETRY),
    "state of a sub-task": task_moved(state=State.PENDING),
    "attempt of a sub-task: an earlier one": task_moved(attempt_no=0),
    "attempt of a sub-task: a later one": task_moved(attempt_no=2),
    "an attempt that has ended": ProcessReaper(AttemptClosed(ENDED), "attempt 1 of sub-task 1"),
    "attempt of a line: an earlier one": ProcessReaper(
        line_of(MADE, SECRET, attempt_no=0), "sub-task 1"
    ),
    "attempt of a line: a later one": ProcessReaper(
        line_of(MADE, SECRET, attempt_no=2), "sub-task 1"
    ),
    "a lock that is held": ProcessReaper(LockTaken(LockRecord("k", 1, 2, SECRET, NOW)), "lock k"),
    "owner of a lock": lock_moved(dag_id=2),
    "token of a lock: an earlier one": lock_moved(token=0),
    "token of a lock: a later one": lock_moved(token=2),
    "key of a lock": lock_moved(key="other"),
    "target of a mark": mark_moved(target="b"),
    "DAG of a mark": mark_moved(dag_id=2),
    "stage of a mark": mark_moved(stage="two"),
    "time of a mark": mark_moved(since_at=NOW + timedelta(microseconds=1)),
    "a key that is used": ProcessReaper(IdempotencyKeyUsed(KEY, 1), "an idempotency key"),
}


@pytest.mark.parametrize("what", GUARDS)
async def test_one_column_that_moved_on_is_enough_and_the_refusal_tells_no_value(
    store: SqliteStore, what: str
) -> None:
    guard = GUARDS[what]
    assert await commit_one(store, batch_of(*STORED)) is None
    refused = await commit_one(store, batch_of(guard.stale))
    assert isinstance(refused, StaleWrite)
    kind = type(guard.stale).__name__
    assert str(refused) == f"the {kind} of DAG 1 was not written: {guard.row} has changed"
    rows = await store.load_dag(1)
    assert rows == DagRows(
        LOCKED_DAG, (RUNNING_NODE, *MADE.nodes[1:]), (RUNNING_TASK, *MADE.sub_tasks[1:])
    )
    assert await store.load_locks() == (LOCK,)
    assert await store.load_unconfirmed() == (MARK,)
    assert await store.find_logs(TASK.sub_task_id) == ()
    assert SECRET not in str(refused)


async def test_what_has_not_moved_on_is_changed(store: SqliteStore) -> None:
    """With the same makers: it is the one column that made them stale."""
    assert await commit_one(store, batch_of(*STORED)) is None
    moves = (dag_moved(), node_moved(), task_moved(), lock_moved(), mark_moved())
    line = line_of(MADE, "x", attempt_no=1)
    assert await commit_one(store, batch_of(line, *(move.stale for move in moves))) is None


async def test_a_lock_that_is_free_goes_to_the_next_token_alone(store: SqliteStore) -> None:
    await commit_one(store, batch_of(*STORED, LockReleased("k", 1, 1, NOW)))
    for token in (1, 3):
        taking = LockTaken(LockRecord("k", 1, token, "", NOW))
        assert isinstance(await commit_one(store, batch_of(taking)), StaleWrite)
    assert await commit_one(store, batch_of(LockTaken(LockRecord("k", 1, 2, "", NOW)))) is None


@pytest.mark.parametrize("lock_token", [0, 2])
async def test_a_batch_decided_with_another_lock_is_stale(
    store: SqliteStore, lock_token: int
) -> None:
    await commit_one(store, batch_of(*STORED))
    line = line_of(MADE, SECRET, attempt_no=1)
    refused = await commit_one(store, batch_of(line, lock_token=lock_token))
    assert isinstance(refused, StaleWrite)
    assert str(refused) == f"DAG 1 no longer has lock token {lock_token}"
    assert await commit_one(store, batch_of(line, lock_token=1)) is None
