"""Arguments that a step passes to its StepContext: wrong types are refused by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dagengine import Outcome, State, StepContext, Succeeded
from tests.support.engine_script import OpenEngine
from tests.support.minimal_operations import op, submit, succeed

Call = Callable[[Any], Awaitable[object] | object]

WRONG: dict[str, tuple[Call, str]] = {
    "log bytes": (lambda c: c.log(b"x"), "log | line is b'x'"),
    "log None": (lambda c: c.log(None), "log | line is None"),
    "log number": (lambda c: c.log(5), "log | line is 5"),
    "log list": (lambda c: c.log(["x"] * 1000), "log | line is ['x', 'x'"),
    "kind": (lambda c: c.wait_for(5, "x"), "wait_for | kind is 5"),
    "on": (lambda c: c.wait_for("x", None), "wait_for | on is None"),
    "last": (lambda c: c.wait_for("x", "y", last=OSError()), "wait_for | last is OSError()"),
    "next text": (lambda c: c.wait_for("x", "y", next_in_s="5"), "wait_for | next_in_s is '5'"),
    "next NaN": (
        lambda c: c.wait_for("x", "y", next_in_s=float("nan")),
        "wait_for | next_in_s is nan",
    ),
    "next endless": (
        lambda c: c.wait_for("x", "y", next_in_s=float("inf")),
        "wait_for | next_in_s is inf",
    ),
    "next bool": (lambda c: c.wait_for("x", "y", next_in_s=True), "wait_for | next_in_s is True"),
    "stage": (lambda c: c.data_of(1), "data_of | stage_name is 1"),
    "target": (lambda c: c.data_of("s0", 1), "data_of | target is 1"),
    "row id": (lambda c: c.id_of("7"), "id_of | dag_id is '7'"),
    "row id bool": (lambda c: c.id_of(True), "id_of | dag_id is True"),
    "one id": (lambda c: c.acquire_lock("2123"), "acquire_lock | force_pass is '2123'"),
    "row ids": (lambda c: c.acquire_lock([7]), "acquire_lock | force_pass is [7]"),
    "holder": (lambda c: c.describe_holder("7"), "describe_holder | holder is '7'"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_step_wrong_argument_is_named_with_stage(open_engine: OpenEngine, name: str) -> None:
    call, expected = WRONG[name]

    async def step(context: StepContext) -> Outcome:
        result = call(context)
        if isinstance(result, Awaitable):
            await result
        return Succeeded()

    async with open_engine(op(step, name="bad"), op(succeed)) as engine:
        other, bad = await submit(engine), await submit(engine, "bad")
        assert (await engine.wait(other)).dag.state is State.SUCCEED
        detail = await engine.wait(bad)
        assert detail.dag.state is State.FAILED
        assert detail.nodes is not None
        line = detail.nodes[0].sub_tasks[0].logs[-1].content
    function, argument = expected.split(" | ")
    assert f"the call of {function} in stage 's0' of operation 'bad': {argument}" in line
    assert "; give " in line
    assert len(line) < 400


async def test_step_right_arguments_are_accepted(open_engine: OpenEngine) -> None:
    class Text(str):
        """A text of a library."""

        __slots__ = ()

    async def step(context: StepContext) -> Outcome:
        await context.log(Text("line"))
        context.wait_for("x", "y", next_in_s=-0.5)
        context.wait_for("x", "y", last="z", next_in_s=3)
        assert context.data_of("s0", None) is None
        assert context.id_of(context.dag_id) == context.generic_id
        reply = await context.acquire_lock(("not an id",))
        assert reply.holder is None
        return Succeeded()

    async with open_engine(op(step, lock_key="k")) as engine:
        detail = await engine.wait(await submit(engine))
        assert detail.dag.state is State.SUCCEED, detail
