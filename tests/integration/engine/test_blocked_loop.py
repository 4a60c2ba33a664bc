"""A step that blocks the event loop is logged with its name; the other DAGs continue after it."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from dagengine import Operation, Outcome, Stage, State, StepContext, Submission, Succeeded
from dagengine.testing import eventually
from tests.support.engine_script import LANE, OpenEngine
from tests.support.minimal_operations import op, submit, succeed


# The watchdog needs up to two seconds to notice a blocked loop, and more on a busy machine.
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4, 6])
async def test_blocked_loop_is_logged_with_name_of_step(
    open_engine: OpenEngine, seconds: float
) -> None:
    async def block(context: StepContext) -> Outcome:
        threading.Event().wait(seconds)
        return Succeeded()

    blocking = Operation("blocking", (Stage("Compress", LANE, block),))
    with capture_logs() as logs:
        async with open_engine(blocking, op(succeed, succeed, name="other")) as engine:
            accepted = await engine.submit(Submission("blocking", ("host1",)))
            other_id = await submit(engine, "other")
            for dag_id in (accepted.dag.dag_id, other_id):
                assert (await engine.wait(dag_id)).dag.state is State.SUCCEED

            async def has_resumed() -> bool:
                return "event_loop_resumed" in [line["event"] for line in logs]

            await eventually(has_resumed, what="the second log line")
    blocked, resumed = [line for line in logs if line["event"].startswith("event_loop")]
    for line in (blocked, resumed):
        assert (line["operation"], line["stage"], line["target"]) == (
            *("blocking", "Compress", "host1"),
        )
        assert line["dag_id"] == accepted.dag.dag_id
        assert f"block ({__file__}:" in line["at"]
    assert 1 <= blocked["blocked_s"] < seconds
    assert resumed["blocked_s"] > seconds - 2
