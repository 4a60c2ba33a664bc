"""The helper `settled` waits for messages and commits of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dagengine import Engine, Outcome, SqliteStore, StepContext, Succeeded
from dagengine.model.changes import Batch
from dagengine.testing import Latch
from dagengine.testing.internals import settled
from tests.support.engine_script import OpenEngine
from tests.support.minimal_operations import hang, op, submit, succeed


class LatchedStore(SqliteStore):
    """A store whose commits wait at a latch, if there is one."""

    latch: Latch | None = None

    async def commit(self, batches: Sequence[Batch]) -> Any:
        if self.latch is not None:
            await self.latch.wait()
        return await super().commit(batches)


async def test_settled_returns_when_all_steps_wait(open_engine: OpenEngine) -> None:
    waiting: list[str | None] = []

    async def log_and_wait(context: StepContext) -> Outcome:
        await context.log("waits")
        waiting.append(context.target)
        return await hang(context)

    async with open_engine(op(log_and_wait)) as engine:
        for _ in range(3):
            await submit(engine)
        await settled(engine)
        assert len(waiting) == 3


async def test_settled_waits_for_commit_of_scheduler(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    store, step_latch = LatchedStore(tmp_path / "store.sqlite"), Latch()

    async def step(context: StepContext) -> Outcome:
        await step_latch.wait()
        return Succeeded()

    async with open_engine(op(step), store=store) as engine:
        dag_id = await submit(engine)
        await step_latch.reached.wait()
        commit_latch = store.latch = Latch()
        step_latch.open()
        await commit_latch.reached.wait()
        await check_settled_waits(engine, store, commit_latch)
        await engine.wait(dag_id)


async def test_settled_waits_for_commit_of_submission(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    store = LatchedStore(tmp_path / "store.sqlite")
    async with open_engine(op(succeed), store=store) as engine:
        commit_latch = store.latch = Latch()
        submission = asyncio.create_task(submit(engine))
        await commit_latch.reached.wait()
        await check_settled_waits(engine, store, commit_latch)
        await engine.wait(await submission)


async def check_settled_waits(engine: Engine, store: LatchedStore, commit_latch: Latch) -> None:
    waiting = asyncio.create_task(settled(engine))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    store.latch = None
    commit_latch.open()
    await waiting
