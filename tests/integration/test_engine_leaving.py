"""Leaving the engine: whoever waits is told, and the store is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dagengine import Engine, Operator, Outcome, SqliteStore, State, StepContext, Succeeded
from dagengine.errors import EngineStopped
from dagengine.model.changes import Batch
from tests.integration.engine_world import Open, open_engine
from tests.integration.small_operations import end_of, hang, op, submit, succeed

__all__ = ["open_engine"]  # a fixture

HALF = "\ud800"  # half a surrogate pair: no text that can be encoded


async def test_whoever_waits_for_an_engine_that_is_left_is_told(
    open_engine: Open, tmp_path: Path
) -> None:
    class Stuck(SqliteStore):
        is_stuck = False

        async def commit(self, batches: Sequence[Batch]) -> Any:
            if self.is_stuck:
                await asyncio.Event().wait()
            return await super().commit(batches)

    async def read(engine: Engine) -> None:
        with engine.subscribe() as events:
            async for _ in events:
                pass

    store = Stuck(tmp_path / "store.sqlite")
    async with open_engine(op(hang), store=store) as engine:
        dag_id = await submit(engine)
        await asyncio.sleep(0.05)
        store.is_stuck = True
        waiting = [
            asyncio.create_task(work)
            for work in (
                engine.wait(dag_id),
                read(engine),
                engine.operate_dag(dag_id, Operator.CANCEL),
                submit(engine),
            )
        ]
        await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in told] == [EngineStopped] * 4
        for late in (
            engine.wait(dag_id),
            engine.operate_dag(dag_id, Operator.CANCEL),
            submit(engine),
        ):
            with pytest.raises(EngineStopped):
                await late


async def test_an_engine_that_is_left_in_a_hurry_still_gives_its_store_back(
    open_engine: Open,
) -> None:
    async def linger(context: StepContext) -> Outcome:
        try:
            return await hang(context)
        finally:
            await asyncio.sleep(0.3)

    async def hurry() -> None:
        async with open_engine(op(linger)) as engine, asyncio.timeout(0.2):
            await submit(engine)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await hurry()
    async with open_engine(op(succeed)) as engine:
        assert (await end_of(engine, 1))[0] is State.SUCCEED


async def test_a_leaving_that_is_cancelled_goes_on_to_its_end(open_engine: Open) -> None:
    lingering = asyncio.Event()

    async def linger(context: StepContext) -> Outcome:
        try:
            return await hang(context)
        finally:
            lingering.set()
            await asyncio.sleep(0.3)

    async def live() -> None:
        async with open_engine(op(linger)) as engine:
            await submit(engine)
            await asyncio.sleep(0.05)

    life = asyncio.create_task(live())
    await lingering.wait()
    life.cancel()
    with pytest.raises(asyncio.CancelledError):
        await life
    async with open_engine(op(succeed)) as engine:
        assert (await end_of(engine, 1))[0] is State.SUCCEED


async def test_a_step_that_takes_no_notice_of_its_end_is_left_behind(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagengine.runtime.service.Service.patience_s", 0.05)
    cancels = 0
    done = asyncio.Event()

    async def stubborn(context: StepContext) -> Outcome:
        nonlocal cancels
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                cancels += 1
        return Succeeded()

    async with open_engine(op(stubborn)) as engine:
        dag_id = await submit(engine)
        await asyncio.sleep(0.05)
    assert cancels > 1
    done.set()
    async with open_engine(op(succeed)) as engine:
        assert (await end_of(engine, dag_id))[0] is State.SUCCEED
