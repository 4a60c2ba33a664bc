"""Rows and batches with minimal content, for tests of stores."""

from __future__ import annotations

from dagengine.engine.registry import Registry
from dagengine.model.changes import Batch, Change, DagCreated, LogAppended
from dagengine.model.operation import Operation, Stage, Submission
from dagengine.model.outcome import Outcome, Succeeded
from dagengine.model.records import LogRecord
from dagengine.model.stage_kinds import StageKind
from dagengine.model.step import StepContext
from dagengine.store.contract import BatchRefused, LastIds, Retention, Store
from dagengine.testing import FakeClock

NOW = FakeClock().now()


async def do_nothing(context: StepContext) -> Outcome:
    return Succeeded()


OPERATION = Operation(
    "op",
    (Stage("one", StageKind.NORMAL, do_nothing), Stage("two", StageKind.PARALLEL, do_nothing)),
    lock_key="k",
    takes_lock="one",
)


def create(dag_id: int = 1) -> DagCreated:
    """Return a DAG with one normal stage and one parallel stage of two lanes."""
    before = LastIds(dag_id - 1, (dag_id - 1) * 2, (dag_id - 1) * 3)
    return Registry([OPERATION]).instantiate(Submission("op", ("a", "b"), {"x": "ü"}), before, NOW)


def batch_of(*changes: Change, dag_id: int = 1, lock_token: int | None = None) -> Batch:
    return Batch(dag_id, lock_token, changes)


def line_of(created: DagCreated, content: str, *, attempt_no: int = 0) -> LogAppended:
    task = created.sub_tasks[0]
    return LogAppended(LogRecord(0, task.sub_task_id, attempt_no, 0, content, NOW))


async def commit_one(store: Store, batch: Batch) -> BatchRefused | None:
    (result,) = await store.commit([batch])
    return result


async def prune(store: Store, retention: Retention) -> int:
    slices = 0
    while await store.prune(retention, NOW):
        slices += 1
    return slices
