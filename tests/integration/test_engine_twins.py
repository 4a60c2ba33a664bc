"""Two who ask for the same at once: both are answered when it is durable, and not before."""

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
from tests.integration.engine_world import Open, Script, held, how, open_engine, script
from tests.integration.small_operations import end_of, op, succeed

__all__ = ["open_engine", "script"]  # fixtures

WISH = Submission("op", ("a",), {"wish": 1})


class Slow(SqliteStore):
    """Writes nothing before its gate is open."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = Latch()

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        await self.gate.wait()
        return await super().commit(batches)


@pytest.mark.parametrize("who", [0, 1])
async def test_a_caller_that_gives_up_costs_its_twin_nothing(
    open_engine: Open, tmp_path: Path, who: int
) -> None:
    store = Slow(tmp_path / "store.sqlite")
    async with open_engine(op(succeed), store=store) as engine:
        asking = [
            asyncio.create_task(engine.submit(WISH, dedupe_window_s=60), name=name)
            for name in ("first", "twin")
        ]
        await store.gate.reached.wait()
        assert not any(each.done() for each in asking)
        asking[who].cancel()
        await asyncio.wait([asking[who]])
        assert asking[who].cancelled()
        assert not asking[1 - who].done()
        store.gate.open()
        dag_id = (await asking[1 - who]).dag.dag_id
        assert (await end_of(engine, dag_id))[0] is State.SUCCEED
        assert [dag.dag.dag_id for dag in await engine.list_dags(limit=9, details=False)] == [1]


async def test_a_twin_of_what_could_not_be_written_is_refused_as_well(
    open_engine: Open, tmp_path: Path
) -> None:
    store = CrashingStore(str(tmp_path / "store.sqlite"), refuse=[1])
    async with open_engine(op(succeed), store=store) as engine:
        told = await asyncio.gather(
            *(engine.submit(WISH, dedupe_window_s=60) for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in told] == [StoreUnavailable] * 3
        assert await engine.list_dags(limit=9, details=False) == ()


@pytest.mark.parametrize(
    ("moves_s", "is_same"), [(0.0, True), (9.9, True), (10.0, False), (-0.1, False)]
)
async def test_only_what_is_known_to_be_younger_than_the_window_is_the_same(
    open_engine: Open, script: Script, moves_s: float, is_same: bool
) -> None:
    """When the wall clock was put back, nobody knows how old it is."""
    clock, gate = FakeClock(), Latch()
    async with open_engine(held(script.operation(), "check", gate), clock=clock) as engine:
        first = await engine.submit(WISH, dedupe_window_s=10)
        clock.jump(moves_s)
        second = await engine.submit(WISH, dedupe_window_s=10)
        assert (second.dag.dag_id == first.dag.dag_id) is is_same
        gate.open()
        assert how(await engine.wait(first.dag.dag_id)) == ("SUCCEED", "RUN", 4)
