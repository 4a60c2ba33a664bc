"""How an attempt ends: in time, too late, cancelled with a proof or without one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dagengine import Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.testing import FakeClock, Latch, gated
from tests.integration.engine_world import (
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
    submit,
    task,
)

__all__ = ["open_engine", "script"]  # fixtures


@pytest.mark.parametrize("whose", ["attempt", "node", "DAG"])
async def test_not_in_time_is_told_apart_from_failed_and_names_whose_time_it_was(
    open_engine: Open, whose: str
) -> None:
    async def hang(context: StepContext) -> Outcome:
        await asyncio.Event().wait()
        return Succeeded()

    stage = Stage(
        "hang",
        NORMAL,
        hang,
        timeout_s=0.05 if whose == "attempt" else 60,
        node_timeout_s=0.05 if whose == "node" else None,
    )
    operation = Operation("op", (stage,), timeout_s=0.05 if whose == "DAG" else None)
    async with open_engine(operation) as engine:
        detail = await run(engine)
        (attempt,) = await engine.find_attempts(1)
        assert attempt.outcome == "TimedOut"
        assert f"the 0.05 s of its {whose} have passed" in task(detail, 1, None).logs[-1].content


async def test_a_jump_of_the_wall_clock_ends_nothing(open_engine: Open, script: Script) -> None:
    clock = FakeClock()

    async def jump(context: StepContext) -> None:
        clock.jump(3600 if context.target == "a" else -7200)

    operation = gated(script.operation(timeout_s=600), "check", before=jump)
    async with open_engine(operation, clock=clock) as engine:
        assert how(await run(engine)) == ("SUCCEED", "RUN", 4)


async def test_a_late_success_is_a_success_that_says_so(open_engine: Open) -> None:
    async def late(context: StepContext) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Succeeded()
        raise AssertionError

    operation = Operation("op", (Stage("late", NORMAL, late, timeout_s=0.02),))
    async with open_engine(operation) as engine:
        detail = await run(engine)
        assert detail.dag.state is State.SUCCEED
        assert task(detail, 1, None).logs[-1].content == "WARN: done, but not within 0.02 s"


@pytest.mark.parametrize(
    ("proof", "outcome"), [(True, "Cancelled"), (False, "ResultUnknown"), (None, "ResultUnknown")]
)
async def test_the_end_of_a_cancelled_step_is_proven_or_its_result_is_unknown(
    open_engine: Open, script: Script, proof: bool | None, outcome: str
) -> None:
    gate = Latch()

    async def confirm_stopped(context: StepContext) -> bool:
        if proof is None:
            await asyncio.Event().wait()
        return bool(proof)

    stage = replace(script.stage("start", LANE), confirm_stopped=confirm_stopped)
    operation = held(Operation("op", (stage,)), "start", gate)
    async with open_engine(operation) as engine:
        dag_id = await submit(engine, "a")
        await gate.reached.wait()
        detail = await operate(engine, dag_id, Operator.CANCEL)
        assert how(detail) == ("FAILED", "CANCEL", 1)
        assert [a.outcome for a in await engine.find_attempts(1)] == [outcome]
        if outcome == "ResultUnknown":
            assert "is not confirmed" in task(detail, 1, "a").logs[-1].content


@pytest.mark.parametrize(("proof", "outcome"), [(True, "TimedOut"), (False, "ResultUnknown")])
async def test_the_end_of_a_step_that_took_too_long_is_proven_or_its_result_is_unknown(
    open_engine: Open, proof: bool, outcome: str
) -> None:
    asked: list[str | None] = []

    async def hang(context: StepContext) -> Outcome:
        await asyncio.Event().wait()
        return Succeeded()

    async def confirm_stopped(context: StepContext) -> bool:
        asked.append(context.target)
        return proof

    stage = Stage("hang", LANE, hang, timeout_s=0.05, confirm_stopped=confirm_stopped)
    async with open_engine(Operation("op", (stage,))) as engine:
        detail = await run(engine, "a")
        assert asked == ["a"]
        assert [a.outcome for a in await engine.find_attempts(1)] == [outcome]
        said = task(detail, 1, "a").logs[-1].content
        assert ("have passed" if proof else "is not confirmed") in said


async def test_a_server_whose_end_is_not_proven_stays_marked_until_a_step_has_looked(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    seen: list[str] = []

    async def confirm_stopped(context: StepContext) -> bool:
        return False

    async def look(context: StepContext) -> Outcome:
        if (mark := context.unconfirmed) is not None:
            seen.append(f"{mark.target} since DAG {mark.dag_id} '{mark.stage}'")
            await context.mark_confirmed()
        return Succeeded()

    stage = replace(script.stage("start", LANE), confirm_stopped=confirm_stopped)
    async with open_engine(held(Operation("op", (stage,)), "start", gate)) as engine:
        first = await hold_at(engine, gate, "a")
        await operate(engine, first, Operator.CANCEL)
    looking = Operation("op", (Stage("start", LANE, look),))
    async with open_engine(looking) as engine:  # the mark outlives the controller
        await run(engine, "a", "b")
        await run(engine, "a", "b")
    assert seen == [f"a since DAG {first} 'start'"]
