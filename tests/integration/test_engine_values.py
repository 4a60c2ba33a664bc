"""What a step or a caller gives is kept as it will be read again, or refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dagengine import Failed, Interrupted, Operator, Outcome, Problem, State, StepContext, Succeeded
from dagengine.errors import NotSerializable
from dagengine.testing import Latch
from tests.integration.engine_world import Open, open_engine
from tests.integration.small_operations import end_of, hang, op, submit, succeed

__all__ = ["open_engine"]  # a fixture

HALF = "\ud800"  # half a surrogate pair: no text that can be encoded


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Succeeded({"x": {1, 2}}), "'s0' has a result that cannot be stored"),
        (Succeeded({"x": float("nan")}), "'s0' has a result that cannot be stored"),
        (Succeeded(evidence={"x": HALF}), "'s0' has a result that cannot be stored"),
        (Failed(Problem("X", f"no file {HALF}")), r"no file \ud800"),
        (None, "stopped on TypeError: a step returned None, which is not an outcome"),
        (Interrupted(), "stopped on TypeError: a step returned Interrupted()"),
    ],
)
async def test_a_result_that_cannot_be_kept_fails_its_own_step_only(
    open_engine: Open, outcome: Any, said: str
) -> None:
    async def bad(context: StepContext) -> Any:
        return outcome

    async with open_engine(op(bad, name="bad"), op(succeed)) as engine:
        ids = await asyncio.gather(*(submit(engine, name) for name in ("op", "bad", "op")))
        ends = [(await end_of(engine, dag_id))[0] for dag_id in ids]
        assert ends == [State.SUCCEED, State.FAILED, State.SUCCEED]
        (task,) = (await engine.wait(ids[1])).nodes[0].sub_tasks  # type: ignore[index]
        assert said in task.logs[-1].content


async def cancel_own_task(context: StepContext) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return Succeeded()


async def wait_for_what_was_cancelled(context: StepContext) -> Outcome:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future
    return Succeeded()


@pytest.mark.parametrize("step", [cancel_own_task, wait_for_what_was_cancelled])
async def test_a_cancel_that_nobody_asked_for_fails_its_step(open_engine: Open, step: Any) -> None:
    async with open_engine(op(step)) as engine:
        assert await end_of(engine, await submit(engine)) == (State.FAILED, Operator.RUN)
        (line,) = await engine.find_logs(1)
        assert "'s0' stopped on CancelledError" in line.content


async def test_a_line_that_is_no_text_is_written_out(open_engine: Open) -> None:
    async def say(context: StepContext) -> Outcome:
        await context.log(f"read {HALF}")
        return Succeeded()

    async with open_engine(op(say)) as engine:
        assert (await end_of(engine, await submit(engine)))[0] is State.SUCCEED
        (line,) = await engine.find_logs(1)
        assert line.content == r"read \ud800"


async def test_parameters_that_cannot_be_kept_are_refused_and_nothing_is_made(
    open_engine: Open,
) -> None:
    async with open_engine(op(succeed)) as engine:
        for value in ({1}, HALF, float("inf")):
            with pytest.raises(NotSerializable):
                await submit(engine, x=value)
        with pytest.raises(NotSerializable):
            await submit(engine, "op", HALF)
        assert await engine.list_dags(limit=9, details=False) == ()


async def test_a_reason_that_is_no_text_is_written_out(open_engine: Open) -> None:
    async with open_engine(op(hang)) as engine:
        dag_id = await submit(engine)
        await engine.operate_dag(dag_id, Operator.CANCEL, by=HALF, reason=HALF)
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)
        asked = (await engine.list_audit(dag_id))[0]
        assert (asked.by, asked.reason) == (r"\ud800", r"\ud800")


async def test_a_step_sees_after_a_restart_what_it_saw_before(open_engine: Open) -> None:
    seen: list[Any] = []
    gate = Latch()

    async def first(context: StepContext) -> Outcome:
        given: Any = context.params
        given["zones"].append("of this step's own")
        return Succeeded({"ports": (1, 2)})

    async def second(context: StepContext) -> Outcome:
        seen.append((context.params, context.data_of("s0")))
        await gate.wait()
        return Succeeded()

    mine = {"zones": ["z1"], "pair": (1, 2)}
    async with open_engine(op(first, second)) as engine:
        dag_id = await submit(engine, **mine)
        mine["zones"].append("of the caller's own")  # type: ignore[union-attr]
        await gate.reached.wait()
    gate.open()
    async with open_engine(op(first, second)) as engine:
        await engine.wait(dag_id)
    expected = {"zones": ["z1"], "pair": [1, 2]}, {"ports": [1, 2]}
    assert seen == [expected, expected]
