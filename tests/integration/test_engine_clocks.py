"""Two clocks: what bounds a node or a DAG is measured on the one that nobody can put back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from dagengine import Operation, Operator, Outcome, Stage, StepContext, Succeeded
from dagengine.testing import FakeClock, Latch, gated
from tests.integration.engine_world import (
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
    submit,
    task,
)

__all__ = ["open_engine", "script"]  # fixtures

HOUR = 3600.0
WHOSE = pytest.mark.parametrize("whose", ["node", "DAG"])
JUMPS = pytest.mark.parametrize("jump_s", [HOUR, 0.0, -HOUR])


class TwoLanes:
    """Lane b comes to the last stage when lane a is at work there for a while.

    Attributes:
        clock: moves before b enters the last stage: by `passed_s`, and jumps by `jump_s`.
        left: how long each lane's last step was to have, by what it says that it waits for.
    """

    def __init__(self, passed_s: float, jump_s: float) -> None:
        self.clock = FakeClock()
        self.left: dict[str | None, timedelta] = {}
        self.passed_s = passed_s
        self._jump_s = jump_s
        self._a_works, self._b_ended = asyncio.Event(), asyncio.Event()

    def operation(self, whose: str) -> Operation:
        """600 s for the last stage, or for all."""
        node_s, dag_s = (600.0, None) if whose == "node" else (None, 600.0)
        last = Stage("last", LANE, self._last, timeout_s=HOUR, node_timeout_s=node_s)
        return Operation("op", (Stage("first", LANE, self._first), last), timeout_s=dag_s)

    async def _first(self, context: StepContext) -> Outcome:
        if context.target == "b":
            await self._a_works.wait()
            self.clock.advance(self.passed_s)
            self.clock.jump(self._jump_s)
        return Succeeded()

    async def _last(self, context: StepContext) -> Outcome:
        self.left[context.target] = _deadline(context) - self.clock.now()
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
    found: datetime = wait.deadline_at
    return found


@WHOSE
@JUMPS
async def test_a_jump_of_the_wall_clock_leaves_node_and_dag_the_time_that_they_have(
    open_engine: Open, whose: str, jump_s: float
) -> None:
    lanes = TwoLanes(100, jump_s)
    async with open_engine(lanes.operation(whose), clock=lanes.clock) as engine:
        assert how(await run(engine, "a", "b")) == ("SUCCEED", "RUN", 2)
    assert lanes.left == {"a": timedelta(seconds=600), "b": timedelta(seconds=500)}


@WHOSE
@JUMPS
async def test_a_jump_of_the_wall_clock_gives_node_and_dag_no_time_that_is_over(
    open_engine: Open, whose: str, jump_s: float
) -> None:
    lanes = TwoLanes(700, jump_s)
    async with open_engine(lanes.operation(whose), clock=lanes.clock) as engine:
        detail = await run(engine, "a", "b")
        said = task(detail, 2, "b")
        assert f"the 600 s of its {whose} have passed" in said.logs[-1].content
        outcomes = [a.outcome for a in await engine.find_attempts(said.sub_task.sub_task_id)]
        assert outcomes == ["TimedOut"]
        assert task(detail, 2, "a").sub_task.state == "SUCCEED"
    assert lanes.left["b"] == timedelta(0)


async def test_the_time_of_a_node_begins_with_the_node(open_engine: Open, script: Script) -> None:
    clock, left = FakeClock(), []

    async def dawdle(context: StepContext) -> Outcome:
        clock.advance(500)
        return Succeeded()

    async def note(context: StepContext) -> Outcome:
        left.append(_deadline(context) - clock.now())
        return Succeeded()

    stages = (
        Stage("first", NORMAL, dawdle, timeout_s=HOUR, node_timeout_s=600),
        Stage("last", NORMAL, note, timeout_s=HOUR, node_timeout_s=600),
    )
    async with open_engine(Operation("op", stages), clock=clock) as engine:
        assert how(await run(engine)) == ("SUCCEED", "RUN", 2)
    assert left == [timedelta(seconds=600)]


@WHOSE
async def test_a_retry_has_all_of_the_time_again(
    open_engine: Open, script: Script, whose: str
) -> None:
    lanes = TwoLanes(700, 0)
    async with open_engine(lanes.operation(whose), clock=lanes.clock) as engine:
        dag_id = (await run(engine, "a", "b")).dag.dag_id
        lanes.left.clear()
        lanes.passed_s = 0
        assert how(await operate(engine, dag_id, Operator.RETRY)) == ("SUCCEED", "RUN", 2)
    assert lanes.left == {"b": timedelta(seconds=600)}


@WHOSE
async def test_what_an_earlier_process_used_up_counts_after_a_restart(
    open_engine: Open, script: Script, whose: str
) -> None:
    """A new process has only the wall clock to go by; one that was put back has used up nothing."""
    for passed_s, left_s in ((250, 350), (-HOUR, 600)):
        clock, gate = FakeClock(), Latch()
        lanes = TwoLanes(0, 0)
        lanes.clock = clock
        operation = lanes.operation(whose)
        async with open_engine(held(operation, "last", gate, "b"), clock=clock) as engine:
            dag_id = await hold_at(engine, gate, "a", "b")
        lanes.left.clear()
        clock.jump(passed_s)
        async with open_engine(operation, clock=clock) as engine:
            assert how(await engine.wait(dag_id)) == ("SUCCEED", "RUN", 2)
        assert lanes.left == dict.fromkeys(("a", "b"), timedelta(seconds=left_s))


@pytest.mark.parametrize("first_s", [HOUR, -HOUR])
async def test_a_run_whose_wall_clock_jumps_to_and_fro_ends_as_any_other(
    open_engine: Open, script: Script, first_s: float
) -> None:
    clock, jumps = FakeClock(), []

    async def jump(context: StepContext) -> None:
        jumps.append(first_s if len(jumps) % 2 == 0 else -2 * first_s)
        clock.jump(jumps[-1])

    operation = script.operation(timeout_s=600)
    for name in ("check", "start", "verify"):
        operation = gated(operation, name, before=jump)
    stages = tuple(replace(stage, node_timeout_s=500) for stage in operation.stages)
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(replace(operation, stages=stages), clock=clock) as engine:
        dag_id = await submit(engine)
        assert how(await engine.wait(dag_id)) == ("FAILED", "RUN", 3)
        script.outcomes.clear()
        detail = await operate(engine, dag_id, Operator.RETRY)
        assert how(detail) == ("SUCCEED", "RUN", 4)
        outcomes = [
            attempt.outcome
            for node in detail.nodes or ()
            for found in node.sub_tasks
            for attempt in await engine.find_attempts(found.sub_task.sub_task_id)
        ]
        assert sorted(set(outcomes)) == ["Failed", "Succeeded"]
        assert outcomes.count("Failed") == 1
