"""A DAG on a real store: submission, execution, and a store that refuses writes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from dagengine import Operation, Operator, Outcome, SqliteStore, Stage, StepContext, Submission
from dagengine.errors import StoreUnavailable, TaskNotFound, UnknownOperation
from dagengine.testing import CrashingStore, FakeClock, Latch
from dagengine.testing.internals import call_writer
from tests.support.engine_script import (
    BROKEN,
    LANE,
    NORMAL,
    OpenEngine,
    Script,
    dag_state,
    operate,
    run,
    states,
    sub_task_of,
    submit_until_latch,
    with_latch,
)


async def test_engine_completed_dag_is_stored_with_all_records(
    open_engine: OpenEngine, script: Script
) -> None:
    async with open_engine(script.operation()) as engine:
        detail = await run(engine)
        assert dag_state(detail) == ("SUCCEED", "RUN", 4)
        assert states(detail) == ["SUCCEED+RUN"] * 4
        assert set(script.ran.values()) == {1}
        assert [line.content for line in sub_task_of(detail, 3, "b").logs] == ["start ran"]
        assert sub_task_of(detail, 3, "b").sub_task.data == {"from": "start"}
        assert engine.holder("k") is None
        (audit,) = await engine.list_audit(detail.dag.dag_id)
        assert audit.action == "START"


async def test_engine_failed_lane_is_retried_alone(open_engine: OpenEngine, script: Script) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        assert dag_state(failed) == ("FAILED", "RUN", 3)
        assert states(failed)[2:] == ["FAILED+RUN", "SUCCEED+RUN"]
        assert sub_task_of(failed, 3, "a").logs[-1].content == (
            "ERROR: [Test.Broken]: it is broken; repair it"
        )
        assert engine.holder("k") is None
        script.outcomes.clear()
        retried = await operate(engine, failed.dag.dag_id, Operator.RETRY)
        assert dag_state(retried) == ("SUCCEED", "RUN", 4)
        assert script.ran["start", "a"] == 2
        assert script.ran["check", "a"] == 2
        assert script.ran["start", "b"] == script.ran["check", "b"] == 1
        assert script.ran["verify", None] == 2
        attempts = await engine.find_attempts(sub_task_of(retried, 3, "a").sub_task.sub_task_id)
        assert [(a.attempt_no, a.outcome) for a in attempts] == [(1, "Failed"), (2, "Succeeded")]
        assert [a.action for a in await engine.list_audit(1)] == ["RETRY", "START"]


async def test_attempt_raising_step_fails(open_engine: OpenEngine, script: Script) -> None:
    async def crash(context: StepContext) -> Outcome:
        raise ValueError("surprise")

    operation = Operation("op", (Stage("crash", NORMAL, crash),))
    async with open_engine(operation) as engine:
        detail = await run(engine)
        assert "stopped on ValueError: surprise" in sub_task_of(detail, 1, None).logs[-1].content


async def test_submit_repeated_within_window_returns_same_dag(
    open_engine: OpenEngine, script: Script
) -> None:
    latch, clock = Latch(), FakeClock()
    async with open_engine(with_latch(script.operation(), "check", latch), clock=clock) as engine:
        submission = Submission("op", ("a",))
        first = await engine.submit(submission, dedupe_window_s=1)
        duplicate = await engine.submit(submission, dedupe_window_s=1)
        assert duplicate.dag.dag_id == first.dag.dag_id
        other = await engine.submit(Submission("op", ("b",)), dedupe_window_s=1)
        assert other.dag.dag_id != first.dag.dag_id
        clock.advance(1.5)
        later = await engine.submit(submission, dedupe_window_s=1)
        assert later.dag.dag_id not in (first.dag.dag_id, other.dag.dag_id)
        latch.open()
        await engine.wait(first.dag.dag_id)


@pytest.mark.parametrize(
    "other",
    [
        Submission("op", ("a",), {"wish": 2}),
        Submission("op", ("a",)),
        Submission("op", ("b",), {"wish": 1}),
        Submission("op", ("a", "b"), {"wish": 1}),
        Submission("other", ("a",), {"wish": 1}),
    ],
)
@pytest.mark.parametrize("is_written", [True, False])
async def test_submit_with_any_difference_creates_new_dag(
    open_engine: OpenEngine, script: Script, other: Submission, is_written: bool
) -> None:
    latch = Latch()
    held_operation = with_latch(Operation("op", (script.stage("check", LANE),)), "check", latch)
    async with open_engine(held_operation, replace(held_operation, name="other")) as engine:
        submission = Submission("op", ("a",), {"wish": 1})
        first = asyncio.ensure_future(engine.submit(submission, dedupe_window_s=60))
        if is_written:
            await first
        second = asyncio.ensure_future(engine.submit(other, dedupe_window_s=60))
        repeated = asyncio.ensure_future(engine.submit(submission, dedupe_window_s=60))
        ids = [(await each).dag.dag_id for each in (first, second, repeated)]
        assert ids[0] == ids[2] != ids[1]
        other_detail = await engine.find_dag(ids[1], details=False)
        assert other_detail is not None
        assert (other_detail.dag.name, other_detail.dag.targets) == (other.operation, other.targets)
        assert dict(other_detail.dag.params) == dict(other.params)
        latch.open()
        for dag_id in ids:
            await engine.wait(dag_id)


async def test_submit_unknown_operation_is_refused(open_engine: OpenEngine, script: Script) -> None:
    async with open_engine(script.operation()) as engine:
        with pytest.raises(UnknownOperation, match=r"operation 'nope' is not registered.*: op"):
            await engine.submit(Submission("nope"))
        with pytest.raises(TaskNotFound):
            await engine.operate_dag(99, Operator.CANCEL)


async def test_engine_unavailable_store_delays_dag_without_loss(
    open_engine: OpenEngine, script: Script, tmp_path: Path
) -> None:
    store = CrashingStore(str(tmp_path / "store.sqlite"), refuse=range(2, 5))
    async with open_engine(script.operation(), store=store) as engine:
        detail = await run(engine)
        assert dag_state(detail) == ("SUCCEED", "RUN", 4)
        assert set(script.ran.values()) == {1}


async def test_submit_unavailable_store_is_refused_and_leaves_no_dag(
    open_engine: OpenEngine, script: Script, tmp_path: Path
) -> None:
    store = CrashingStore(str(tmp_path / "store.sqlite"), refuse=[1])
    async with open_engine(script.operation(), store=store) as engine:
        with pytest.raises(StoreUnavailable):
            await engine.submit(Submission("op", ("a",)))
        assert await engine.list_dags(limit=9, details=False) == ()
        assert dag_state(await run(engine)) == ("SUCCEED", "RUN", 4)


async def test_scheduler_accepts_state_changed_in_store(
    open_engine: OpenEngine, script: Script, tmp_path: Path
) -> None:
    """The DAG was changed in the store only, so the engine discards its decision."""
    latch = Latch()
    store = SqliteStore(tmp_path / "store.sqlite")
    async with open_engine(with_latch(script.operation(), "check", latch), store=store) as engine:
        dag_id = await submit_until_latch(engine, latch)
        await call_writer(
            store,
            lambda connection: connection.execute(
                "UPDATE dag SET state = 'FAILED', operator = 'CANCEL', lock_token = 0"
            ),
        )
        latch.open()
        detail = await engine.wait(dag_id)
        assert dag_state(detail)[:2] == ("FAILED", "CANCEL")
        assert script.ran["start", "a"] == script.ran["start", "b"] == 0
