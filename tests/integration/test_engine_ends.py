"""The end of an attempt in its odd cases: late, while it is proven, and by a proof that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from dagengine import Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.errors import DagengineError
from dagengine.testing import FakeClock, Latch
from tests.integration.engine_world import BROKEN, LANE, NORMAL, Open, open_engine, run, task
from tests.integration.small_operations import end_of, hang, op, submit

__all__ = ["open_engine"]  # a fixture


async def test_a_cancel_while_the_end_of_a_late_step_is_proven_leaves_the_proof_alone(
    open_engine: Open,
) -> None:
    proof = Latch()

    async def confirm_stopped(context: StepContext) -> bool:
        await proof.wait()
        return True

    stage = Stage("hang", LANE, hang, timeout_s=0.05, confirm_stopped=confirm_stopped)
    async with open_engine(Operation("op", (stage,))) as engine:
        dag_id = await submit(engine, "op", "a")
        await proof.reached.wait()
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await engine.operate_dag(dag_id, Operator.CANCEL)
        proof.open()
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)
        assert [a.outcome for a in await engine.find_attempts(1)] == ["TimedOut"]


async def test_while_the_end_of_a_step_is_proven_it_says_so(open_engine: Open) -> None:
    clock, proof, working = FakeClock(), Latch(), asyncio.Event()

    async def act(context: StepContext) -> Outcome:
        context.wait_for("sql", "port 1")
        working.set()
        return await hang(context)

    async def confirm_stopped(context: StepContext) -> bool:
        await proof.wait()
        return True

    stage = Stage("act", LANE, act, confirm_stopped=confirm_stopped)
    async with open_engine(Operation("op", (stage,)), clock=clock) as engine:
        dag_id = await submit(engine, "op", "a")
        await working.wait()
        clock.advance(5)
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await proof.reached.wait()
        wait = engine.explain_wait(dag_id, 1)
        assert wait is not None
        assert (wait.kind, wait.on) == ("proof", "the end of 'act'")
        assert wait.since_at == clock.now()
        proof.open()
        await engine.wait(dag_id)
        assert engine.explain_wait(dag_id, 1) is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DagengineError("no way to look"), "is not confirmed: no way to look"),
        (ValueError("a defect"), "is not confirmed: ValueError: a defect"),
    ],
)
async def test_a_proof_that_fails_is_no_proof(
    open_engine: Open, error: Exception, said: str
) -> None:
    working = asyncio.Event()

    async def act(context: StepContext) -> Outcome:
        working.set()
        return await hang(context)

    async def confirm_stopped(context: StepContext) -> bool:
        raise error

    async with open_engine(
        Operation("op", (Stage("act", LANE, act, confirm_stopped=confirm_stopped),))
    ) as engine:
        dag_id = await submit(engine, "op", "a")
        await working.wait()
        await engine.operate_dag(dag_id, Operator.CANCEL)
        detail = await engine.wait(dag_id)
        assert [a.outcome for a in await engine.find_attempts(1)] == ["ResultUnknown"]
        assert said in task(detail, 1, "a").logs[-1].content


def _fail() -> Outcome:
    return BROKEN


def _crash() -> Outcome:
    raise ValueError("while it tidied up")


@pytest.mark.parametrize(
    ("end", "said"),
    [(_fail, "it is broken"), (_crash, "stopped on ValueError: while it tidied up")],
)
async def test_a_step_that_fails_after_its_time_has_failed_as_it_says(
    open_engine: Open, end: Callable[[], Outcome], said: str
) -> None:
    async def late(context: StepContext) -> Outcome:
        try:
            return await hang(context)
        except asyncio.CancelledError:
            return end()

    async with open_engine(Operation("op", (Stage("late", NORMAL, late, timeout_s=0.02),))) as e:
        detail = await run(e)
        assert [a.outcome for a in await e.find_attempts(1)] == ["Failed"]
        lines = [line.content for line in task(detail, 1, None).logs]
        assert len(lines) == 1
        assert said in lines[0]


async def test_a_time_out_within_a_step_is_not_the_end_of_its_own_time(open_engine: Open) -> None:
    async def give_up(context: StepContext) -> Outcome:
        async with asyncio.timeout(0):
            return await hang(context)

    async with open_engine(op(give_up)) as engine:
        detail = await run(engine)
        assert [a.outcome for a in await engine.find_attempts(1)] == ["Failed"]
        assert "stopped on TimeoutError" in task(detail, 1, None).logs[-1].content


async def test_what_a_step_does_to_what_it_was_given_nobody_else_sees(open_engine: Open) -> None:
    seen = []

    async def make(context: StepContext) -> Outcome:
        return Succeeded({"list": [1]})

    async def spoil(context: StepContext) -> Outcome:
        for _ in range(2):
            made, wish = context.data_of("s0"), context.params["wish"]
            assert made is not None
            seen.append((list(made["list"]), list(wish)))
            made["list"].append(2)
            wish.append(2)
        return Succeeded()

    async with open_engine(op(make, spoil, spoil)) as engine:
        assert (await end_of(engine, await submit(engine, wish=[1])))[0] is State.SUCCEED
    assert seen == [([1], [1])] * 4
