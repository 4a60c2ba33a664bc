"""Operators that the flags of a stage exclude."""

from __future__ import annotations

import asyncio

import pytest

from dagengine import Flags, Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.errors import OperatorRefused
from tests.support.engine_script import BROKEN, LANE, NORMAL, OpenEngine
from tests.support.minimal_operations import end_of, submit


async def test_can_cancel_false_refuses_cancel_despite_slower_lane(
    open_engine: OpenEngine,
) -> None:
    release, reached = asyncio.Event(), asyncio.Event()

    async def first(context: StepContext) -> Outcome:
        if context.target == "slow":
            await release.wait()
        return Succeeded()

    async def uncancellable(context: StepContext) -> Outcome:
        reached.set()
        await release.wait()
        return Succeeded()

    stages = (
        Stage("f", LANE, first),
        Stage("r", LANE, uncancellable, flags=Flags(can_cancel=False)),
    )
    async with open_engine(Operation("op", stages)) as engine:
        dag_id = await submit(engine, "op", "slow", "quick")
        await reached.wait()
        with pytest.raises(OperatorRefused, match="stage 'r' cannot be cancelled"):
            await engine.operate_dag(dag_id, Operator.CANCEL)
        release.set()
        assert await end_of(engine, dag_id) == (State.SUCCEED, Operator.RUN)


async def test_can_retry_false_refuses_retry_of_earlier_stage(
    open_engine: OpenEngine,
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
