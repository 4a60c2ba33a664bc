"""Steps that cannot be resumed: their operation is not registered, or they cannot continue."""

from __future__ import annotations

import pytest

from dagengine import Flags, Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.testing import Latch
from dagengine.testing.internals import settled
from tests.support.engine_script import LANE, LOCKED, NORMAL, OpenEngine
from tests.support.minimal_operations import end_of, submit, take_lock


@pytest.mark.parametrize("is_older", [True, False])
async def test_engine_unregistered_operation_runs_no_step(
    open_engine: OpenEngine, is_older: bool
) -> None:
    """One lane has succeeded; the stage after the lanes must not begin."""
    latch, ran = Latch(), []

    async def lane(context: StepContext) -> Outcome:
        if context.target == "a":
            await latch.wait()
        return Succeeded()

    async def verify(context: StepContext) -> Outcome:
        ran.append("verify")
        return Succeeded()

    stages = (Stage("lock", NORMAL, take_lock), Stage("l", LANE, lane), Stage("v", NORMAL, verify))
    async with open_engine(Operation("op", stages, version=2, **LOCKED)) as engine:
        dag_id = await submit(engine, "op", "a", "b")
        await latch.reached.wait()
        await settled(engine)
    operations = [Operation("op", stages, version=1, **LOCKED)] if is_older else []
    async with open_engine(*operations) as engine:
        assert (await end_of(engine, dag_id))[0] is State.FAILED
        assert ran == []
        assert engine.holder("k") is None
        attempts = [await engine.find_attempts(task_id) for task_id in (2, 3, 4)]
        assert [rows[-1].outcome for rows in attempts] == ["ResultUnknown", "Succeeded", "Failed"]


async def test_can_continue_false_restart_leaves_target_unconfirmed(
    open_engine: OpenEngine,
) -> None:
    latch, unconfirmed_records = Latch(), []

    async def act(context: StepContext) -> Outcome:
        unconfirmed_records.append(context.unconfirmed)
        await latch.wait()
        return Succeeded()

    operation = Operation("op", (Stage("act", LANE, act, flags=Flags(can_continue=False)),))
    async with open_engine(operation) as engine:
        await submit(engine, "op", "x")
        await latch.reached.wait()
    latch.open()
    async with open_engine(operation) as engine:
        assert (await end_of(engine, 1))[0] is State.FAILED
        assert [a.outcome for a in await engine.find_attempts(1)] == ["ResultUnknown"]
        await engine.operate_dag(1, Operator.RETRY)
        assert (await end_of(engine, 1))[0] is State.SUCCEED
    assert unconfirmed_records[0] is None
    assert unconfirmed_records[1] is not None
    assert unconfirmed_records[1].target == "x"
