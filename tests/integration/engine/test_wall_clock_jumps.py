"""Two clocks: time limits are measured on the monotonic one, which cannot be set back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from dagengine import Operation, Operator, Outcome, Stage, StepContext, Succeeded
from dagengine.testing import FakeClock, Latch, gated
from tests.support.engine_script import (
    BROKEN,
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

HOUR_S = 3600.0
SCOPES = pytest.mark.parametrize("scope", ["node", "DAG"])
JUMPS = pytest.mark.parametrize("jump_s", [HOUR_S, 0.0, -HOUR_S])


class PassiveClock:
    """Shows the time of another clock; time limits end by the time of the event loop."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()


class TwoLanes:
    """Lane b reaches the last stage after lane a has worked there for a while.

    Attributes:
        clock: moves before b enters the last stage: by `passed_s`, and jumps by `jump_s`.
        left: time left of each lane's last step, according to its wait.
    """

    def __init__(self, passed_s: float, jump_s: float) -> None:
        self.clock = FakeClock()
        self.remaining: dict[str | None, timedelta] = {}
        self.passed_s = passed_s
        self._jump_s = jump_s
        self._a_works, self._b_ended = asyncio.Event(), asyncio.Event()

    def operation(self, scope: str) -> Operation:
        """600 s for the last stage, or for all."""
        node_s, dag_s = (600.0, None) if scope == "node" else (None, 600.0)
        last = Stage("last", LANE, self._last, timeout_s=600, node_timeout_s=node_s)
        return Operation("op", (Stage("first", LANE, self._first), last), timeout_s=dag_s)

    async def _first(self, context: StepContext) -> Outcome:
        if context.target == "b":
            await self._a_works.wait()
            self.clock.advance(self.passed_s)
            self.clock.jump(self._jump_s)
        return Succeeded()

    async def _last(self, context: StepContext) -> Outcome:
        self.remaining[context.target] = _deadline(context) - self.clock.now()
        if context.target == "a":
            self._a_works.set()
            await self._b_ended.wait()
            return Succeeded()
        try:
            await context.log("at work")
            return Succeeded()
        finally:
            self._b_ended.set()


def _deadline(context: StepContext) -> datetime:
    context.wait_for("test", "the clock")
    wait = context.wait  # type: ignore[attr-defined]  # readers see it; a step has no need to
    assert wait.deadline_at is not None
    deadline_at: datetime = wait.deadline_at
    return deadline_at


@SCOPES
@JUMPS
async def test_deadline_clock_jump_keeps_remaining_node_and_dag_time(
    open_engine: OpenEngine, scope: str, jump_s: float
) -> None:
    lanes = TwoLanes(100, jump_s)
    async with open_engine(lanes.operation(scope), clock=PassiveClock(lanes.clock)) as engine:
        assert dag_state(await run(engine, "a", "b")) == ("SUCCEED", "RUN", 2)
    assert lanes.remaining == {"a": timedelta(seconds=600), "b": timedelta(seconds=500)}


@SCOPES
@JUMPS
async def test_deadline_clock_jump_restores_no_elapsed_time(
    open_engine: OpenEngine, scope: str, jump_s: float
) -> None:
    lanes = TwoLanes(700, jump_s)
    async with open_engine(lanes.operation(scope), clock=PassiveClock(lanes.clock)) as engine:
        detail = await run(engine, "a", "b")
        late_task = sub_task_of(detail, 2, "b")
        assert f"the 600 s of its {scope} have passed" in late_task.logs[-1].content
        outcomes = [a.outcome for a in await engine.find_attempts(late_task.sub_task.sub_task_id)]
        assert outcomes == ["TimedOut"]
        assert sub_task_of(detail, 2, "a").sub_task.state == "SUCCEED"
    assert lanes.remaining["b"] == timedelta(0)


async def test_deadline_of_node_starts_with_node(open_engine: OpenEngine, script: Script) -> None:
    clock, remaining = FakeClock(), []

    async def advance_clock(context: StepContext) -> Outcome:
        clock.advance(500)
        return Succeeded()

    async def record_remaining(context: StepContext) -> Outcome:
        remaining.append(_deadline(context) - clock.now())
        return Succeeded()

    stages = (
        Stage("first", NORMAL, advance_clock, timeout_s=600, node_timeout_s=600),
        Stage("last", NORMAL, record_remaining, timeout_s=600, node_timeout_s=600),
    )
    async with open_engine(Operation("op", stages), clock=clock) as engine:
        assert dag_state(await run(engine)) == ("SUCCEED", "RUN", 2)
    assert remaining == [timedelta(seconds=600)]


@SCOPES
async def test_deadline_after_retry_is_full_again(
    open_engine: OpenEngine, script: Script, scope: str
) -> None:
    lanes = TwoLanes(700, 0)
    async with open_engine(lanes.operation(scope), clock=PassiveClock(lanes.clock)) as engine:
        dag_id = (await run(engine, "a", "b")).dag.dag_id
        lanes.remaining.clear()
        lanes.passed_s = 0
        assert dag_state(await operate(engine, dag_id, Operator.RETRY)) == ("SUCCEED", "RUN", 2)
    assert lanes.remaining == {"b": timedelta(seconds=600)}


@SCOPES
async def test_deadline_after_restart_counts_time_of_earlier_process(
    open_engine: OpenEngine, script: Script, scope: str
) -> None:
    """A new process has only the wall clock; if that was set back, no time has passed."""
    for passed_s, left_s in ((250, 350), (-HOUR_S, 600)):
        clock, latch = FakeClock(), Latch()
        lanes = TwoLanes(0, 0)
        lanes.clock = clock
        operation = lanes.operation(scope)
        async with open_engine(with_latch(operation, "last", latch, "b"), clock=clock) as engine:
            dag_id = await submit_until_latch(engine, latch, "a", "b")
        lanes.remaining.clear()
        clock.jump(passed_s)
        async with open_engine(operation, clock=clock) as engine:
            assert dag_state(await engine.wait(dag_id)) == ("SUCCEED", "RUN", 2)
        assert lanes.remaining == dict.fromkeys(("a", "b"), timedelta(seconds=left_s))


@pytest.mark.parametrize("first_s", [HOUR_S, -HOUR_S])
async def test_engine_repeated_clock_jumps_do_not_change_outcome(
    open_engine: OpenEngine, script: Script, first_s: float
) -> None:
    clock, jumps = FakeClock(), []

    async def jump(context: StepContext) -> None:
        jumps.append(first_s if len(jumps) % 2 == 0 else -2 * first_s)
        clock.jump(jumps[-1])

    operation = script.operation(timeout_s=600)
    for name in ("check", "start", "verify"):
        operation = gated(operation, name, before=jump)
    stages = tuple(replace(stage, timeout_s=500, node_timeout_s=500) for stage in operation.stages)
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(replace(operation, stages=stages), clock=clock) as engine:
        dag_id = await submit(engine)
        assert dag_state(await engine.wait(dag_id)) == ("FAILED", "RUN", 3)
        script.outcomes.clear()
        detail = await operate(engine, dag_id, Operator.RETRY)
        assert dag_state(detail) == ("SUCCEED", "RUN", 4)
        outcomes = [
            attempt.outcome
            for node in detail.nodes or ()
            for entry in node.sub_tasks
            for attempt in await engine.find_attempts(entry.sub_task.sub_task_id)
        ]
        assert sorted(set(outcomes)) == ["Failed", "Succeeded"]
        assert outcomes.count("Failed") == 1
