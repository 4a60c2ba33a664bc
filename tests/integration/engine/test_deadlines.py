"""Ends of an attempt: in time, too late, and cancelled with or without confirmation."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dagengine import Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.testing import FakeClock, Latch, gated
from tests.support.engine_script import (
    LANE,
    NORMAL,
    OpenEngine,
    Script,
    dag_state,
    operate,
    run,
    sub_task_of,
    submit,
    submit_until_latch,
    with_latch,
)


@pytest.mark.parametrize("scope", ["attempt", "node", "DAG"])
async def test_attempt_timed_out_names_scope_of_deadline(
    open_engine: OpenEngine, scope: str
) -> None:
    async def hang(context: StepContext) -> Outcome:
        await asyncio.Event().wait()
        return Succeeded()

    stage = Stage(
        "hang",
        NORMAL,
        hang,
        timeout_s=60 if scope == "DAG" else 0.05,
        node_timeout_s=0.05 if scope == "node" else None,
    )
    operation = Operation("op", (stage,), timeout_s=0.05 if scope == "DAG" else None)
    async with open_engine(operation) as engine:
        detail = await run(engine)
        (attempt,) = await engine.find_attempts(1)
        assert attempt.outcome == "TimedOut"
        assert (
            f"the 0.05 s of its {scope} have passed"
            in sub_task_of(detail, 1, None).logs[-1].content
        )


async def test_attempt_wall_clock_jump_does_not_time_out(
    open_engine: OpenEngine, script: Script
) -> None:
    clock = FakeClock()

    async def jump(context: StepContext) -> None:
        clock.jump(3600 if context.target == "a" else -7200)

    operation = gated(script.operation(timeout_s=600), "check", before=jump)
    async with open_engine(operation, clock=clock) as engine:
        assert dag_state(await run(engine)) == ("SUCCEED", "RUN", 4)


async def test_attempt_late_success_succeeds_with_warning(open_engine: OpenEngine) -> None:
    async def succeed_late(context: StepContext) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Succeeded()
        raise AssertionError

    operation = Operation("op", (Stage("late", NORMAL, succeed_late, timeout_s=0.02),))
    async with open_engine(operation) as engine:
        detail = await run(engine)
        assert detail.dag.state is State.SUCCEED
        assert sub_task_of(detail, 1, None).logs[-1].content == "WARN: done, but not within 0.02 s"


@pytest.mark.parametrize(
    ("is_confirmed", "outcome"),
    [(True, "Cancelled"), (False, "ResultUnknown"), (None, "ResultUnknown")],
)
async def test_confirm_stopped_after_cancel_decides_outcome(
    open_engine: OpenEngine, script: Script, is_confirmed: bool | None, outcome: str
) -> None:
    latch = Latch()

    async def confirm_stopped(context: StepContext) -> bool:
        if is_confirmed is None:
            await asyncio.Event().wait()
        return bool(is_confirmed)

    stage = replace(script.stage("start", LANE), confirm_stopped=confirm_stopped)
    operation = with_latch(Operation("op", (stage,)), "start", latch)
    async with open_engine(operation) as engine:
        dag_id = await submit(engine, "a")
        await latch.reached.wait()
        detail = await operate(engine, dag_id, Operator.CANCEL)
        assert dag_state(detail) == ("FAILED", "CANCEL", 1)
        assert [a.outcome for a in await engine.find_attempts(1)] == [outcome]
        if outcome == "ResultUnknown":
            assert "is not confirmed" in sub_task_of(detail, 1, "a").logs[-1].content


@pytest.mark.parametrize(
    ("is_confirmed", "outcome"), [(True, "TimedOut"), (False, "ResultUnknown")]
)
async def test_confirm_stopped_after_time_out_decides_outcome(
    open_engine: OpenEngine, is_confirmed: bool, outcome: str
) -> None:
    confirm_calls: list[str | None] = []

    async def hang(context: StepContext) -> Outcome:
        await asyncio.Event().wait()
        return Succeeded()

    async def confirm_stopped(context: StepContext) -> bool:
        confirm_calls.append(context.target)
        return is_confirmed

    stage = Stage("hang", LANE, hang, timeout_s=0.05, confirm_stopped=confirm_stopped)
    async with open_engine(Operation("op", (stage,))) as engine:
        detail = await run(engine, "a")
        assert confirm_calls == ["a"]
        assert [a.outcome for a in await engine.find_attempts(1)] == [outcome]
        last_line = sub_task_of(detail, 1, "a").logs[-1].content
        assert ("have passed" if is_confirmed else "is not confirmed") in last_line


async def test_unconfirmed_target_remains_until_step_confirms_it(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()
    reports: list[str] = []

    async def confirm_stopped(context: StepContext) -> bool:
        return False

    async def confirm_target(context: StepContext) -> Outcome:
        if (mark := context.unconfirmed) is not None:
            reports.append(f"{mark.target} since DAG {mark.dag_id} '{mark.stage}'")
            await context.mark_confirmed()
        return Succeeded()

    stage = replace(script.stage("start", LANE), confirm_stopped=confirm_stopped)
    async with open_engine(with_latch(Operation("op", (stage,)), "start", latch)) as engine:
        first = await submit_until_latch(engine, latch, "a")
        await operate(engine, first, Operator.CANCEL)
    confirming_operation = Operation("op", (Stage("start", LANE, confirm_target),))
    async with open_engine(confirming_operation) as engine:  # the mark outlives the controller
        await run(engine, "a", "b")
        await run(engine, "a", "b")
    assert reports == [f"a since DAG {first} 'start'"]
