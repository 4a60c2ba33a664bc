"""Stopping the engine: waiting callers get an error, and the store is released."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dagengine import Engine, Operator, Outcome, SqliteStore, State, StepContext, Succeeded
from dagengine.errors import EngineStopped
from dagengine.model.changes import Batch
from dagengine.testing import eventually
from dagengine.testing.internals import settled
from tests.support.engine_script import OpenEngine
from tests.support.minimal_operations import end_of, hang, op, submit, succeed


async def test_engine_stop_raises_engine_stopped_in_waiters(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    class BlockedStore(SqliteStore):
        is_blocked = False
        blocked_count = 0

        async def commit(self, batches: Sequence[Batch]) -> Any:
            if self.is_blocked:
                self.blocked_count += 1
                await asyncio.Event().wait()
            return await super().commit(batches)

    async def read(engine: Engine) -> None:
        with engine.subscribe() as events:
            async for _ in events:
                pass

    store = BlockedStore(tmp_path / "store.sqlite")
    async with open_engine(op(hang), store=store) as engine:
        dag_id = await submit(engine)
        await settled(engine)
        store.is_blocked = True
        waiting = [
            asyncio.create_task(work)
            for work in (
                engine.wait(dag_id),
                read(engine),
                engine.operate_dag(dag_id, Operator.CANCEL),
                submit(engine),
            )
        ]

        async def are_blocked() -> bool:  # the cancel and the submission
            return store.blocked_count == 2

        await eventually(are_blocked, what="two commits")
    async with asyncio.timeout(5):
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in results] == [EngineStopped] * 4
        for call in (
            engine.wait(dag_id),
            engine.operate_dag(dag_id, Operator.CANCEL),
            submit(engine),
        ):
            with pytest.raises(EngineStopped):
                await call


async def test_engine_stop_after_time_out_releases_store(
    open_engine: OpenEngine,
) -> None:
    async def end_slowly(context: StepContext) -> Outcome:
        try:
            return await hang(context)
        finally:
            await asyncio.sleep(0.3)  # longer than the time-out below: a step that ends slowly

    async def run_until_time_out() -> None:
        async with open_engine(op(end_slowly)) as engine, asyncio.timeout(0.2):
            await submit(engine)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await run_until_time_out()
    async with open_engine(op(succeed)) as engine:
        assert (await end_of(engine, 1))[0] is State.SUCCEED


async def test_engine_stop_leaves_store_that_does_not_close(
    open_engine: OpenEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagengine.engine.engine.CLOSE_LIMIT_S", 0.05)

    class HangingStore(SqliteStore):
        async def close(self) -> None:
            await super().close()
            await asyncio.Event().wait()  # such as a database that does not answer

    with capture_logs() as logs:
        async with open_engine(op(succeed), store=HangingStore(tmp_path / "store.sqlite")):
            pass
    cut = [line["phase"] for line in logs if line["event"] == "stop_phase_cut"]
    assert cut == ["store"]


async def test_engine_stop_cancelled_still_completes(open_engine: OpenEngine) -> None:
    ending, may_end = asyncio.Event(), asyncio.Event()

    async def end_slowly(context: StepContext) -> Outcome:
        try:
            return await hang(context)
        finally:
            ending.set()
            await may_end.wait()

    async def run_engine() -> None:
        async with open_engine(op(end_slowly)) as engine:
            await submit(engine)
            await settled(engine)

    engine_task = asyncio.create_task(run_engine())
    await ending.wait()
    engine_task.cancel()
    await asyncio.sleep(0)  # the cancellation arrives while the step ends
    assert not engine_task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await engine_task
    async with open_engine(op(succeed)) as engine:
        assert (await end_of(engine, 1))[0] is State.SUCCEED


async def test_engine_stop_abandons_step_ignoring_cancellation(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagengine.engine.attempt_runner.AttemptTasks.patience_s", 0.05)
    cancels = 0
    done = asyncio.Event()

    async def ignore_cancellation(context: StepContext) -> Outcome:
        nonlocal cancels
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                cancels += 1
        return Succeeded()

    async with open_engine(op(ignore_cancellation)) as engine:
        dag_id = await submit(engine)
        await settled(engine)
    assert cancels > 1
    done.set()
    async with open_engine(op(succeed)) as engine:
        assert (await end_of(engine, dag_id))[0] is State.SUCCEED
