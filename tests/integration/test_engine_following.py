"""Following a DAG: its events, and what it waits for while it does not move."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dagengine import DagUpdated, LineLogged, Outcome, State, StepContext, Succeeded
from dagengine.engine import events
from dagengine.testing import FakeClock, Latch, gated
from tests.integration.engine_world import (
    Open,
    Script,
    hold_at,
    how,
    open_engine,
    run,
    script,
    submit,
    task,
)
from tests.integration.small_operations import op

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
                    if isinstance(event, DagUpdated) and event.state.is_final:
                        return

            await asyncio.gather(follow(), engine.wait(dag_id))
        moved = [e.state for e in seen if isinstance(e, DagUpdated)]
        assert moved[0] is State.RUNNING
        assert moved[-1] is State.SUCCEED
        assert sum(isinstance(e, LineLogged) for e in seen) == 6


async def test_a_reader_that_is_too_slow_loses_the_oldest_events_and_never_the_end(
    open_engine: Open, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BACKLOG", 3)
    async with open_engine(script.operation()) as engine:
        with engine.subscribe() as every:
            dag_id = await submit(engine)
            with engine.subscribe(dag_id) as slow:
                await engine.wait(dag_id)  # nobody reads meanwhile
                came = [await slow.next() for _ in range(3)]
        assert isinstance(came[-1], DagUpdated)
        assert came[-1].state is State.SUCCEED
        assert slow.missed > 0
        assert every.missed >= slow.missed
        assert [await every.next() for _ in range(3)] == came


async def test_whoever_waits_is_told_the_end_though_its_events_are_too_many(
    open_engine: Open, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BACKLOG", 1)
    async with open_engine(script.operation()) as engine:
        detail = await run(engine, "a", "b", "c")
        assert how(detail) == ("SUCCEED", "RUN", 4)


async def test_a_wait_that_is_told_again_has_lasted_since_it_was_told_first(
    open_engine: Open,
) -> None:
    clock, waits = FakeClock(), []
    begun = clock.now()

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
            waits.append((wait.since_at - begun).total_seconds())
        return Succeeded()

    async with open_engine(op(step), clock=clock) as engine:
        assert how(await run(engine)) == ("SUCCEED", "RUN", 1)
    assert waits == [1, 1, 3, 4, 5]


async def test_every_unfinished_sub_task_says_what_it_waits_for(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()

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
