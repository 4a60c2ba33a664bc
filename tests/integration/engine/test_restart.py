"""A restarted engine resumes attempts, cancels, rollbacks and force passes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dagengine import Engine, Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.errors import UnknownOperation
from dagengine.testing import Latch, eventually
from tests.support.engine_script import (
    ALL,
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
    submit,
    submit_until_latch,
    with_latch,
)


async def test_engine_restart_resumes_dag_with_same_execute_times(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()
    async with open_engine(with_latch(script.operation(), "start", latch)) as engine:
        dag_id = await submit_until_latch(engine, latch)
    async with open_engine(script.operation()) as engine:
        detail = await engine.wait(dag_id)
        assert dag_state(detail) == ("SUCCEED", "RUN", 4)
        sub_task_record = sub_task_of(detail, 3, "a").sub_task
        assert (sub_task_record.attempt_no, sub_task_record.execute_times) == (2, 1)
        outcomes = [a.outcome for a in await engine.find_attempts(sub_task_record.sub_task_id)]
        assert outcomes == ["Interrupted", "Succeeded"]
        assert script.ran["check", "a"] == 1


async def test_can_continue_false_fails_at_restart(open_engine: OpenEngine, script: Script) -> None:
    latch = Latch()
    stage = script.stage("once", NORMAL, flags=replace(ALL, can_continue=False))
    operation = Operation("op", (stage,))
    async with open_engine(with_latch(operation, "once", latch)) as engine:
        dag_id = await submit_until_latch(engine, latch)
    async with open_engine(operation) as engine:
        detail = await engine.wait(dag_id)
        assert "interrupted by a restart" in sub_task_of(detail, 1, None).logs[-1].content


@pytest.mark.parametrize("case", ["unknown", "newer"])
async def test_engine_restart_unknown_operation_fails_dag(
    open_engine: OpenEngine, script: Script, case: str
) -> None:
    latch = Latch()
    newer = replace(script.operation(), version=2)
    async with open_engine(with_latch(newer, "check", latch)) as engine:
        dag_id = await submit_until_latch(engine, latch)
    operations = (script.operation(),) if case == "newer" else ()
    async with open_engine(*operations) as engine:
        detail = await engine.wait(dag_id)
        assert detail.dag.state is State.FAILED
        last_line = sub_task_of(detail, 2, "a").logs[-1].content
        assert ("version 2" if case == "newer" else "operation 'op' is not registered") in last_line
        assert engine.holder("k") is None
        with pytest.raises(UnknownOperation):
            await engine.operate_dag(dag_id, Operator.RETRY)
        assert dag_state(await operate(engine, dag_id, Operator.PASS))[:2] == ("SUCCEED", "PASS")


async def test_cancel_in_progress_completes_after_restart(
    open_engine: OpenEngine, script: Script
) -> None:
    latch, confirm_latch = Latch(), Latch()

    async def confirm_stopped(context: StepContext) -> bool:
        await confirm_latch.wait()
        return True

    stage = replace(script.stage("start", LANE), confirm_stopped=confirm_stopped)
    operation = Operation("op", (script.lock_stage(), stage), lock_key="k", takes_lock="lock")
    async with open_engine(with_latch(operation, "start", latch)) as engine:
        dag_id = await submit_until_latch(engine, latch, "a")
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await confirm_latch.reached.wait()
    confirm_latch.open()
    async with open_engine(operation) as engine:
        detail = await engine.wait(dag_id)
        assert dag_state(detail) == ("FAILED", "CANCEL", 2)
        assert script.ran["start", "a"] == 0
        assert engine.holder("k") is None


async def test_confirm_stopped_is_not_called_by_stopping_engine(
    open_engine: OpenEngine,
) -> None:
    """The attempt stays open in the store, and the next start checks its remains."""
    working, ending = asyncio.Event(), asyncio.Event()
    confirmed_by: list[str] = []
    phase = "first"

    async def act(context: StepContext) -> Outcome:
        try:
            working.set()
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.Event().wait()  # until the engine stops
        return Succeeded()

    async def confirm_stopped(context: StepContext) -> bool:
        confirmed_by.append(phase)
        return True

    operation = Operation("op", (Stage("act", LANE, act, confirm_stopped=confirm_stopped),))
    async with open_engine(operation) as engine:
        dag_id = await submit(engine, "a")
        await working.wait()
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await ending.wait()
    assert confirmed_by == []
    phase = "second"
    async with open_engine(operation) as engine:
        assert dag_state(await engine.wait(dag_id)) == ("FAILED", "CANCEL", 1)
        outcomes = [a.outcome for a in await engine.find_attempts(1)]
        assert outcomes == ["Interrupted", "Cancelled"]
    assert confirmed_by == ["second"]


async def test_engine_restart_does_not_wait_for_failed_lane(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()
    script.outcomes["check", "a"] = BROKEN
    async with open_engine(with_latch(script.operation(), "start", latch, "b")) as engine:
        dag_id = await submit_until_latch(engine, latch)
        await eventually(lambda: _has_failed(engine, dag_id, "a"), what="the end of lane a")
    async with open_engine(script.operation()) as engine:
        detail = await engine.wait(dag_id)
        assert dag_state(detail) == ("FAILED", "RUN", 2)
        assert states(detail)[1:] == ["FAILED+RUN", "SUCCEED+RUN", "SUCCEED+RUN"]
        assert script.ran["start", "a"] == 0


async def _has_failed(engine: Engine, dag_id: int, target: str) -> bool:
    detail = await engine.find_dag(dag_id)
    return detail is not None and sub_task_of(detail, 2, target).sub_task.state is State.FAILED


async def test_force_pass_in_progress_completes_after_restart(
    open_engine: OpenEngine, script: Script
) -> None:
    latch, confirm_latch = Latch(), Latch()

    async def confirm_stopped(context: StepContext) -> bool:
        await confirm_latch.wait()
        return True

    stage = replace(script.stage("start", LANE), confirm_stopped=confirm_stopped)
    operation = Operation("op", (script.lock_stage(), stage), lock_key="k", takes_lock="lock")
    async with open_engine(with_latch(operation, "start", latch, "stuck")) as engine:
        holder = await submit_until_latch(engine, latch, "stuck")
        lock_successor_id = await submit(engine, "b", force_pass=[engine.generic_id(holder)])
        await confirm_latch.reached.wait()
    confirm_latch.open()
    async with open_engine(operation) as engine:
        assert dag_state(await engine.wait(lock_successor_id)) == ("SUCCEED", "RUN", 2)
        ended = await engine.wait(holder)
        assert dag_state(ended)[:2] == ("SUCCEED", "PASS")
        assert script.ran["start", "b"] == 1


async def test_rollback_in_progress_completes_after_restart(
    open_engine: OpenEngine, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    latch = Latch()
    inner = script.stage("check", LANE)

    async def undo(context: StepContext) -> Outcome:
        await latch.wait()
        assert inner.undo is not None
        return await inner.undo(context)

    operation = script.operation()
    stages = (operation.stages[0], replace(inner, undo=undo), *operation.stages[2:])
    operation = replace(operation, stages=stages)
    async with open_engine(operation) as engine:
        dag_id = (await run(engine)).dag.dag_id
        await engine.operate_dag(dag_id, Operator.ROLLBACK)
        await latch.reached.wait()
    latch.open()
    async with open_engine(operation) as engine:
        assert dag_state(await engine.wait(dag_id)) == ("SUCCEED", "ROLLBACK", 1)
        assert script.undone["check", "a"] == script.undone["start", "b"] == 1
