"""Following a DAG: its events, and what it waits for while it does not move."""

from __future__ import annotations

import asyncio
from typing import Any

from dagengine import DagMoved, LineLogged, State, StepContext
from dagengine.testing import Gate, gated
from tests.integration.engine_world import Open, Script, hold_at, open_engine, script, submit, task

__all__ = ["open_engine", "script"]  # fixtures


async def test_events_come_after_they_are_durable_and_in_order(
    open_engine: Open, script: Script
) -> None:
    async with open_engine(script.operation()) as engine:
        seen: list[Any] = []
        with engine.subscribe() as subscription:
            dag_id = await submit(engine)

            async def follow() -> None:
                async for event in subscription:
                    seen.append(event)
                    stored = await engine.find_dag(event.dag_id)
                    assert stored is not None
                    if getattr(event, "state", None) is State.SUCCEED and hasattr(event, "target"):
                        assert task(stored, event.stage, event.target).sub_task.state is (
                            State.SUCCEED
                        )
                    if isinstance(event, DagMoved) and event.state.is_final:
                        return

            await asyncio.gather(follow(), engine.wait(dag_id))
        moved = [e.state for e in seen if isinstance(e, DagMoved)]
        assert moved[0] is State.RUNNING
        assert moved[-1] is State.SUCCEED
        assert sum(isinstance(e, LineLogged) for e in seen) == 6


async def test_every_unfinished_sub_task_says_what_it_waits_for(
    open_engine: Open, script: Script
) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        if context.target == "a":
            context.wait_for("sql", "port 2881", last="refused", next_in_s=1)
            await gate.wait()

    async with open_engine(gated(script.operation(), "check", before=hold)) as engine:
        dag_id = await hold_at(engine, gate)
        detail = await engine.find_dag(dag_id)
        assert detail is not None
        wait = task(detail, 2, "a").wait
        assert (wait.kind, wait.on, wait.last) == ("sql", "port 2881", "refused")
        assert wait.deadline_at is not None
        assert wait.next_at > wait.since_at
        assert (task(detail, 3, "a").wait.kind, task(detail, 3, "a").wait.on) == (
            "stage",
            "'check' of a",
        )
        assert task(detail, 4, None).wait.kind == "stage"
        assert task(detail, 1, None).wait is None
        gate.open()
        ended = await engine.wait(dag_id)
        assert ended.nodes is not None
        assert all(t.wait is None for node in ended.nodes for t in node.sub_tasks)
