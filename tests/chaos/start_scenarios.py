"""Scenarios of the chaos suite: an operation with effects outside the store, and its users.

The effects are files: `up-<target>` is a running server. As in real steps, a step probes before it
acts; `launches` counts every launch. `responses` records every response to a caller: after a crash
the store must contain all of it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagengine import (
    DagRecord,
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
from dagengine.testing import eventually

FLAGS = Flags(can_rollback=True)
TARGETS = ("a", "b")
HOLDER, SUCCESSOR = ("b",), ("a",)


@dataclass(frozen=True)
class ChaosEnvironment:
    """One directory; everything in it outlives the process."""

    directory: Path
    broken: frozenset[str] = frozenset()  #: targets that do not start until they are repaired
    hanging: frozenset[str] = frozenset()  #: targets whose start never ends by itself

    # --- environment ------------------------------------------------------------------------

    @contextmanager
    def shared_resources(self) -> Iterator[None]:
        """Set up everything that exists before the first child and outlives all of them."""
        yield

    @asynccontextmanager
    async def child_resources(self) -> AsyncIterator[None]:
        """Set up everything that a child needs in addition to its engine."""
        yield

    def check_effects(self) -> None:
        """Check conditions outside the store that hold at any moment."""
        launches = Counter(target for (target,) in self.notes("launches"))
        assert all(count == 1 for count in launches.values()), f"started twice: {launches}"

    def note(self, name: str, *words: object) -> None:
        """Append a line in one write, so that it is complete if the process ends right after."""
        file = os.open(self.directory / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.write(file, (json.dumps(words) + "\n").encode())
        finally:
            os.close(file)

    def notes(self, name: str) -> list[list[Any]]:
        path = self.directory / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def is_up(self, target: str) -> bool:
        return (self.directory / f"up-{target}").exists()

    def repair(self) -> None:
        (self.directory / "repaired").touch()

    @property
    def is_repaired(self) -> bool:
        return (self.directory / "repaired").exists()

    # --- the operation ------------------------------------------------------------------------

    def operation(self) -> Operation:
        normal, lane = StageKind.NORMAL, StageKind.PARALLEL
        return Operation(
            "op",
            (
                Stage("lock", normal, self.lock, flags=FLAGS),
                Stage("check", lane, self.check, flags=FLAGS),
                Stage(
                    "start",
                    lane,
                    self.start,
                    flags=FLAGS,
                    undo=self.stop,
                    confirm_stopped=self.confirm_stopped,
                ),
                Stage("verify", normal, self.verify, flags=FLAGS),
            ),
            lock_key="k",
            takes_lock="lock",
        )

    def submission(self, targets: tuple[str, ...], *force: str) -> Submission:
        return Submission("op", targets, {"force_pass": list(force)})

    async def record_line(self, context: StepContext, line: str) -> None:
        await context.log(line)
        self.note("responses", "line", context.dag_id, line)

    async def lock(self, context: StepContext) -> Outcome:
        reply = await context.acquire_lock(context.params["force_pass"])
        if reply.holder is not None:
            return Failed(Problem("Test.Locked", "held"))
        await self.record_line(context, "took the lock")
        return Succeeded()

    async def check(self, context: StepContext) -> Outcome:
        await self.record_line(context, f"{context.target} is there")
        return Succeeded()

    async def start(self, context: StepContext) -> Outcome:
        target = context.target or ""
        if target in self.broken and not self.is_repaired:
            return Failed(Problem("Test.Broken", f"{target} is broken", "repair it"))
        if target in self.hanging:
            self.note("hangs", context.dag_id)
            await asyncio.Event().wait()
        if not self.is_up(target):
            (self.directory / f"up-{target}").write_text(str(context.dag_id))
            self.note("launches", target)
        await self.record_line(context, f"{target} runs")
        return Succeeded({"target": target})

    async def stop(self, context: StepContext) -> Outcome:
        up = self.directory / f"up-{context.target}"
        if up.exists() and up.read_text() == str(context.dag_id):
            up.unlink()
        await self.record_line(context, f"{context.target} stopped")
        return Succeeded()

    async def confirm_stopped(self, context: StepContext) -> bool:
        self.note("confirmed", context.dag_id)
        return True

    async def verify(self, context: StepContext) -> Outcome:
        if not all(self.is_up(target) for target in context.healthy_targets):
            return Failed(Problem("Test.Down", "not all are up"))
        return Succeeded(summary=f"{len(context.healthy_targets)} up")

    # --- users, who return after every crash --------------------------------------------------

    async def submit(self, engine: Engine, targets: tuple[str, ...], *force: str) -> int:
        """Return the DAG on these targets: the existing one, or a new one."""
        for detail in await engine.list_dags(limit=9, details=False):
            if detail.dag.targets == targets:
                return detail.dag.dag_id
        dag_id = (await engine.submit(self.submission(targets, *force), by="chaos")).dag.dag_id
        self.note("responses", "accepted", dag_id)
        return dag_id

    async def operate(self, engine: Engine, dag_id: int, operator: Operator) -> None:
        await engine.operate_dag(dag_id, operator, by="chaos")
        self.note("responses", "operated", dag_id, operator)

    async def end_of(self, engine: Engine, dag_id: int) -> DagRecord:
        return (await engine.wait(dag_id)).dag

    async def wait_until_hanging(self, engine: Engine, dag_id: int) -> bool:
        """Return True once the DAG's step hangs, False if the DAG has ended."""
        before = len(self.notes("hangs"))
        is_ended = False

        async def is_decided() -> bool:
            nonlocal is_ended
            current = await engine.find_dag(dag_id, details=True)
            assert current is not None
            assert current.nodes is not None
            is_ended = current.dag.state.is_final or current.dag.operator is Operator.CANCEL
            is_hanging = any(
                entry.sub_task.state is State.RUNNING for entry in current.nodes[2].sub_tasks
            )
            return is_ended or is_hanging or len(self.notes("hangs")) > before

        await eventually(is_decided, every_s=0.002, what="a step that hangs")
        return not is_ended


