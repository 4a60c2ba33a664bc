"""An engine that was left goes on where it was: attempts, cancels, rollbacks, force passes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dagengine import Engine, Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.errors import UnknownOperation
from dagengine.testing import Latch, eventually
from tests.integration.engine_world import (
    ALL,
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
    submit,
    task,
)

__all__ = ["open_engine", "script"]  # fixtures


async def test_a_stopped_engine_goes_on_where_it_was_and_that_costs_no_attempt(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    async with open_engine(held(script.operation(), "start", gate)) as engine:
        dag_id = await hold_at(engine, gate)
    async with open_engine(script.operation()) as engine:
        detail = await engine.wait(dag_id)
        assert how(detail) == ("SUCCEED", "RUN", 4)
        found = task(detail, 3, "a").sub_task
        assert (found.attempt_no, found.execute_times) == (2, 1)
        outcomes = [a.outcome for a in await engine.find_attempts(found.sub_task_id)]
        assert outcomes == ["Interrupted", "Succeeded"]
        assert script.ran["check", "a"] == 1


async def test_what_may_not_continue_fails_at_the_restart(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    stage = script.stage("once", NORMAL, flags=replace(ALL, can_continue=False))
    operation = Operation("op", (stage,))
    async with open_engine(held(operation, "once", gate)) as engine:
        dag_id = await hold_at(engine, gate)
    async with open_engine(operation) as engine:
        detail = await engine.wait(dag_id)
        assert "interrupted by a restart" in task(detail, 1, None).logs[-1].content


@pytest.mark.parametrize("case", ["unknown", "newer"])
async def test_a_dag_that_cannot_be_run_here_fails_by_name_and_can_be_passed(
    open_engine: Open, script: Script, case: str
) -> None:
    gate = Latch()
    newer = replace(script.operation(), version=2)
    async with open_engine(held(newer, "check", gate)) as engine:
        dag_id = await hold_at(engine, gate)
    here = (script.operation(),) if case == "newer" else ()
    async with open_engine(*here) as engine:
        detail = await engine.wait(dag_id)
        assert detail.dag.state is State.FAILED
        said = task(detail, 2, "a").logs[-1].content
        assert ("version 2" if case == "newer" else "operation 'op' is not registered") in said
        assert engine.holder("k") is None
        with pytest.raises(UnknownOperation):
            await engine.operate_dag(dag_id, Operator.RETRY)
        assert how(await operate(engine, dag_id, Operator.PASS))[:2] == ("SUCCEED", "PASS")


async def test_a_cancel_that_was_under_way_is_finished_after_the_restart(
    open_engine: Open, script: Script
) -> None:
    gate, settling = Latch(), Latch()

    async def confirm_stopped(context: StepContext) -> bool:
        await settling.wait()
        return True

    stage = replace(script.stage("start", LANE), confirm_stopped=confirm_stopped)
    operation = Operation("op", (script.lock_stage(), stage), lock_key="k")
    async with open_engine(held(operation, "start", gate)) as engine:
        dag_id = await hold_at(engine, gate, "a")
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await settling.reached.wait()
    settling.open()
    async with open_engine(operation) as engine:
        detail = await engine.wait(dag_id)
        assert how(detail) == ("FAILED", "CANCEL", 2)
        assert script.ran["start", "a"] == 0
        assert engine.holder("k") is None


async def test_an_engine_that_is_left_while_a_cancel_ends_a_step_proves_nothing_any_more(
    open_engine: Open,
) -> None:
    """The attempt stays open in the store, and the next start looks what is left of it."""
    working, ending = asyncio.Event(), asyncio.Event()
    settled: list[str] = []
    life = "first"

    async def act(context: StepContext) -> Outcome:
        try:
            working.set()
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.Event().wait()  # until the engine is left
        return Succeeded()

    async def confirm_stopped(context: StepContext) -> bool:
        settled.append(life)
        return True

    operation = Operation("op", (Stage("act", LANE, act, confirm_stopped=confirm_stopped),))
    async with open_engine(operation) as engine:
        dag_id = await submit(engine, "a")
        await working.wait()
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await ending.wait()
    assert settled == []
    life = "second"
    async with open_engine(operation) as engine:
        assert how(await engine.wait(dag_id)) == ("FAILED", "CANCEL", 1)
        outcomes = [a.outcome for a in await engine.find_attempts(1)]
        assert outcomes == ["Interrupted", "Cancelled"]
    assert settled == ["second"]


async def test_a_lane_that_failed_before_a_restart_is_not_waited_for_after_it(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    script.outcomes["check", "a"] = BROKEN
    async with open_engine(held(script.operation(), "start", gate, "b")) as engine:
        dag_id = await hold_at(engine, gate)
        await eventually(lambda: _has_failed(engine, dag_id, "a"), what="the end of lane a")
    async with open_engine(script.operation()) as engine:
        detail = await engine.wait(dag_id)
        assert how(detail) == ("FAILED", "RUN", 2)
        assert states(detail)[1:] == ["FAILED+RUN", "SUCCEED+RUN", "SUCCEED+RUN"]
        assert script.ran["start", "a"] == 0


async def _has_failed(engine: Engine, dag_id: int, target: str) -> bool:
    detail = await engine.find_dag(dag_id)
    return detail is not None and task(detail, 2, target).sub_task.state is State.FAILED


async def test_a_force_pass_that_was_under_way_is_finished_after_the_restart(
    open_engine: Open, script: Script
) -> None:
    gate, settling = Latch(), Latch()

    async def confirm_stopped(context: StepContext) -> bool:
        await settling.wait()
        return True

    stage = replace(script.stage("start", LANE), confirm_stopped=confirm_stopped)
    operation = Operation("op", (script.lock_stage(), stage), lock_key="k")
    async with open_engine(held(operation, "start", gate, "stuck")) as engine:
        holder = await hold_at(engine, gate, "stuck")
        lock_successor_id = await submit(engine, "b", force_pass=[engine.generic_id(holder)])
        await settling.reached.wait()
    settling.open()
    async with open_engine(operation) as engine:
        assert how(await engine.wait(lock_successor_id)) == ("SUCCEED", "RUN", 2)
        ended = await engine.wait(holder)
        assert how(ended)[:2] == ("SUCCEED", "PASS")
        assert script.ran["start", "b"] == 1


async def test_a_rollback_goes_on_after_a_restart(open_engine: Open, script: Script) -> None:
    script.outcomes["start", "a"] = BROKEN
    gate = Latch()
    inner = script.stage("check", LANE)

    async def undo(context: StepContext) -> Outcome:
        await gate.wait()
        assert inner.undo is not None
        return await inner.undo(context)

    operation = script.operation()
    stages = (operation.stages[0], replace(inner, undo=undo), *operation.stages[2:])
    operation = replace(operation, stages=stages)
    async with open_engine(operation) as engine:
        dag_id = (await run(engine)).dag.dag_id
        await engine.operate_dag(dag_id, Operator.ROLLBACK)
        await gate.reached.wait()
    gate.open()
    async with open_engine(operation) as engine:
        assert how(await engine.wait(dag_id)) == ("SUCCEED", "ROLLBACK", 1)
        assert script.undone["check", "a"] == script.undone["start", "b"] == 1
