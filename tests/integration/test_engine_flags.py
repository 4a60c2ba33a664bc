"""What may not be done to a stage."""

from __future__ import annotations

import asyncio

import pytest

from dagengine import Flags, Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.errors import OperatorRefused
from tests.integration.engine_world import BROKEN, LANE, NORMAL, Open, open_engine
from tests.integration.small_operations import end_of, submit

__all__ = ["open_engine"]  # a fixture

HALF = "\ud800"  # half a surrogate pair: no text that can be encoded


async def test_a_lane_stage_that_cannot_be_cancelled_is_not_though_another_lane_is_behind(
    open_engine: Open,
) -> None:
    go, there = asyncio.Event(), asyncio.Event()

    async def first(context: StepContext) -> Outcome:
        if context.target == "slow":
            await go.wait()
        return Succeeded()

    async def rigid(context: StepContext) -> Outcome:
        there.set()
        await go.wait()
        return Succeeded()

    stages = (Stage("f", LANE, first), Stage("r", LANE, rigid, flags=Flags(can_cancel=False)))
    async with open_engine(Operation("op", stages)) as engine:
        dag_id = await submit(engine, "op", "slow", "quick")
        await there.wait()
        with pytest.raises(OperatorRefused, match="stage 'r' cannot be cancelled"):
            await engine.operate_dag(dag_id, Operator.CANCEL)
        go.set()
        assert await end_of(engine, dag_id) == (State.SUCCEED, Operator.RUN)


async def test_a_stage_that_cannot_be_retried_does_not_run_again_for_another_ones_sake(
    open_engine: Open,
) -> None:
    ran: list[str] = []

    async def lane(context: StepContext) -> Outcome:
        return BROKEN if context.target == "bad" else Succeeded()

    async def once(context: StepContext) -> Outcome:
        ran.append("once")
        return Succeeded()

    stages = (Stage("l", LANE, lane), Stage("once", NORMAL, once, flags=Flags(can_retry=False)))
    async with open_engine(Operation("op", stages)) as engine:
        dag_id = await submit(engine, "op", "good", "bad")
        await engine.wait(dag_id)
        with pytest.raises(OperatorRefused, match="'once' cannot be retried"):
            await engine.operate_dag(dag_id, Operator.RETRY)
        assert ran == ["once"]
