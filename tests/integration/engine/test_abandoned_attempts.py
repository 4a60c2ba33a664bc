"""Steps that ignore their cancellation: the engine abandons their attempts at the bound."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dagengine import (
    DagDetail,
    Engine,
    Flags,
    Operation,
    Operator,
    Outcome,
    SqliteStore,
    Stage,
    State,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.engine.attempt import Attempt
from dagengine.errors import StaleWrite
from dagengine.testing import FakeClock, eventually
from dagengine.testing.internals import settled
from tests.support.engine_script import (
    BROKEN,
    LANE,
    NORMAL,
    OpenEngine,
    operate,
    run,
    sub_task_of,
    submit,
)
from tests.support.minimal_operations import hang, op, succeed

LIMIT_S, CONFIRM_S = 100.0, 1.0
FOREVER = 10**9


class StubbornStep:
    """A step that ignores some cancellations in one phase; each later attempt succeeds.

    Attributes:
        at_work: set once the step waits in the phase.
        released: lets it end.
        late: what the step does at its end.
        late_error: the error that this raised.
    """

    def __init__(self, phase: str, swallow_count: int) -> None:
        self.at_work, self.released = asyncio.Event(), asyncio.Event()
        self.late: Callable[[StepContext], Awaitable[Any]] | None = None
        self.late_error: Exception | None = None
        self._phase = phase
        self._swallow_count = swallow_count
        self._was_stubborn = False
        self.stage = Stage(
            "stubborn",
            LANE,
            self._run,
            undo=self._undo,
            confirm_stopped=self._settle,
            flags=Flags(can_rollback=True),
            timeout_s=LIMIT_S,
        )

    async def _run(self, context: StepContext) -> Outcome:
        if self._phase == "settle" and context.attempt_no == 1:
            self.at_work.set()
            return await hang(context)
        await self._work("run", context)
        return BROKEN if self._phase == "undo" else Succeeded()

    async def _undo(self, context: StepContext) -> Outcome:
        await self._work("undo", context)
        return Succeeded()

    async def _settle(self, context: StepContext) -> bool:
        await self._work("settle", context)
        return True

    async def _work(self, phase: str, context: StepContext) -> None:
        if phase != self._phase or self._was_stubborn:
            return
        self._was_stubborn = True
        self.at_work.set()
        for _ in range(self._swallow_count):
            try:
                await self.released.wait()
                break
            except asyncio.CancelledError:
                pass
        else:
            await hang(context)
        if self.late is not None:
            try:
                await self.late(context)
            except StaleWrite as exc:
                self.late_error = exc


async def run_other(engine: Engine) -> DagDetail:
    return await engine.wait((await engine.submit(Submission("other"))).dag.dag_id)


async def pass_bound(engine: Engine, clock: FakeClock, dag_id: int, seconds: float) -> DagDetail:
    """Move the clock to the limit of the attempt, then to its bound; return the ended DAG."""
    await settled(engine)
    clock.advance(seconds)
    await settled(engine)
    clock.advance(CONFIRM_S)
    return await engine.wait(dag_id)


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("swallow_count", [1, 2, FOREVER])
@pytest.mark.parametrize("phase", ["run", "undo", "settle"])
async def test_attempt_ignoring_cancel_ends_at_its_bound(
    open_engine: OpenEngine, phase: str, swallow_count: int, is_cancelled: bool
) -> None:
    clock, step = FakeClock(), StubbornStep(phase, swallow_count)
    other = op(succeed, name="other")
    with capture_logs() as logs:
        async with open_engine(Operation("op", (step.stage,)), other, clock=clock) as engine:
            dag_id = await submit(engine, "a")
            if phase == "undo":
                await engine.wait(dag_id)
                await engine.operate_dag(dag_id, Operator.ROLLBACK)
            await step.at_work.wait()
            if is_cancelled:
                await engine.operate_dag(dag_id, Operator.CANCEL)
            detail = await pass_bound(engine, clock, dag_id, 0 if is_cancelled else LIMIT_S)
            assert detail.dag.state is State.FAILED
            last = (await engine.find_attempts(1))[-1]
            assert last.outcome == "ResultUnknown"
            assert "server" not in sub_task_of(detail, 1, "a").logs[-1].content
            assert (await run_other(engine)).dag.state is State.SUCCEED
            if phase != "undo":
                detail = await operate(engine, dag_id, Operator.RETRY)
                assert detail.dag.state is State.SUCCEED
    events = [line["event"] for line in logs]
    assert events.count("attempt_abandoned") == 1
    (abandoned,) = [line for line in logs if line["event"] == "attempt_abandoned"]
    assert (abandoned["stage"], abandoned["target"]) == ("stubborn", "a")
    assert events.count("abandoned_attempt_ended") == 1


class TimerlessClock:
    """A clock that a test moves, while time limits follow the event loop."""

    def __init__(self) -> None:
        self._clock = FakeClock()
        self.now, self.monotonic_s = self._clock.now, self._clock.monotonic_s
        self.advance = self._clock.advance


async def test_attempt_is_not_abandoned_for_a_late_loop(tmp_path: Path) -> None:
    """After the loop was blocked beyond the bound, a step still gets the time to end."""
    clock, at_work, tidied = TimerlessClock(), asyncio.Event(), asyncio.Event()

    async def tidy_up(context: StepContext) -> Outcome:
        at_work.set()
        try:
            return await hang(context)
        finally:
            asyncio.get_running_loop().call_later(0.5, tidied.set)  # beyond the grace time
            await tidied.wait()

    stage = Stage("late", NORMAL, tidy_up, timeout_s=0.02)
    async with Engine(
        store=SqliteStore(tmp_path / "store.sqlite"),
        operations=[Operation("op", (stage,))],
        clock=clock,
        confirm_timeout_s=0.02,
    ) as engine:
        dag_id = await submit(engine)
        await at_work.wait()
        clock.advance(10)
        await engine.wait(dag_id)
        assert [a.outcome for a in await engine.find_attempts(1)] == ["TimedOut"]


async def test_confirmation_after_a_late_loop_gets_its_time(tmp_path: Path) -> None:
    clock, at_work = TimerlessClock(), asyncio.Event()

    async def work(context: StepContext) -> Outcome:
        at_work.set()
        return await hang(context)

    async def confirm_stopped(context: StepContext) -> bool:
        for _ in range(3):
            asyncio.get_running_loop().call_soon((event := asyncio.Event()).set)
            await event.wait()
        return True

    stage = Stage("late", NORMAL, work, timeout_s=0.02, confirm_stopped=confirm_stopped)
    async with Engine(
        store=SqliteStore(tmp_path / "store.sqlite"),
        operations=[Operation("op", (stage,))],
        clock=clock,
        confirm_timeout_s=5,
    ) as engine:
        dag_id = await submit(engine)
        await at_work.wait()
        clock.advance(10)
        await engine.wait(dag_id)
        assert [a.outcome for a in await engine.find_attempts(1)] == ["TimedOut"]


async def test_abandoned_attempt_is_cancelled_once_more(open_engine: OpenEngine) -> None:
    clock, step = FakeClock(), StubbornStep("run", 1)
    with capture_logs() as logs:
        async with open_engine(Operation("op", (step.stage,)), clock=clock) as engine:
            dag_id = await submit(engine, "a")
            await step.at_work.wait()
            await pass_bound(engine, clock, dag_id, LIMIT_S)
            await settled(engine)
            assert "abandoned_attempt_ended" in [line["event"] for line in logs]


@pytest.mark.parametrize("call", ["log", "acquire_lock", "mark_confirmed", "wait_for"])
async def test_abandoned_attempt_that_ends_changes_nothing(
    open_engine: OpenEngine, call: str
) -> None:
    clock, step = FakeClock(), StubbornStep("run", FOREVER)

    async def late(context: StepContext) -> None:
        match call:
            case "log":
                await context.log("late line")
            case "acquire_lock":
                await context.acquire_lock()
            case "mark_confirmed":
                await context.mark_confirmed()
            case _:
                context.wait_for("late", "wait")

    step.late = late
    async with open_engine(Operation("op", (step.stage,)), clock=clock) as engine:
        dag_id = await submit(engine, "a")
        await step.at_work.wait()
        before = await pass_bound(engine, clock, dag_id, LIMIT_S)
        locks = engine.list_locks()
        with capture_logs() as logs:
            step.released.set()

            async def has_ended() -> bool:
                return "abandoned_attempt_ended" in [line["event"] for line in logs]

            await eventually(has_ended, what="the end of the step")
        assert (step.late_error is None) == (call == "wait_for")
        assert await engine.find_dag(dag_id) == before
        assert engine.list_locks() == locks
        assert [a.outcome for a in await engine.find_attempts(1)] == ["ResultUnknown"]


async def test_pass_after_abandoned_attempt_succeeds(open_engine: OpenEngine) -> None:
    clock, step = FakeClock(), StubbornStep("run", FOREVER)
    async with open_engine(Operation("op", (step.stage,)), clock=clock) as engine:
        dag_id = await submit(engine, "a")
        await step.at_work.wait()
        await pass_bound(engine, clock, dag_id, LIMIT_S)
        detail = await operate(engine, dag_id, Operator.PASS)
        assert detail.dag.state is State.SUCCEED


async def test_abandoned_target_is_unconfirmed_for_later_dags(open_engine: OpenEngine) -> None:
    clock, step = FakeClock(), StubbornStep("run", FOREVER)
    marks: list[int | None] = []

    async def look(context: StepContext) -> Outcome:
        marks.append(context.unconfirmed.dag_id if context.unconfirmed else None)
        return Succeeded()

    operation = Operation("op", (step.stage, Stage("look", LANE, look)))
    async with open_engine(operation, clock=clock) as engine:
        dag_id = await submit(engine, "a")
        await step.at_work.wait()
        await pass_bound(engine, clock, dag_id, LIMIT_S)
        await run(engine, "a", "b")
    assert sorted(marks, key=str) == [dag_id, None]


async def test_attempt_ending_in_time_is_not_abandoned(open_engine: OpenEngine) -> None:
    """The clock passes the limit and the bound at once: the step ends on its cancellation."""
    clock = FakeClock()
    operation = Operation("op", (Stage("s", NORMAL, hang, timeout_s=LIMIT_S),))
    async with open_engine(operation, clock=clock) as engine:
        dag_id = await submit(engine)
        await settled(engine)
        clock.advance(LIMIT_S + 10 * CONFIRM_S)
        await engine.wait(dag_id)
        assert [a.outcome for a in await engine.find_attempts(1)] == ["TimedOut"]


async def test_abandoned_attempts_above_limit_refuse_new_ones(open_engine: OpenEngine) -> None:
    """Of 1,000 attempts that ignore every cancellation, 100 run at the same time."""
    clock, released = FakeClock(), asyncio.Event()

    async def ignore_cancels(context: StepContext) -> Outcome:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()
        return Succeeded()

    stage = Stage("stubborn", LANE, ignore_cancels, timeout_s=LIMIT_S)
    tasks_before = len(asyncio.all_tasks())
    async with open_engine(
        Operation("op", (stage,)), op(succeed, name="other"), clock=clock
    ) as engine:
        outcomes = []
        for number in range(50):
            targets = [f"t{number}-{lane}" for lane in range(20)]
            dag_id = await submit(engine, *targets)
            detail = await pass_bound(engine, clock, dag_id, LIMIT_S)
            problem = sub_task_of(detail, 1, targets[0]).logs[-1].content
            outcomes.append("was not started" in problem)
        assert outcomes == [False] * 5 + [True] * 45
        assert "100 abandoned steps of operation 'op' still run" in problem
        assert len(asyncio.all_tasks()) - tasks_before < 110
        assert (await run_other(engine)).dag.state is State.SUCCEED
        released.set()

        async def all_ended() -> bool:
            return len(asyncio.all_tasks()) - tasks_before < 10

        await eventually(all_ended, what="the end of the steps")
        detail = await run(engine, "a")  # accepted again
        assert detail.dag.state is State.SUCCEED


@pytest.mark.slow
async def test_fan_out_abandoned_together_stays_bounded(open_engine: OpenEngine) -> None:
    """All 1,000 attempts of a stage run on; each RETRY is refused and leaves nothing behind."""
    clock, released = FakeClock(), asyncio.Event()

    async def ignore_cancels(context: StepContext) -> Outcome:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()
        return Succeeded()

    stage = Stage("stubborn", LANE, ignore_cancels, timeout_s=LIMIT_S)
    targets = [f"t{number}" for number in range(1000)]
    tasks_before, attempts_before = len(asyncio.all_tasks()), count_attempts()
    async with open_engine(
        Operation("op", (stage,)), op(succeed, name="other"), clock=clock
    ) as engine:
        dag_id = await submit(engine, *targets)
        await pass_bound(engine, clock, dag_id, LIMIT_S)
        sizes = []
        for _ in range(3):
            detail = await operate(engine, dag_id, Operator.RETRY)
            assert detail.dag.state is State.FAILED
            problem = sub_task_of(detail, 1, targets[-1]).logs[-1].content
            assert "1000 abandoned steps of operation 'op' still run" in problem
            sizes.append((len(asyncio.all_tasks()) - tasks_before, count_attempts()))
        assert all(1000 <= tasks < 1010 for tasks, _ in sizes)
        assert {attempts for _, attempts in sizes} == {attempts_before + 1000}
        assert (await run_other(engine)).dag.state is State.SUCCEED
        released.set()

        async def all_ended() -> bool:
            return len(asyncio.all_tasks()) - tasks_before < 10

        await eventually(all_ended, what="the end of the steps")
        assert count_attempts() == attempts_before
        detail = await operate(engine, dag_id, Operator.RETRY)
        assert detail.dag.state is State.SUCCEED


def count_attempts() -> int:
    """Return the number of attempts in memory."""
    gc.collect()
    return sum(isinstance(each, Attempt) for each in gc.get_objects())


@pytest.mark.parametrize("is_abandoned", [False, True])
async def test_engine_stop_closes_steps_that_ignore_cancels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abandoned: bool
) -> None:
    """Nothing of a step that ignores every cancellation is left: `asyncio.run` can return."""
    monkeypatch.setattr("dagengine.engine.attempt_runner.AttemptTasks.patience_s", 0.05)
    clock, step = FakeClock(), StubbornStep("run", FOREVER)
    store = SqliteStore(tmp_path / "store.sqlite")
    operation = Operation("op", (step.stage,))
    engine = Engine(store=store, operations=[operation], clock=clock, confirm_timeout_s=CONFIRM_S)
    before = asyncio.all_tasks()
    async with asyncio.timeout(10):
        async with engine:
            dag_id = await submit(engine, "a")
            await step.at_work.wait()
            if is_abandoned:
                await pass_bound(engine, clock, dag_id, LIMIT_S)
        assert asyncio.all_tasks() == before