Scenario = Callable[[ChaosEnvironment, Engine], Awaitable[None]]


async def start(environment: ChaosEnvironment, engine: Engine) -> None:
    dag = await environment.end_of(engine, await environment.submit(engine, TARGETS))
    assert dag.state is State.SUCCEED, dag
    assert all(environment.is_up(target) for target in TARGETS)


async def failing_lane(environment: ChaosEnvironment, engine: Engine) -> None:
    dag = await environment.end_of(engine, await environment.submit(engine, TARGETS))
    assert (dag.state, dag.stage) == (State.FAILED, 3), dag
    assert not environment.is_up("a")
    assert environment.is_up("b")


async def retry(environment: ChaosEnvironment, engine: Engine) -> None:
    dag_id = await environment.submit(engine, TARGETS)
    dag = await environment.end_of(engine, dag_id)
    if dag.state is State.FAILED:
        environment.repair()
        await environment.operate(engine, dag_id, Operator.RETRY)
        dag = await environment.end_of(engine, dag_id)
    assert dag.state is State.SUCCEED, dag
    assert all(environment.is_up(target) for target in TARGETS)


async def rollback(environment: ChaosEnvironment, engine: Engine) -> None:
    dag_id = await environment.submit(engine, TARGETS)
    dag = await environment.end_of(engine, dag_id)
    if dag.state is State.FAILED:
        await environment.operate(engine, dag_id, Operator.ROLLBACK)
        dag = await environment.end_of(engine, dag_id)
    assert (dag.state, dag.operator) == (State.SUCCEED, Operator.ROLLBACK), dag
    assert not any(environment.is_up(target) for target in TARGETS)


async def cancel(environment: ChaosEnvironment, engine: Engine) -> None:
    dag_id = await environment.submit(engine, TARGETS)
    if await environment.wait_until_hanging(engine, dag_id):
        await environment.operate(engine, dag_id, Operator.CANCEL)
    dag = await environment.end_of(engine, dag_id)
    assert (dag.state, dag.operator) == (State.FAILED, Operator.CANCEL), dag
    assert environment.notes("confirmed"), "its end was not confirmed"


async def force_pass(environment: ChaosEnvironment, engine: Engine) -> None:
    holder_id = await environment.submit(engine, HOLDER)
    dags = await engine.list_dags(limit=9, details=False)
    if not any(detail.dag.targets == SUCCESSOR for detail in dags):
        await environment.wait_until_hanging(engine, holder_id)
    successor_id = await environment.submit(engine, SUCCESSOR, engine.generic_id(holder_id))
    successor = await environment.end_of(engine, successor_id)
    holder = await environment.end_of(engine, holder_id)
    assert successor.state is State.SUCCEED, successor
    assert (holder.state, holder.operator) == (State.SUCCEED, Operator.PASS), holder
    assert [row.action for row in await engine.list_audit(holder_id)].count("FORCE_PASS") == 1


SCENARIOS: dict[str, tuple[Scenario, type[ChaosEnvironment], dict[str, Any]]] = {
    "start": (start, ChaosEnvironment, {}),
    "failing_lane": (failing_lane, ChaosEnvironment, {"broken": frozenset("a")}),
    "retry": (retry, ChaosEnvironment, {"broken": frozenset("a")}),
    "rollback": (rollback, ChaosEnvironment, {"broken": frozenset("a")}),
    "cancel": (cancel, ChaosEnvironment, {"hanging": frozenset("b")}),
    "force_pass": (force_pass, ChaosEnvironment, {"hanging": frozenset("b")}),
}
