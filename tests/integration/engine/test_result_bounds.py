"""Results and log output that are too large: what is kept, and what the DAG shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagengine import Failed, Outcome, Problem, State, StepContext, Succeeded
from dagengine.engine.step_context import MAX_LINES
from dagengine.lines import MAX_LINE_BYTES
from dagengine.model.json_values import MAX_JSON_CHARS
from tests.support.engine_script import BROKEN, OpenEngine, run, sub_task_of
from tests.support.minimal_operations import op

MIB = 2**20


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


@pytest.mark.parametrize(
    ("create", "name"),
    [
        (lambda: Succeeded({"text": "x" * 100 * MIB}), "data"),
        (lambda: Succeeded({"rows": [0] * MIB}), "data"),
        (lambda: Succeeded({"deep": {"rows": [["x" * 1000]] * MIB}}), "data"),
        (lambda: Succeeded({"k" * MIB: 1}), "data"),
        (lambda: Succeeded(evidence={"text": "x" * 2 * MIB}), "evidence"),
        (lambda: Failed(Problem("Test.X", "x"), {"text": "x" * 2 * MIB}), "evidence"),
        (lambda: Succeeded(cyclic()), "data"),
    ],
)
async def test_result_too_large_fails_attempt(
    open_engine: OpenEngine, create: Callable[[], Outcome], name: str
) -> None:
    async def step(context: StepContext) -> Outcome:
        return create()

    async with open_engine(op(step)) as engine:
        detail = await run(engine)
        assert detail.dag.state is State.FAILED
        line = sub_task_of(detail, 1, None).logs[-1].content
        assert f"is too large: its {name} has more than {MAX_JSON_CHARS} characters" in line
        assert "store the value elsewhere and return its location, then RETRY" in line


async def test_result_within_bounds_is_stored(open_engine: OpenEngine) -> None:
    data = {"text": "x" * (MAX_JSON_CHARS - 1000)}

    async def step(context: StepContext) -> Outcome:
        return Succeeded(data)

    async with open_engine(op(step)) as engine:
        detail = await run(engine)
        assert sub_task_of(detail, 1, None).sub_task.data == data


@pytest.mark.parametrize("place", ["log", "problem", "summary", "exception"])
async def test_line_too_long_keeps_both_ends(open_engine: OpenEngine, place: str) -> None:
    text = "begin" + "x" * 3 * MIB + "end"

    async def step(context: StepContext) -> Outcome:
        match place:
            case "log":
                await context.log(text)
                return BROKEN
            case "problem":
                return Failed(Problem("Test.X", text, text))
            case "exception":
                raise ValueError(text)
        return Succeeded(summary=text)

    async with open_engine(op(step)) as engine:
        task = sub_task_of(await run(engine), 1, None)
        stored = task.sub_task.summary if place == "summary" else task.logs[0].content
        assert len(stored) < 2 * MAX_LINE_BYTES
        assert "begin" in stored
        assert "omitted" in stored
        assert "end" in stored


@pytest.mark.slow
async def test_log_without_end_is_cut_and_fails_nothing(open_engine: OpenEngine) -> None:
    async def step(context: StepContext) -> Outcome:
        for number in range(MAX_LINES + 3):
            await context.log(f"line {number}")
        return Succeeded()

    async with open_engine(op(step)) as engine:
        detail = await run(engine)
        assert detail.dag.state is State.SUCCEED
        lines = [line.content for line in sub_task_of(detail, 1, None).logs]
        assert len(lines) == MAX_LINES + 1
        assert lines[-2] == f"line {MAX_LINES - 1}"
        assert (
            lines[-1]
            == f"WARN: the step has written {MAX_LINES} lines: its further lines are not stored"
        )
