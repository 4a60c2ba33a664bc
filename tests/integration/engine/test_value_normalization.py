"""Values from steps and callers are normalized as the store returns them, or refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dagengine import Failed, Interrupted, Operator, Outcome, Problem, State, StepContext, Succeeded
from dagengine.errors import NotSerializable
from dagengine.testing import Latch
from tests.support.engine_script import OpenEngine
from tests.support.minimal_operations import end_of, hang, op, submit, succeed

LONE_SURROGATE = "\ud800"  # half a surrogate pair: no text that can be encoded


@pytest.mark.parametrize(
    ("outcome", "expected_line"),
    [
        (Succeeded({"x": {1, 2}}), "'s0' has a result that cannot be stored"),
        (Succeeded({"x": float("nan")}), "'s0' has a result that cannot be stored"),
        (Succeeded(evidence={"x": LONE_SURROGATE}), "'s0' has a result that cannot be stored"),
        (Failed(Problem("X", f"no file {LONE_SURROGATE}")), r"no file \ud800"),
        (None, "has a result that is None, which is not an outcome"),
        (Interrupted(), "has a result that is Interrupted(), which"),
    ],
)
async def test_outcome_not_serializable_fails_its_step_only(
    open_engine: OpenEngine, outcome: Any, expected_line: str
) -> None:
    async def bad(context: StepContext) -> Any:
        return outcome

    async with open_engine(op(bad, name="bad"), op(succeed)) as engine:
        ids = await asyncio.gather(*(submit(engine, name) for name in ("op", "bad", "op")))
        ends = [(await end_of(engine, dag_id))[0] for dag_id in ids]
        assert ends == [State.SUCCEED, State.FAILED, State.SUCCEED]
        (task,) = (await engine.wait(ids[1])).nodes[0].sub_tasks  # type: ignore[index]
        assert expected_line in task.logs[-1].content


async def cancel_own_task(context: StepContext) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return Succeeded()


async def await_cancelled_future(context: StepContext) -> Outcome:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future
    return Succeeded()


@pytest.mark.parametrize("step", [cancel_own_task, await_cancelled_future])
async def test_attempt_unrequested_cancellation_fails_step(
    open_engine: OpenEngine, step: Any
) -> None:
    async with open_engine(op(step)) as engine:
        assert await end_of(engine, await submit(engine)) == (State.FAILED, Operator.RUN)
        (line,) = await engine.find_logs(1)
        assert "'s0' stopped on CancelledError" in line.content


async def test_context_log_invalid_text_is_escaped(open_engine: OpenEngine) -> None:
    async def log_line(context: StepContext) -> Outcome:
        await context.log(f"read {LONE_SURROGATE}")
        return Succeeded()

    async with open_engine(op(log_line)) as engine:
        assert (await end_of(engine, await submit(engine)))[0] is State.SUCCEED
        (line,) = await engine.find_logs(1)
        assert line.content == r"read \ud800"


async def test_submit_not_serializable_params_are_refused(
    open_engine: OpenEngine,
) -> None:
    async with open_engine(op(succeed)) as engine:
        for value in ({1}, LONE_SURROGATE, float("inf")):
            with pytest.raises(NotSerializable):
                await submit(engine, x=value)
        with pytest.raises(NotSerializable):
            await submit(engine, "op", LONE_SURROGATE)
        assert await engine.list_dags(limit=9, details=False) == ()


async def test_operate_dag_invalid_text_in_reason_is_escaped(open_engine: OpenEngine) -> None:
    async with open_engine(op(hang)) as engine:
        dag_id = await submit(engine)
        await engine.operate_dag(dag_id, Operator.CANCEL, by=LONE_SURROGATE, reason=LONE_SURROGATE)
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)
        audit_row = (await engine.list_audit(dag_id))[0]
        assert (audit_row.by, audit_row.reason) == (r"\ud800", r"\ud800")


async def test_step_context_values_are_equal_after_restart(open_engine: OpenEngine) -> None:
    observed: list[Any] = []
    latch = Latch()

    async def first(context: StepContext) -> Outcome:
        own_params: Any = context.params
        own_params["zones"].append("of this step's own")
        return Succeeded({"ports": (1, 2)})

    async def second(context: StepContext) -> Outcome:
        observed.append((context.params, context.data_of("s0")))
        await latch.wait()
        return Succeeded()

    submitted = {"zones": ["z1"], "pair": (1, 2)}
    async with open_engine(op(first, second)) as engine:
        dag_id = await submit(engine, **submitted)
        submitted["zones"].append("of the caller's own")  # type: ignore[union-attr]
        await latch.reached.wait()
    latch.open()
    async with open_engine(op(first, second)) as engine:
        await engine.wait(dag_id)
    expected = {"zones": ["z1"], "pair": [1, 2]}, {"ports": [1, 2]}
    assert observed == [expected, expected]
