"""Force pass of a lock: repeated, late and cancelled requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

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
from dagengine.errors import OperatorRefused
from dagengine.model.changes import Batch, SubTaskChanged
from dagengine.store.contract import BatchRefused
from dagengine.testing import Latch, eventually
from dagengine.testing.internals import until_queued
from tests.support.engine_script import BROKEN, LANE, NORMAL, OpenEngine
from tests.support.minimal_operations import (
    end_of,
    hang,
    is_lock_successor,
    op,
    submit,
    succeed,
    take_lock,
)


async def test_force_pass_repeated_acquire_lock_keeps_successor(open_engine: OpenEngine) -> None:
    confirm_latch, working, requested_again = Latch(), asyncio.Event(), asyncio.Event()

    async def lock(context: StepContext) -> Outcome:
        if "force" not in context.params:
            return await take_lock(context)
        first = asyncio.create_task(context.acquire_lock(context.params["force"]))
        await eventually(lambda: is_lock_successor(engine, 1, context.dag_id), what="the successor")
        first.cancel()
        second = asyncio.create_task(context.acquire_lock(context.params["force"]))
        await engine.list_audit(1, limit=1)  # as acquire_lock does
        requested_again.set()
        reply = await second
        return Succeeded() if reply.holder is None else BROKEN

    async def work(context: StepContext) -> Outcome:
        if context.target == "holder":
            working.set()
            await hang(context)
        return Succeeded()

    async def confirm_stopped(context: StepContext) -> bool:
        await confirm_latch.wait()
        return True

    stages = (
        Stage("lock", NORMAL, lock),
        Stage("work", LANE, work, confirm_stopped=confirm_stopped),
    )
    async with open_engine(Operation("op", stages, lock_key="k", takes_lock="lock")) as engine:
        holder = await submit(engine, "op", "holder")
        await working.wait()
        lock_successor_id = await submit(
            engine, "op", "successor", force=[engine.generic_id(holder)]
        )
        await requested_again.wait()
        # A decided operator shows that the earlier requests have been decided, too.
        for dag_id in (lock_successor_id, holder, holder):
            with pytest.raises(OperatorRefused):
                await engine.operate_dag(dag_id, Operator.PASS)
        confirm_latch.open()
        assert await end_of(engine, lock_successor_id) == (State.SUCCEED, Operator.RUN)
        assert await end_of(engine, holder) == (State.SUCCEED, Operator.PASS)
        assert [row.action for row in await engine.list_audit(holder)] == ["FORCE_PASS", "START"]


class SlowStore(SqliteStore):
    """Delays the next batch that moves a sub-task of the DAG `slow_dag_id`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.slow_dag_id = 0
        self.latch = Latch()

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        for batch in batches:
            moves = any(isinstance(change, SubTaskChanged) for change in batch.changes)
            if moves and batch.dag_id == self.slow_dag_id:
                await self.latch.wait()
        return await super().commit(batches)


async def test_force_pass_of_holder_ending_in_same_pass_takes_lock(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    store, releases = SlowStore(tmp_path / "store.sqlite"), [asyncio.Event() for _ in range(3)]

    async def lock(context: StepContext) -> Outcome:
        if "force" in context.params:
            await releases[2].wait()
        return await take_lock(context)

    async def work(context: StepContext) -> Outcome:
        if context.target == "holder":
            await releases[1].wait()
        return Succeeded()

    async def other(context: StepContext) -> Outcome:
        await releases[0].wait()
        return Succeeded()

    stages = (Stage("lock", NORMAL, lock), Stage("work", LANE, work))
    locked = Operation("op", stages, lock_key="k", takes_lock="lock")
    async with open_engine(locked, op(other, name="other"), store=store) as engine:
        holder = await submit(engine, "op", "holder")
        await eventually(lambda: is_at_work(engine, holder), what="the holder at work")
        lock_successor_id = await submit(
            engine, "op", "successor", force=[engine.generic_id(holder)]
        )
        store.slow_dag_id = await submit(engine, "other")
        releases[0].set()
        await store.latch.reached.wait()  # later messages are decided in one pass
        for dag_id, step in ((holder, releases[1]), (lock_successor_id, releases[2])):
            step.set()
            await until_queued(engine, dag_id)
        store.latch.open()
        async with asyncio.timeout(10):
            assert await end_of(engine, lock_successor_id) == (State.SUCCEED, Operator.RUN)
            assert await end_of(engine, holder) == (State.SUCCEED, Operator.RUN)
        assert engine.holder("k") is None


async def is_at_work(engine: Engine, dag_id: int) -> bool:
    detail = await engine.find_dag(dag_id, details=False)
    return detail is not None and detail.dag.stage == 2


async def test_acquire_lock_cancelled_request_takes_no_lock(open_engine: OpenEngine) -> None:
    async def lock(context: StepContext) -> Outcome:
        request = asyncio.create_task(context.acquire_lock())
        await asyncio.sleep(0)  # the request is queued, but not decided
        request.cancel()
        return Succeeded()

    async with open_engine(op(lock, succeed, lock_key="k")) as engine:
        dag = (await engine.wait(await submit(engine))).dag
        assert (dag.state, dag.last_lock_token) == (State.FAILED, 0)
        assert engine.list_locks() == ()
