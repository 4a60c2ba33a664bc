"""Steps that nobody can run on: their operation is gone, or they cannot continue."""

from __future__ import annotations

import asyncio

import pytest

from dagengine import Flags, Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.testing import Latch
from tests.integration.engine_world import LANE, NORMAL, Open, open_engine
from tests.integration.small_operations import end_of, submit, take_lock

__all__ = ["open_engine"]  # a fixture

HALF = "\ud800"  # half a surrogate pair: no text that can be encoded


@pytest.mark.parametrize("is_older", [True, False])
async def test_no_step_of_an_operation_is_run_that_this_engine_does_not_have(
    open_engine: Open, is_older: bool
) -> None:
    """One lane has succeeded: what comes after the lanes must not begin."""
    gate, ran = Latch(), []

    async def lane(context: StepContext) -> Outcome:
        if context.target == "a":
            await gate.wait()
        return Succeeded()

    async def verify(context: StepContext) -> Outcome:
        ran.append("verify")
        return Succeeded()

    stages = (Stage("lock", NORMAL, take_lock), Stage("l", LANE, lane), Stage("v", NORMAL, verify))
    async with open_engine(Operation("op", stages, version=2, lock_key="k")) as engine:
        dag_id = await submit(engine, "op", "a", "b")
        await gate.reached.wait()
        await asyncio.sleep(0.05)
    known = [Operation("op", stages, version=1, lock_key="k")] if is_older else []
    async with open_engine(*known) as engine:
        assert (await end_of(engine, dag_id))[0] is State.FAILED
        assert ran == []
        assert engine.holder("k") is None
        attempts = [await engine.find_attempts(task_id) for task_id in (2, 3, 4)]
        assert [found[-1].outcome for found in attempts] == ["ResultUnknown", "Succeeded", "Failed"]


async def test_an_interrupted_step_that_cannot_continue_leaves_its_target_unproven(
    open_engine: Open,
) -> None:
    gate, marks = Latch(), []

    async def act(context: StepContext) -> Outcome:
        marks.append(context.unconfirmed)
        await gate.wait()
        return Succeeded()

    operation = Operation("op", (Stage("act", LANE, act, flags=Flags(can_continue=False)),))
    async with open_engine(operation) as engine:
        await submit(engine, "op", "x")
        await gate.reached.wait()
    gate.open()
    async with open_engine(operation) as engine:
        assert (await end_of(engine, 1))[0] is State.FAILED
        assert [a.outcome for a in await engine.find_attempts(1)] == ["ResultUnknown"]
        await engine.operate_dag(1, Operator.RETRY)
        assert (await end_of(engine, 1))[0] is State.SUCCEED
    assert marks[0] is None
    assert marks[1] is not None
    assert marks[1].target == "x"
