"""Scripted steps and shorthands for tests of an engine on a real store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from dagengine import (
    DagDetail,
    Engine,
    Failed,
    Flags,
    Operation,
    Operator,
    Outcome,
    Problem,
    Stage,
    StageKind,
    State,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.testing import Latch, gated

NORMAL, LANE = StageKind.NORMAL, StageKind.PARALLEL
ALL = Flags(can_rollback=True)
LOCKED: dict[str, Any] = {"lock_key": "k", "takes_lock": "lock"}
BROKEN = Failed(Problem("Test.Broken", "it is broken", "repair it"))


class Script:
    """Steps with scripted outcomes, and counts of their runs."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str | None], Outcome] = {}
        self.ran: Counter[tuple[str, str | None]] = Counter()
        self.undone: Counter[tuple[str, str | None]] = Counter()
        self.undo_fails: set[tuple[str, str | None]] = set()

    def stage(self, name: str, kind: StageKind, **more: Any) -> Stage:
        async def run(context: StepContext) -> Outcome:
            self.ran[name, context.target] += 1
            await context.log(f"{name} ran")
            return self.outcomes.get((name, context.target), Succeeded({"from": name}))

        async def undo(context: StepContext) -> Outcome:
            self.undone[name, context.target] += 1
            return BROKEN if (name, context.target) in self.undo_fails else Succeeded()

        flags = more.pop("flags", ALL)
        return Stage(
            name,
            kind,
            run,
            **{"flags": flags, "undo": undo if flags.can_rollback else None, **more},
        )

    def lock_stage(self) -> Stage:
        async def run(context: StepContext) -> Outcome:
            reply = await context.acquire_lock(context.params.get("force_pass", ()))
            if reply.holder is None:
                await context.log("broken" if reply.was_forced else "taken")
                return Succeeded()
            return Failed(Problem("Test.Locked", await context.describe_holder(reply.holder)))

        return Stage("lock", NORMAL, run, flags=ALL)

    def operation(self, **changes: Any) -> Operation:
        stages = (
            self.lock_stage(),
            self.stage("check", LANE),
            self.stage("start", LANE),
            self.stage("verify", NORMAL),
        )
        return replace(Operation("op", stages, lock_key="k", takes_lock="lock"), **changes)


OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]


async def submit(engine: Engine, *targets: str, **params: Any) -> int:
    accepted = await engine.submit(Submission("op", targets or ("a", "b"), params))
    assert accepted.dag.state is State.READY
    return accepted.dag.dag_id


async def run(engine: Engine, *targets: str, **params: Any) -> DagDetail:
    return await engine.wait(await submit(engine, *targets, **params))


async def operate(engine: Engine, dag_id: int, operator: Operator) -> DagDetail:
    await engine.operate_dag(dag_id, operator, by="tester")
    return await engine.wait(dag_id)


def states(detail: DagDetail) -> list[str]:
    assert detail.nodes is not None
    return [f"{n.node.state}+{n.node.operator}" for n in detail.nodes]


def sub_task_of(detail: DagDetail, stage: int, target: str | None) -> Any:
    assert detail.nodes is not None
    tasks = detail.nodes[stage - 1].sub_tasks
    return next(entry for entry in tasks if entry.sub_task.target == target)


def dag_state(detail: DagDetail) -> tuple[str, str, int]:
    return str(detail.dag.state), str(detail.dag.operator), detail.dag.stage


def with_latch(operation: Operation, stage_name: str, latch: Latch, *targets: str) -> Operation:
    """Return the operation with a stage whose steps, or those of `targets`, wait at a latch."""

    async def wait(context: StepContext) -> None:
        if not targets or context.target in targets:
            await latch.wait()

    return gated(operation, stage_name, before=wait)


async def submit_until_latch(engine: Engine, latch: Latch, *targets: str) -> int:
    """Submit a DAG, and wait until one of its steps waits at the latch."""
    dag_id = await submit(engine, *targets)
    await latch.reached.wait()
    return dag_id
