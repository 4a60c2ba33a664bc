"""Requests and ends in the same pass of the scheduler."""

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
from dagengine.testing.internals import settled
from tests.support.engine_script import BROKEN, LANE, LOCKED, NORMAL, OpenEngine
from tests.support.minimal_operations import end_of, hang, is_lock_successor, op, submit, take_lock


async def test_cancel_in_same_pass_as_retry_is_not_lost(
    open_engine: OpenEngine,
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


async def test_cancel_in_same_pass_as_stage_end_is_not_lost(open_engine: OpenEngine) -> None:
    cancel_tasks = []

    async def first(context: StepContext) -> Outcome:
        request = engine.operate_dag(context.dag_id, Operator.CANCEL)
        cancel_tasks.append(asyncio.get_running_loop().create_task(request))
        return Succeeded()

    async with open_engine(op(first, hang)) as engine:
        dag_id = await submit(engine)
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)
        await cancel_tasks[0]


async def test_engine_wait_returns_while_other_dag_is_reloaded(
    open_engine: OpenEngine,
) -> None:
    """Two DAGs request the lock at once: one decision is stale, and three others end with it."""
    release = asyncio.Event()

    async def wait_and_lock(context: StepContext) -> Outcome:
        await release.wait()
        return await take_lock(context)

    async def end(context: StepContext) -> Outcome:
        await release.wait()
        return Succeeded()

    locked = op(wait_and_lock, name="locked", lock_key="k")
    async with open_engine(locked, op(end)) as engine:
        ids = [await submit(engine, name) for name in ("locked", "locked", "op", "op", "op")]
        waiting = [asyncio.create_task(engine.wait(dag_id)) for dag_id in ids]
        await settled(engine)
        release.set()
        async with asyncio.timeout(5):
            ends = [(await task).dag.state for task in waiting]
        assert sorted(ends) == [State.FAILED, *[State.SUCCEED] * 4]


async def test_lock_handover_skips_successor_that_timed_out(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    """A force-passed lock is released at the moment at which its successor times out."""

    class SlowReleaseStore(SqliteStore):
        is_slow = False

        async def commit(self, batches: Sequence[Batch]) -> Any:
            released = any(isinstance(c, LockReleased) for b in batches for c in b.changes)
            if self.is_slow and released:
                self.is_slow = False
                await asyncio.sleep(0.6)  # longer than the time limit of the stage "lock"
            return await super().commit(batches)

    latch = Latch()

    async def lock(context: StepContext) -> Outcome:
        if "force" in context.params:
            await latch.wait()
        return await take_lock(context)

    async def work(context: StepContext) -> Outcome:
        if "hold" in context.params:
            await latch.wait()
        return Succeeded()

    stages = (Stage("lock", NORMAL, lock, timeout_s=0.3), Stage("work", NORMAL, work))
    store = SlowReleaseStore(tmp_path / "store.sqlite")
    async with open_engine(Operation("op", stages, **LOCKED), store=store) as engine:
        holder = await submit(engine, hold=True)
        await latch.reached.wait()
        lock_successor_id = await submit(engine, force=[engine.generic_id(holder)])
        await settled(engine)
        store.is_slow = True
        latch.open()
        await engine.wait(holder)
        assert (await end_of(engine, lock_successor_id))[0] is State.FAILED
        assert engine.holder("k") is None
        assert await end_of(engine, await submit(engine)) == (State.SUCCEED, Operator.RUN)


@asynccontextmanager
async def open_forced_lock(
    open_engine: OpenEngine, confirm_latch: Latch
) -> AsyncIterator[tuple[Engine, int, int]]:
    """An engine, a holder whose end is being confirmed, and the successor for its lock."""
    working = asyncio.Event()

    async def work(context: StepContext) -> Outcome:
        if context.target == "holder":
            working.set()
            await hang(context)
        return Succeeded()

    async def confirm_stopped(context: StepContext) -> bool:
        await confirm_latch.wait()
        return True

    stages = (
        Stage("lock", NORMAL, take_lock),
        Stage("work", LANE, work, confirm_stopped=confirm_stopped),
    )
    async with open_engine(Operation("op", stages, **LOCKED)) as engine:
        holder = await submit(engine, "op", "holder")
        await working.wait()
        lock_successor_id = await submit(engine, "op", "first", force=[engine.generic_id(holder)])
        await confirm_latch.reached.wait()
        yield engine, holder, lock_successor_id


async def test_force_pass_after_successor_ended_names_new_successor(
    open_engine: OpenEngine,
) -> None:
    confirm_latch = Latch()
    async with open_forced_lock(open_engine, confirm_latch) as (engine, holder, first):
        force = [engine.generic_id(holder)]
        await engine.operate_dag(first, Operator.CANCEL)
        await engine.wait(first)
        second = await submit(engine, "op", "second", force=force)
        await eventually(
            lambda: is_lock_successor(engine, holder, second), what="the second successor"
        )
        confirm_latch.open()
        assert await end_of(engine, second) == (State.SUCCEED, Operator.RUN)
        assert await end_of(engine, holder) == (State.SUCCEED, Operator.PASS)


async def test_force_pass_with_existing_successor_is_refused(
    open_engine: OpenEngine,
) -> None:
    confirm_latch = Latch()
    async with open_forced_lock(open_engine, confirm_latch) as (engine, holder, first):
        force = [engine.generic_id(holder)]
        second = await submit(engine, "op", "second", force=force)
        assert await end_of(engine, second) == (State.FAILED, Operator.RUN)
        assert await is_lock_successor(engine, holder, first)
        assert [row.action for row in await engine.list_audit(holder)] == ["FORCE_PASS", "START"]
        confirm_latch.open()
        assert await end_of(engine, first) == (State.SUCCEED, Operator.RUN)
        assert await end_of(engine, holder) == (State.SUCCEED, Operator.PASS)


async def test_recovery_releases_lock_of_ended_dag(open_engine: OpenEngine, tmp_path: Path) -> None:
    """Not reachable with this version, but possible in stores of earlier versions."""
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
