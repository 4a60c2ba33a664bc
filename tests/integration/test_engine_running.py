"""A DAG on a real store: submitted, run to its end, seen by a store that refuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from dagengine import Operation, Operator, Outcome, SqliteStore, Stage, StepContext, Submission
from dagengine.errors import StoreUnavailable, TaskNotFound, UnknownOperation
from dagengine.testing import CrashingStore, FakeClock, Latch
from tests.integration.engine_world import (
    BROKEN,
    LANE,
    NORMAL,
    Open,
    Script,
    held,
    hold_at,
    how,
    open_engine,
    operate,
    run,
    script,
    states,
    task,
)

__all__ = ["open_engine", "script"]  # fixtures


async def test_a_dag_runs_to_its_end_and_everything_is_kept(
    open_engine: Open, script: Script
) -> None:
    async with open_engine(script.operation()) as engine:
        detail = await run(engine)
        assert how(detail) == ("SUCCEED", "RUN", 4)
        assert states(detail) == ["SUCCEED+RUN"] * 4
        assert set(script.ran.values()) == {1}
        assert [line.content for line in task(detail, 3, "b").logs] == ["start ran"]
        assert task(detail, 3, "b").sub_task.data == {"from": "start"}
        assert engine.holder("k") is None
        (audit,) = await engine.list_audit(detail.dag.dag_id)
        assert audit.action == "START"


async def test_a_failed_lane_ends_alone_and_retry_touches_only_it(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        assert how(failed) == ("FAILED", "RUN", 3)
        assert states(failed)[2:] == ["FAILED+RUN", "SUCCEED+RUN"]
        assert task(failed, 3, "a").logs[-1].content == (
            "ERROR: [Test.Broken]: it is broken; mend it"
        )
        assert engine.holder("k") is None
        script.outcomes.clear()
        mended = await operate(engine, failed.dag.dag_id, Operator.RETRY)
        assert how(mended) == ("SUCCEED", "RUN", 4)
        assert script.ran["start", "a"] == 2
        assert script.ran["check", "a"] == 2
        assert script.ran["start", "b"] == script.ran["check", "b"] == 1
        assert script.ran["verify", None] == 2
        attempts = await engine.find_attempts(task(mended, 3, "a").sub_task.sub_task_id)
        assert [(a.attempt_no, a.outcome) for a in attempts] == [(1, "Failed"), (2, "Succeeded")]
        assert [a.action for a in await engine.list_audit(1)] == ["RETRY", "START"]


async def test_a_step_that_raises_is_a_failed_step(open_engine: Open, script: Script) -> None:
    async def crash(context: StepContext) -> Outcome:
        raise ValueError("surprise")

    operation = Operation("op", (Stage("crash", NORMAL, crash),))
    async with open_engine(operation) as engine:
        detail = await run(engine)
        assert "stopped on ValueError: surprise" in task(detail, 1, None).logs[-1].content


async def test_the_same_submission_within_the_window_is_the_same_dag(
    open_engine: Open, script: Script
) -> None:
    gate, clock = Latch(), FakeClock()
    async with open_engine(held(script.operation(), "check", gate), clock=clock) as engine:
        wish = Submission("op", ("a",))
        first = await engine.submit(wish, dedupe_window_s=1)
        twin = await engine.submit(wish, dedupe_window_s=1)
        assert twin.dag.dag_id == first.dag.dag_id
        other = await engine.submit(Submission("op", ("b",)), dedupe_window_s=1)
        assert other.dag.dag_id != first.dag.dag_id
        clock.advance(1.5)
        later = await engine.submit(wish, dedupe_window_s=1)
        assert later.dag.dag_id not in (first.dag.dag_id, other.dag.dag_id)
        gate.open()
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
async def test_a_submission_that_differs_in_anything_is_another_dag(
    open_engine: Open, script: Script, other: Submission, is_written: bool
) -> None:
    gate = Latch()
    here = held(Operation("op", (script.stage("check", LANE),)), "check", gate)
    async with open_engine(here, replace(here, name="other")) as engine:
        wish = Submission("op", ("a",), {"wish": 1})
        first = asyncio.ensure_future(engine.submit(wish, dedupe_window_s=60))
        if is_written:
            await first
        second = asyncio.ensure_future(engine.submit(other, dedupe_window_s=60))
        again = asyncio.ensure_future(engine.submit(wish, dedupe_window_s=60))
        ids = [(await each).dag.dag_id for each in (first, second, again)]
        assert ids[0] == ids[2] != ids[1]
        found = await engine.find_dag(ids[1], details=False)
        assert found is not None
        assert (found.dag.name, found.dag.targets) == (other.operation, other.targets)
        assert dict(found.dag.params) == dict(other.params)
        gate.open()
        for dag_id in ids:
            await engine.wait(dag_id)


async def test_an_unknown_operation_is_refused_by_name(open_engine: Open, script: Script) -> None:
    async with open_engine(script.operation()) as engine:
        with pytest.raises(UnknownOperation, match=r"operation 'nope' is not registered.*: op"):
            await engine.submit(Submission("nope"))
        with pytest.raises(TaskNotFound):
            await engine.operate_dag(99, Operator.CANCEL)


async def test_a_store_that_refuses_holds_everything_up_and_loses_nothing(
    open_engine: Open, script: Script, tmp_path: Path
) -> None:
    store = CrashingStore(str(tmp_path / "store.sqlite"), refuse=range(2, 5))
    async with open_engine(script.operation(), store=store) as engine:
        detail = await run(engine)
        assert how(detail) == ("SUCCEED", "RUN", 4)
        assert set(script.ran.values()) == {1}


async def test_a_submission_that_cannot_be_written_is_refused_and_nothing_is_left(
    open_engine: Open, script: Script, tmp_path: Path
) -> None:
    store = CrashingStore(str(tmp_path / "store.sqlite"), refuse=[1])
    async with open_engine(script.operation(), store=store) as engine:
        with pytest.raises(StoreUnavailable):
            await engine.submit(Submission("op", ("a",)))
        assert await engine.list_dags(limit=9, details=False) == ()
        assert how(await run(engine)) == ("SUCCEED", "RUN", 4)


async def test_a_store_that_knows_better_is_believed(
    open_engine: Open, script: Script, tmp_path: Path
) -> None:
    """Somebody changed the DAG behind the engine's back: its decision is dropped."""
    gate = Latch()
    store = SqliteStore(tmp_path / "store.sqlite")
    async with open_engine(held(script.operation(), "check", gate), store=store) as engine:
        dag_id = await hold_at(engine, gate)
        await store._open_writer.call(
            lambda connection: connection.execute(
                "UPDATE dag SET state = 'FAILED', operator = 'CANCEL', lock_token = 0"
            )
        )
        gate.open()
        detail = await engine.wait(dag_id)
        assert how(detail)[:2] == ("FAILED", "CANCEL")
        assert script.ran["start", "a"] == script.ran["start", "b"] == 0
