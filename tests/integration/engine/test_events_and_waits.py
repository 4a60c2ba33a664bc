"""Events of a DAG, and its waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dagengine import DagUpdated, LineLogged, Outcome, State, StepContext, Succeeded
from dagengine.engine import events
from dagengine.testing import FakeClock, Latch, gated
from tests.support.engine_script import (
    OpenEngine,
    Script,
    dag_state,
    run,
    sub_task_of,
    submit,
    submit_until_latch,
)
from tests.support.minimal_operations import op


async def test_subscription_events_follow_commit_in_order(
    open_engine: OpenEngine, script: Script
) -> None:
    async with open_engine(script.operation()) as engine:
        received: list[Any] = []
        with engine.subscribe() as subscription:
            dag_id = await submit(engine)

            async def follow() -> None:
                async for event in subscription:
                    received.append(event)
                    stored = await engine.find_dag(event.dag_id)
                    assert stored is not None
                    if getattr(event, "state", None) is State.SUCCEED and hasattr(event, "target"):
                        assert sub_task_of(stored, event.stage, event.target).sub_task.state is (
                            State.SUCCEED
                        )
                    if isinstance(event, DagUpdated) and event.state.is_final:
                        return

            await asyncio.gather(follow(), engine.wait(dag_id))
        moved = [e.state for e in received if isinstance(e, DagUpdated)]
        assert moved[0] is State.RUNNING
        assert moved[-1] is State.SUCCEED
        assert sum(isinstance(e, LineLogged) for e in received) == 6


async def test_subscription_slow_reader_loses_only_oldest_events(
    open_engine: OpenEngine, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BACKLOG", 3)
    async with open_engine(script.operation()) as engine:
        with engine.subscribe() as every:
            dag_id = await submit(engine)
            with engine.subscribe(dag_id) as slow:
                await engine.wait(dag_id)  # unread so far
                last_events = [await slow.next() for _ in range(3)]
        assert isinstance(last_events[-1], DagUpdated)
        assert last_events[-1].state is State.SUCCEED
        assert slow.missed > 0
        assert every.missed >= slow.missed
        assert [await every.next() for _ in range(3)] == last_events


async def test_engine_wait_returns_despite_event_overflow(
    open_engine: OpenEngine, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BACKLOG", 1)
    async with open_engine(script.operation()) as engine:
        detail = await run(engine, "a", "b", "c")
        assert dag_state(detail) == ("SUCCEED", "RUN", 4)


async def test_wait_for_repeated_keeps_since_at(
    open_engine: OpenEngine,
) -> None:
    clock, waits = FakeClock(), []
    started_at = clock.now()

    async def step(context: StepContext) -> Outcome:
        for kind, on, last in (
            ("sql", "port 1", "refused"),
            ("sql", "port 1", "not ready"),
            ("sql", "port 2", ""),
            ("ssh", "port 2", ""),
            ("sql", "port 1", ""),
        ):
            clock.advance(1)
            context.wait_for(kind, on, last=last, next_in_s=5)
            wait = engine.explain_wait(context.dag_id, 1)
            assert wait is not None
            assert (wait.kind, wait.on, wait.last) == (kind, on, last)
            assert wait.next_at == clock.now() + timedelta(seconds=5)
            waits.append((wait.since_at - started_at).total_seconds())
        return Succeeded()

    async with open_engine(op(step), clock=clock) as engine:
        assert dag_state(await run(engine)) == ("SUCCEED", "RUN", 1)
    assert waits == [1, 1, 3, 4, 5]


async def test_find_dag_explains_wait_of_each_unfinished_sub_task(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()

    async def hold(context: StepContext) -> None:
        if context.target == "a":
            context.wait_for("sql", "port 2881", last="refused", next_in_s=1)
            await latch.wait()

    async with open_engine(gated(script.operation(), "check", before=hold)) as engine:
        dag_id = await submit_until_latch(engine, latch)
        detail = await engine.find_dag(dag_id)
        assert detail is not None
        wait = sub_task_of(detail, 2, "a").wait
        assert (wait.kind, wait.on, wait.last) == ("sql", "port 2881", "refused")
        assert wait.deadline_at is not None
        assert wait.next_at > wait.since_at
        assert (sub_task_of(detail, 3, "a").wait.kind, sub_task_of(detail, 3, "a").wait.on) == (
            "stage",
            "'check' of a",
        )
        assert sub_task_of(detail, 4, None).wait.kind == "stage"
        assert sub_task_of(detail, 1, None).wait is None
        latch.open()
        ended = await engine.wait(dag_id)
        assert ended.nodes is not None
        assert all(t.wait is None for node in ended.nodes for t in node.sub_tasks)
