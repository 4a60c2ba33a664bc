"""Minimal steps and operations for tests of the engine."""

from __future__ import annotations

import asyncio
from typing import Any

from dagengine import (
    Engine,
    Operation,
    Operator,
    Outcome,
    Stage,
    State,
    StepContext,
    Submission,
    Succeeded,
)
from tests.support.engine_script import BROKEN, NORMAL


async def succeed(context: StepContext) -> Outcome:
    return Succeeded()


async def hang(context: StepContext) -> Outcome:
    await asyncio.Event().wait()
    return Succeeded()


async def take_lock(context: StepContext) -> Outcome:
    reply = await context.acquire_lock(context.params.get("force", ()))
    return Succeeded() if reply.holder is None else BROKEN


def op(*steps: Any, name: str = "op", **more: Any) -> Operation:
    """An operation whose stages s0, s1, … run these steps."""
    stages = tuple(Stage(f"s{number}", NORMAL, step) for number, step in enumerate(steps))
    takes_lock = "s0" if "lock_key" in more else None
    return Operation(name, stages, **{"takes_lock": takes_lock, **more})


async def submit(engine: Engine, name: str = "op", *targets: str, **params: Any) -> int:
    return (await engine.submit(Submission(name, targets, params))).dag.dag_id


async def is_lock_successor(engine: Engine, holder_id: int, dag_id: int) -> bool:
    """Return whether a DAG waits for the lock of another one that was force-passed."""
    detail = await engine.find_dag(holder_id, details=False)
    return detail is not None and detail.dag.lock_successor_id == dag_id


async def end_of(engine: Engine, dag_id: int) -> tuple[State, Operator]:
    dag = (await engine.wait(dag_id)).dag
    return dag.state, dag.operator
