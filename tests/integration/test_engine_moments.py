"""Things that happen at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dagengine import (
    Engine,
    Operation,
    Operator,
    Outcome,
    SqliteStore,
    Stage,
    State,
    StepContext,
    Succeeded,
)
from dagengine.model.changes import Batch, LockReleased, LockTaken
from dagengine.testing import Latch, eventually
from tests.integration.engine_world import BROKEN, LANE, NORMAL, Open, open_engine
from tests.integration.small_operations import end_of, hang, op, submit, take_lock

__all__ = ["open_engine"]  # a fixture

HALF = "\ud800"  # half a surrogate pair: no text that can be encoded


async def test_a_cancel_beside_the_retry_that_it_is_meant_for_is_not_lost(
    open_engine: Open,
) -> None:
    runs = 0

    async def step(context: StepContext) -> Outcome:
        nonlocal runs
        runs += 1
        return BROKEN if runs == 1 else await hang(context)

    async with open_engine(op(step)) as engine:
        dag_id = await submit(engine)
        await engine.wait(dag_id)
        await asyncio.gather(
            engine.operate_dag(dag_id, Operator.RETRY),
            engine.operate_dag(dag_id, Operator.CANCEL),
        )
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)


async def test_a_cancel_beside_the_end_of_the_stage_before_is_not_lost(open_engine: Open) -> None:
    asked = []

    async def first(context: StepContext) -> Outcome:
        asking = engine.operate_dag(context.dag_id, Operator.CANCEL)
        asked.append(asyncio.get_running_loop().create_task(asking))
        return Succeeded()

    async with open_engine(op(first, hang)) as engine:
        dag_id = await submit(engine)
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)
        await asked[0]


async def test_who_waits_is_told_though_another_dag_has_to_be_read_again(
    open_engine: Open,
) -> None:
    """Two want the lock at once, so one's decision is stale; three others end in the same pass."""
    go = asyncio.Event()

    async def want(context: StepContext) -> Outcome:
        await go.wait()
        return await take_lock(context)

    async def end(context: StepContext) -> Outcome:
        await go.wait()
        return Succeeded()

    locked = op(want, name="locked", lock_key="k")
    async with open_engine(locked, op(end)) as engine:
        ids = [await submit(engine, name) for name in ("locked", "locked", "op", "op", "op")]
        waiting = [asyncio.create_task(engine.wait(dag_id)) for dag_id in ids]
        await asyncio.sleep(0.05)
        go.set()
        async with asyncio.timeout(5):
            ends = [(await task).dag.state for task in waiting]
        assert sorted(ends) == [State.FAILED, *[State.SUCCEED] * 4]


async def test_a_lock_is_not_given_to_a_step_that_has_ended_meanwhile(
    open_engine: Open, tmp_path: Path
) -> None:
    """A forced lock comes free in the moment in which the time of the one who waits is up."""

    class SlowEnd(SqliteStore):
        is_slow = False

        async def commit(self, batches: Sequence[Batch]) -> Any:
            released = any(isinstance(c, LockReleased) for b in batches for c in b.changes)
            if self.is_slow and released:
                self.is_slow = False
                await asyncio.sleep(0.6)
            return await super().commit(batches)

    gate = Latch()

    async def lock(context: StepContext) -> Outcome:
        if "force" in context.params:
            await gate.wait()
        return await take_lock(context)

    async def work(context: StepContext) -> Outcome:
        if "hold" in context.params:
            await gate.wait()
        return Succeeded()

    stages = (Stage("lock", NORMAL, lock, timeout_s=0.3), Stage("work", NORMAL, work))
    store = SlowEnd(tmp_path / "store.sqlite")
    async with open_engine(Operation("op", stages, lock_key="k"), store=store) as engine:
        holder = await submit(engine, hold=True)
        await gate.reached.wait()
        lock_successor_id = await submit(engine, force=[engine.generic_id(holder)])
        await asyncio.sleep(0.05)
        store.is_slow = True
        gate.open()
        await engine.wait(holder)
        assert (await end_of(engine, lock_successor_id))[0] is State.FAILED
        assert engine.holder("k") is None
        assert await end_of(engine, await submit(engine)) == (State.SUCCEED, Operator.RUN)


@asynccontextmanager
async def forced(open_engine: Open, proof: Latch) -> AsyncIterator[tuple[Engine, int, int]]:
    """An engine, a holder whose end is being proven, and the heir that has forced its lock."""
    working = asyncio.Event()

    async def work(context: StepContext) -> Outcome:
        if context.target == "holder":
            working.set()
            await hang(context)
        return Succeeded()

    async def confirm_stopped(context: StepContext) -> bool:
        await proof.wait()
        return True

    stages = (
        Stage("lock", NORMAL, take_lock),
        Stage("work", LANE, work, confirm_stopped=confirm_stopped),
    )
    async with open_engine(Operation("op", stages, lock_key="k")) as engine:
        holder = await submit(engine, "op", "holder")
        await working.wait()
        lock_successor_id = await submit(engine, "op", "first", force=[engine.generic_id(holder)])
        await proof.reached.wait()
        yield engine, holder, lock_successor_id


async def test_a_second_one_may_force_a_lock_whose_first_heir_has_ended(open_engine: Open) -> None:
    proof = Latch()
    async with forced(open_engine, proof) as (engine, holder, first):
        force = [engine.generic_id(holder)]
        await engine.operate_dag(first, Operator.CANCEL)
        await engine.wait(first)
        second = await submit(engine, "op", "second", force=force)
        await eventually(lambda: _is_heir(engine, holder, second), what="the second heir")
        proof.open()
        assert await end_of(engine, second) == (State.SUCCEED, Operator.RUN)
        assert await end_of(engine, holder) == (State.SUCCEED, Operator.PASS)


async def test_a_lock_that_already_has_an_heir_is_not_promised_to_another(
    open_engine: Open,
) -> None:
    proof = Latch()
    async with forced(open_engine, proof) as (engine, holder, first):
        force = [engine.generic_id(holder)]
        second = await submit(engine, "op", "second", force=force)
        assert await end_of(engine, second) == (State.FAILED, Operator.RUN)
        assert await _is_heir(engine, holder, first)
        assert [row.action for row in await engine.list_audit(holder)] == ["FORCE_PASS", "START"]
        proof.open()
        assert await end_of(engine, first) == (State.SUCCEED, Operator.RUN)
        assert await end_of(engine, holder) == (State.SUCCEED, Operator.PASS)


async def _is_heir(engine: Engine, holder: int, lock_successor_id: int) -> bool:
    found = await engine.find_dag(holder, details=False)
    return found is not None and found.dag.lock_successor_id == lock_successor_id


async def test_a_lock_whose_owner_has_ended_is_released_by_the_next_start(
    open_engine: Open, tmp_path: Path
) -> None:
    """No way is known that leads there; stores of earlier versions may have got there."""
    path = tmp_path / "store.sqlite"
    async with open_engine(op(take_lock, lock_key="k")) as engine:
        dag_id = await submit(engine)
        await engine.wait(dag_id)
        lock = engine.list_locks()[0]
    store = SqliteStore(path)
    await store.open()
    owned = lock.__class__(lock.key, dag_id, lock.token + 1, "op", lock.since_at)
    assert await store.commit([Batch(dag_id, None, (LockTaken(owned),))]) == [None]
    await store.close()
    async with open_engine(op(take_lock, lock_key="k")) as engine:
        assert engine.holder("k") is None
        assert await end_of(engine, await submit(engine)) == (State.SUCCEED, Operator.RUN)
