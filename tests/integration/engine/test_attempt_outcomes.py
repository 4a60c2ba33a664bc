"""Unusual ends of an attempt: late, during the confirmation, and by a failed confirmation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from dagengine import Operation, Operator, Outcome, Stage, State, StepContext, Succeeded
from dagengine.errors import DagengineError
from dagengine.testing import FakeClock, Latch
from tests.support.engine_script import BROKEN, LANE, NORMAL, OpenEngine, run, sub_task_of
from tests.support.minimal_operations import end_of, hang, op, submit


def repr_type(value: object) -> str:
    """Return an id of a case: the repr of some exceptions below fails."""
    return value if isinstance(value, str) else type(value).__name__


async def test_confirm_stopped_is_not_interrupted_by_cancel(
    open_engine: OpenEngine,
) -> None:
    confirm_latch = Latch()

    async def confirm_stopped(context: StepContext) -> bool:
        await confirm_latch.wait()
        return True

    stage = Stage("hang", LANE, hang, timeout_s=0.05, confirm_stopped=confirm_stopped)
    async with open_engine(Operation("op", (stage,))) as engine:
        dag_id = await submit(engine, "op", "a")
        await confirm_latch.reached.wait()
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await engine.operate_dag(dag_id, Operator.CANCEL)
        confirm_latch.open()
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)
        assert [a.outcome for a in await engine.find_attempts(1)] == ["TimedOut"]


async def test_explain_wait_during_confirm_stopped_reports_proof(open_engine: OpenEngine) -> None:
    clock, confirm_latch, working = FakeClock(), Latch(), asyncio.Event()

    async def act(context: StepContext) -> Outcome:
        context.wait_for("sql", "port 1")
        working.set()
        return await hang(context)

    async def confirm_stopped(context: StepContext) -> bool:
        await confirm_latch.wait()
        return True

    stage = Stage("act", LANE, act, confirm_stopped=confirm_stopped)
    async with open_engine(Operation("op", (stage,)), clock=clock) as engine:
        dag_id = await submit(engine, "op", "a")
        await working.wait()
        clock.advance(5)
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await confirm_latch.reached.wait()
        wait = engine.explain_wait(dag_id, 1)
        assert wait is not None
        assert (wait.kind, wait.on) == ("proof", "the end of 'act'")
        assert wait.since_at == clock.now()
        confirm_latch.open()
        await engine.wait(dag_id)
        assert engine.explain_wait(dag_id, 1) is None


@pytest.mark.parametrize(
    ("error", "expected_line"),
    [
        (DagengineError("no way to look"), "is not confirmed: no way to look"),
        (ValueError("a defect"), "is not confirmed: ValueError: a defect"),
    ],
)
async def test_confirm_stopped_raising_leaves_result_unknown(
    open_engine: OpenEngine, error: Exception, expected_line: str
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
        assert expected_line in sub_task_of(detail, 1, "a").logs[-1].content


def _fail() -> Outcome:
    return BROKEN


def _crash() -> Outcome:
    raise ValueError("while it tidied up")


@pytest.mark.parametrize(
    ("end", "expected_line"),
    [(_fail, "it is broken"), (_crash, "stopped on ValueError: while it tidied up")],
)
async def test_attempt_failure_after_deadline_is_kept(
    open_engine: OpenEngine, end: Callable[[], Outcome], expected_line: str
) -> None:
    async def end_late(context: StepContext) -> Outcome:
        try:
            return await hang(context)
        except asyncio.CancelledError:
            return end()

    async with open_engine(
        Operation("op", (Stage("late", NORMAL, end_late, timeout_s=0.02),))
    ) as e:
        detail = await run(e)
        assert [a.outcome for a in await e.find_attempts(1)] == ["Failed"]
        lines = [line.content for line in sub_task_of(detail, 1, None).logs]
        assert len(lines) == 1
        assert expected_line in lines[0]


async def test_attempt_inner_timeout_error_fails_step(open_engine: OpenEngine) -> None:
    async def give_up(context: StepContext) -> Outcome:
        async with asyncio.timeout(0):
            return await hang(context)

    async with open_engine(op(give_up)) as engine:
        detail = await run(engine)
        assert [a.outcome for a in await engine.find_attempts(1)] == ["Failed"]
        assert "stopped on TimeoutError" in sub_task_of(detail, 1, None).logs[-1].content


async def test_step_context_mutation_is_invisible_to_other_steps(open_engine: OpenEngine) -> None:
    observed = []

    async def make(context: StepContext) -> Outcome:
        return Succeeded({"list": [1]})

    async def mutate_inputs(context: StepContext) -> Outcome:
        for _ in range(2):
            data, wish = context.data_of("s0"), context.params["wish"]
            assert data is not None
            observed.append((list(data["list"]), list(wish)))
            data["list"].append(2)
            wish.append(2)
        return Succeeded()

    async with open_engine(op(make, mutate_inputs, mutate_inputs)) as engine:
        assert (await end_of(engine, await submit(engine, wish=[1])))[0] is State.SUCCEED
    assert observed == [([1], [1])] * 4


def _raise_type_error() -> Outcome:
    return sorted(3)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("act", "part"),
    [
        (_raise_type_error, "stopped on TypeError: 'int' object is not iterable; see the log of"),
        (lambda: "done", "has a result that is 'done', which is not an outcome"),
        (lambda: Succeeded("done"), "the outcome Succeeded: data is 'done'; give a dict"),
    ],
)
async def test_mistake_in_step_names_step_and_no_server(
    open_engine: OpenEngine, act: Callable[[], Outcome], part: str
) -> None:
    async def step(context: StepContext) -> Outcome:
        return act()

    async with open_engine(op(step)) as engine:
        detail = await run(engine)
        line = sub_task_of(detail, 1, None).logs[-1].content
        assert part in line
        assert line.endswith(", then RETRY")
        assert "server" not in line


@pytest.mark.parametrize("answer", [None, "yes", 1])
async def test_confirm_stopped_returning_no_bool_leaves_result_unknown(
    open_engine: OpenEngine, answer: object
) -> None:
    async def confirm_stopped(context: StepContext) -> bool:
        return answer  # type: ignore[return-value]

    stage = Stage("act", LANE, hang, timeout_s=0.02, confirm_stopped=confirm_stopped)
    async with open_engine(Operation("op", (stage,))) as engine:
        detail = await run(engine, "a")
        assert [a.outcome for a in await engine.find_attempts(1)] == ["ResultUnknown"]
        line = sub_task_of(detail, 1, "a").logs[-1].content
        assert f"confirm_stopped returned {answer!r}, not True or False" in line


class UnprintableError(Exception):
    """An exception whose text cannot be read."""

    def __str__(self) -> str:
        raise UnprintableError


class HardError(BaseException):
    """An exception that `except Exception` does not catch."""


RAISED = [
    (UnprintableError(), "UnprintableError: the exception has no text"),
    (HardError("hard"), "HardError: hard"),
    (SystemExit(3), "SystemExit: 3"),
    (BaseExceptionGroup("several", [HardError()]), "BaseExceptionGroup: several"),
]


@pytest.mark.parametrize(
    ("error", "part"), [*RAISED, (GeneratorExit("own"), "GeneratorExit: own")], ids=repr_type
)
async def test_step_raising_any_exception_fails(
    open_engine: OpenEngine, error: BaseException, part: str
) -> None:
    async def step(context: StepContext) -> Outcome:
        raise error

    async with open_engine(op(step)) as engine:
        detail = await run(engine)
        assert detail.dag.state is State.FAILED
        assert f"'s0' stopped on {part}" in sub_task_of(detail, 1, None).logs[-1].content
        assert [a.outcome for a in await engine.find_attempts(1)] == ["Failed"]


@pytest.mark.parametrize(("error", "part"), RAISED, ids=repr_type)
async def test_confirm_stopped_raising_any_exception_ends_attempt(
    open_engine: OpenEngine, error: BaseException, part: str
) -> None:
    async def confirm_stopped(context: StepContext) -> bool:
        raise error

    stage = Stage("act", LANE, hang, timeout_s=0.02, confirm_stopped=confirm_stopped)
    async with open_engine(Operation("op", (stage,))) as engine:
        detail = await run(engine, "a")
        assert [a.outcome for a in await engine.find_attempts(1)] == ["ResultUnknown"]
        assert part in sub_task_of(detail, 1, "a").logs[-1].content
