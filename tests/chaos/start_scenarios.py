"""What the chaos suite runs: an operation with effects outside of the store, and users.

The effects are files: `up-<target>` is a server that runs. A step looks before it acts, as real
ones do; every launch is counted in `launches`. What callers were told is noted in `told`: after a
crash the store has to know all of it.
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
class World:
    """One directory; everything in it outlives the process."""

    directory: Path
    broken: frozenset[str] = frozenset()  #: targets that do not start until they are mended
    hanging: frozenset[str] = frozenset()  #: targets whose start never ends by itself

    # --- outside ----------------------------------------------------------------------------

    @contextmanager
    def outside(self) -> Iterator[None]:
        """What is there before the first child, and outlives each of them."""
        yield

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """What is there in a child, beside its engine."""
        yield

    def check_outside(self) -> None:
        """What must be true outside of the store at any moment."""
        launches = Counter(target for (target,) in self.notes("launches"))
        assert all(count == 1 for count in launches.values()), f"launched twice: {launches}"

    def note(self, name: str, *words: object) -> None:
        """Append a line in one write: it is there when the process ends right after."""
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
        (self.directory / "mended").touch()

    @property
    def is_repaired(self) -> bool:
        return (self.directory / "mended").exists()

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
        )

    def submission(self, targets: tuple[str, ...], *force: str) -> Submission:
        return Submission("op", targets, {"force_pass": list(force)})

    async def say(self, context: StepContext, line: str) -> None:
        await context.log(line)
        self.note("told", "line", context.dag_id, line)

    async def lock(self, context: StepContext) -> Outcome:
        reply = await context.acquire_lock(context.params["force_pass"])
        if reply.holder is not None:
            return Failed(Problem("Test.Locked", "held"))
        await self.say(context, "took the lock")
        return Succeeded()

    async def check(self, context: StepContext) -> Outcome:
        await self.say(context, f"{context.target} is there")
        return Succeeded()

    async def start(self, context: StepContext) -> Outcome:
        target = context.target or ""
        if target in self.broken and not self.is_repaired:
            return Failed(Problem("Test.Broken", f"{target} is broken", "mend it"))
        if target in self.hanging:
            self.note("hangs", context.dag_id)
            await asyncio.Event().wait()
        if not self.is_up(target):
            (self.directory / f"up-{target}").write_text(str(context.dag_id))
            self.note("launches", target)
        await self.say(context, f"{target} runs")
        return Succeeded({"target": target})

    async def stop(self, context: StepContext) -> Outcome:
        up = self.directory / f"up-{context.target}"
        if up.exists() and up.read_text() == str(context.dag_id):
            up.unlink()
        await self.say(context, f"{context.target} stopped")
        return Succeeded()

    async def confirm_stopped(self, context: StepContext) -> bool:
        self.note("settled", context.dag_id)
        return True

    async def verify(self, context: StepContext) -> Outcome:
        if not all(self.is_up(target) for target in context.healthy_targets):
            return Failed(Problem("Test.Down", "not all are up"))
        return Succeeded(summary=f"{len(context.healthy_targets)} up")

    # --- users, who come back after every crash -----------------------------------------------

    async def submit(self, engine: Engine, targets: tuple[str, ...], *force: str) -> int:
        """The DAG on these targets: the one that is there, or a new one."""
        for detail in await engine.list_dags(limit=9, details=False):
            if detail.dag.targets == targets:
                return detail.dag.dag_id
        dag_id = (await engine.submit(self.submission(targets, *force), by="chaos")).dag.dag_id
        self.note("told", "accepted", dag_id)
        return dag_id

    async def operate(self, engine: Engine, dag_id: int, operator: Operator) -> None:
        await engine.operate_dag(dag_id, operator, by="chaos")
        self.note("told", "asked", dag_id, operator)

    async def end_of(self, engine: Engine, dag_id: int) -> DagRecord:
        return (await engine.wait(dag_id)).dag

    async def wait_until_hanging(self, engine: Engine, dag_id: int) -> bool:
        """True when the DAG's step hangs now, False when the DAG has ended."""
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


Scenario = Callable[[World, Engine], Awaitable[None]]


async def start(world: World, engine: Engine) -> None:
    dag = await world.end_of(engine, await world.submit(engine, TARGETS))
    assert dag.state is State.SUCCEED, dag
    assert all(world.is_up(target) for target in TARGETS)


async def failing_lane(world: World, engine: Engine) -> None:
    dag = await world.end_of(engine, await world.submit(engine, TARGETS))
    assert (dag.state, dag.stage) == (State.FAILED, 3), dag
    assert not world.is_up("a")
    assert world.is_up("b")


async def retry(world: World, engine: Engine) -> None:
    dag_id = await world.submit(engine, TARGETS)
    dag = await world.end_of(engine, dag_id)
    if dag.state is State.FAILED:
        world.repair()
        await world.operate(engine, dag_id, Operator.RETRY)
        dag = await world.end_of(engine, dag_id)
    assert dag.state is State.SUCCEED, dag
    assert all(world.is_up(target) for target in TARGETS)


async def rollback(world: World, engine: Engine) -> None:
    dag_id = await world.submit(engine, TARGETS)
    dag = await world.end_of(engine, dag_id)
    if dag.state is State.FAILED:
        await world.operate(engine, dag_id, Operator.ROLLBACK)
        dag = await world.end_of(engine, dag_id)
    assert (dag.state, dag.operator) == (State.SUCCEED, Operator.ROLLBACK), dag
    assert not any(world.is_up(target) for target in TARGETS)


async def cancel(world: World, engine: Engine) -> None:
    dag_id = await world.submit(engine, TARGETS)
    if await world.wait_until_hanging(engine, dag_id):
        await world.operate(engine, dag_id, Operator.CANCEL)
    dag = await world.end_of(engine, dag_id)
    assert (dag.state, dag.operator) == (State.FAILED, Operator.CANCEL), dag
    assert world.notes("settled"), "its end was not proven"


async def force_pass(world: World, engine: Engine) -> None:
    holder_id = await world.submit(engine, HOLDER)
    known = await engine.list_dags(limit=9, details=False)
    if not any(detail.dag.targets == SUCCESSOR for detail in known):
        await world.wait_until_hanging(engine, holder_id)
    successor_id = await world.submit(engine, SUCCESSOR, engine.generic_id(holder_id))
    successor = await world.end_of(engine, successor_id)
    holder = await world.end_of(engine, holder_id)
    assert successor.state is State.SUCCEED, successor
    assert (holder.state, holder.operator) == (State.SUCCEED, Operator.PASS), holder
    assert [row.action for row in await engine.list_audit(holder_id)].count("FORCE_PASS") == 1


SCENARIOS: dict[str, tuple[Scenario, type[World], dict[str, Any]]] = {
    "start": (start, World, {}),
    "failing_lane": (failing_lane, World, {"broken": frozenset("a")}),
    "retry": (retry, World, {"broken": frozenset("a")}),
    "rollback": (rollback, World, {"broken": frozenset("a")}),
    "cancel": (cancel, World, {"hanging": frozenset("b")}),
    "force_pass": (force_pass, World, {"hanging": frozenset("b")}),
}
