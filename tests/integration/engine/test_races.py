"""Messages that arrive during an end, a refused write or a defect are answered, not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dagengine import (
    Flags,
    Operation,
    Operator,
    Outcome,
    SqliteStore,
    Stage,
    State,
    StepContext,
    Succeeded,
)
from dagengine.engine.projections import LockTable, release_orphans
from dagengine.errors import Conflict, DagengineError, StaleWrite
from dagengine.model.changes import Batch, DagChanged, LockReleased, LockTaken, SubTaskChanged
from dagengine.rules import operators
from dagengine.store.contract import BatchRefused
from dagengine.testing import FakeClock, Latch
from dagengine.testing.internals import until_queued
from tests.support.engine_script import BROKEN, LANE, LOCKED, NORMAL, OpenEngine
from tests.support.minimal_operations import end_of, hang, op, submit, take_lock


class ControlledStore(SqliteStore):
    """Delays, or refuses once, the batches with changes of all given kinds."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.latch = Latch()
        self.held_kinds: set[type] = set()
        self.refused_kinds: set[type] = set()

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        kinds = {type(change) for batch in batches for change in batch.changes}
        if self.refused_kinds and self.refused_kinds <= kinds:
            self.refused_kinds = set()
            return [StaleWrite("refused by the test") for _ in batches]
        if self.held_kinds and self.held_kinds <= kinds:
            self.held_kinds = set()
            await self.latch.wait()
        return await super().commit(batches)


async def test_retry_during_commit_of_end_raises_conflict(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    store, release = ControlledStore(tmp_path / "store.sqlite"), asyncio.Event()

    async def step(context: StepContext) -> Outcome:
        await release.wait()
        return BROKEN if context.attempt_no == 1 else Succeeded()

    async with open_engine(op(step), store=store) as engine:
        dag_id = await submit(engine)
        store.held_kinds = {SubTaskChanged}
        release.set()
        await store.latch.reached.wait()
        request = asyncio.create_task(engine.operate_dag(dag_id, Operator.RETRY))
        await until_queued(engine, dag_id)
        store.latch.open()
        with pytest.raises(Conflict, match="has just ended"):
            await request
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.RUN)
        await engine.operate_dag(dag_id, Operator.RETRY)
        assert await end_of(engine, dag_id) == (State.SUCCEED, Operator.RUN)


async def test_lock_handover_stale_write_is_repeated(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    store, working = ControlledStore(tmp_path / "store.sqlite"), asyncio.Event()

    async def work(context: StepContext) -> Outcome:
        if context.target == "holder":
            working.set()
            await hang(context)
        return Succeeded()

    stages = (Stage("lock", NORMAL, take_lock), Stage("work", LANE, work))
    async with open_engine(Operation("op", stages, **LOCKED), store=store) as engine:
        holder = await submit(engine, "op", "holder")
        await working.wait()
        store.refused_kinds = {LockReleased, LockTaken}
        force = [engine.generic_id(holder)]
        lock_successor_id = await submit(engine, "op", "successor", force=force)
        async with asyncio.timeout(10):
            assert await end_of(engine, lock_successor_id) == (State.SUCCEED, Operator.RUN)
            assert await end_of(engine, holder) == (State.SUCCEED, Operator.PASS)
        assert not store.refused_kinds, "nothing was refused"
        assert engine.holder("k") is None


async def test_operate_dag_internal_error_raises_dagengine_error(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., list[int]] = operators.cancel_dag
    working = asyncio.Event()

    def raise_once(*_: object) -> list[int]:
        monkeypatch.setattr(operators, "cancel_dag", original)
        raise ZeroDivisionError("a defect")

    async def step(context: StepContext) -> Outcome:
        working.set()
        return await hang(context)

    async with open_engine(op(step)) as engine:
        dag_id = await submit(engine)
        await working.wait()
        monkeypatch.setattr(operators, "cancel_dag", raise_once)
        async with asyncio.timeout(10):
            with pytest.raises(DagengineError, match="a defect"):
                await engine.operate_dag(dag_id, Operator.CANCEL)
            await engine.operate_dag(dag_id, Operator.CANCEL)
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)


async def test_cancel_of_can_continue_false_completes_after_restart(
    open_engine: OpenEngine,
) -> None:
    """No step continues, so the next start only confirms that it has ended."""
    working, ending = asyncio.Event(), asyncio.Event()

    async def act(context: StepContext) -> Outcome:
        try:
            working.set()
            return await hang(context)
        finally:
            ending.set()
            await hang(context)  # until the engine stops

    async def confirm_stopped(context: StepContext) -> bool:
        return True

    stage = Stage(
        "act", LANE, act, confirm_stopped=confirm_stopped, flags=Flags(can_continue=False)
    )
    async with open_engine(Operation("op", (stage,))) as engine:
        dag_id = await submit(engine, "op", "a")
        await working.wait()
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await ending.wait()
    async with open_engine(Operation("op", (stage,))) as engine:
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)
        outcomes = [a.outcome for a in await engine.find_attempts(1)]
        assert outcomes == ["Interrupted", "Cancelled"]


async def test_recovery_orphaned_lock_clears_lock_token_of_dag(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    operation = op(take_lock, lock_key="k")
    async with open_engine(operation) as engine:
        dag_id = await submit(engine)
        dag = (await engine.wait(dag_id)).dag
        (free,) = engine.list_locks()
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    taken = replace(free, dag_id=dag_id, token=free.token + 1, reason="op")
    orphaned = (LockTaken(taken), DagChanged(dag, dag._replace(lock_token=taken.token)))
    assert await store.commit([Batch(dag_id, None, orphaned)]) == [None]
    await store.close()
    async with open_engine(operation) as engine:
        assert engine.holder("k") is None
        detail = await engine.find_dag(dag_id)
        assert detail is not None
        assert detail.dag.lock_token == 0


async def test_release_orphans_stale_write_keeps_lock_held(tmp_path: Path) -> None:
    store, locks, now = ControlledStore(tmp_path / "store.sqlite"), LockTable(), FakeClock().now()
    await store.open()
    try:
        store.refused_kinds = {LockReleased}
        lock_record = locks.next("k", 7, "op", now)
        locks.load([lock_record])
        await release_orphans(store, locks, {7}, now)
        assert store.refused_kinds, "a lock of an unfinished DAG was released"
        await release_orphans(store, locks, (), now)
        assert locks.holder("k") == lock_record
    finally:
        await store.close()
