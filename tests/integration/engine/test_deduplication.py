"""Two identical submissions at once are both answered once the DAG is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from dagengine import SqliteStore, State, Submission
from dagengine.errors import StoreUnavailable
from dagengine.model.changes import Batch
from dagengine.store.contract import BatchRefused
from dagengine.testing import CrashingStore, FakeClock, Latch
from tests.support.engine_script import OpenEngine, Script, dag_state, with_latch
from tests.support.minimal_operations import end_of, op, succeed

SUBMISSION = Submission("op", ("a",), {"wish": 1})


class BlockedStore(SqliteStore):
    """Writes nothing before its latch is open."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.latch = Latch()

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        await self.latch.wait()
        return await super().commit(batches)


@pytest.mark.parametrize("cancelled_index", [0, 1])
async def test_submit_cancelled_caller_does_not_affect_duplicate(
    open_engine: OpenEngine, tmp_path: Path, cancelled_index: int
) -> None:
    store = BlockedStore(tmp_path / "store.sqlite")
    async with open_engine(op(succeed), store=store) as engine:
        submissions = [
            asyncio.create_task(engine.submit(SUBMISSION, dedupe_window_s=60), name=name)
            for name in ("first", "twin")
        ]
        await store.latch.reached.wait()
        assert not any(each.done() for each in submissions)
        submissions[cancelled_index].cancel()
        await asyncio.wait([submissions[cancelled_index]])
        assert submissions[cancelled_index].cancelled()
        assert not submissions[1 - cancelled_index].done()
        store.latch.open()
        dag_id = (await submissions[1 - cancelled_index]).dag.dag_id
        assert (await end_of(engine, dag_id))[0] is State.SUCCEED
        assert [dag.dag.dag_id for dag in await engine.list_dags(limit=9, details=False)] == [1]


async def test_submit_unavailable_store_refuses_every_duplicate(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    store = CrashingStore(str(tmp_path / "store.sqlite"), refuse=[1])
    async with open_engine(op(succeed), store=store) as engine:
        results = await asyncio.gather(
            *(engine.submit(SUBMISSION, dedupe_window_s=60) for _ in range(3)),
            return_exceptions=True,
        )
        assert [type(each) for each in results] == [StoreUnavailable] * 3
        assert await engine.list_dags(limit=9, details=False) == ()


@pytest.mark.parametrize(
    ("moves_s", "is_same"), [(0.0, True), (9.9, True), (10.0, False), (-0.1, False)]
)
async def test_submit_dedupe_window_requires_known_age(
    open_engine: OpenEngine, script: Script, moves_s: float, is_same: bool
) -> None:
    """The age is unknown after the wall clock was set back."""
    clock, latch = FakeClock(), Latch()
    async with open_engine(with_latch(script.operation(), "check", latch), clock=clock) as engine:
        first = await engine.submit(SUBMISSION, dedupe_window_s=10)
        clock.jump(moves_s)
        second = await engine.submit(SUBMISSION, dedupe_window_s=10)
        assert (second.dag.dag_id == first.dag.dag_id) is is_same
        latch.open()
        assert dag_state(await engine.wait(first.dag.dag_id)) == ("SUCCEED", "RUN", 4)
