"""Commands of a step wait for the engine's guard; other calls do not."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dagengine import Engine, Outcome, StepContext, Succeeded
from dagengine.act_guard import guard_this_task
from dagengine.remote.command import script
from dagengine.store import SqliteStore
from dagengine.testing import LocalRunner
from tests.support.held_guard import HeldGuard
from tests.support.minimal_operations import op, submit


def touch(file: Path) -> object:
    async def run(context: StepContext) -> Outcome:
        async def act() -> None:
            await LocalRunner().run(script(': >"$1"', "touch", str(file)), timeout_s=10)

        async with asyncio.TaskGroup() as group:  # a task of the step is guarded as well
            group.create_task(act(), name="act")
        return Succeeded()

    return run


async def test_act_guard_holds_command_of_step(tmp_path: Path) -> None:
    guard, file = HeldGuard(), tmp_path / "effect"
    store = SqliteStore(str(tmp_path / "store"))
    async with Engine(store=store, operations=[op(touch(file))], act_guard=guard) as engine:
        dag_id = await submit(engine)
        await guard.waiting.wait()
        assert not file.exists()
        await LocalRunner().run(script("true", "unguarded"), timeout_s=10)
        guard.open()
        assert (await engine.wait(dag_id)).dag.state == "SUCCEED"
    assert file.exists()


async def test_act_guard_ends_with_engine(tmp_path: Path) -> None:
    guard, file = HeldGuard(), tmp_path / "effect"
    store = SqliteStore(str(tmp_path / "store"))
    async with Engine(store=store, operations=[op(touch(file))], act_guard=guard) as engine:
        await submit(engine)
        await guard.waiting.wait()
    assert not file.exists()


async def test_act_guard_belongs_to_task_and_its_children() -> None:
    guard = HeldGuard()

    async def guarded() -> None:
        guard_this_task(guard)
        await LocalRunner().run(script("true", "guarded"), timeout_s=10)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(guarded(), name="guarded")
        await guard.waiting.wait()
        await LocalRunner().run(script("true", "outside"), timeout_s=10)
        assert not task.done()
        guard.open()
