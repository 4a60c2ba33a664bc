"""Who waits for a broken lock: it is asked for twice, too late, or by nobody any more."""

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
from tests.integration.engine_world import BROKEN, LANE, NORMAL, Open, open_engine
from tests.integration.small_operations import end_of, hang, op, submit, succeed, take_lock

__all__ = ["open_engine"]  # a fixture


async def test_an_heir_that_asks_again_still_waits_for_its_lock(open_engine: Open) -> None:
    proof, working, asked = Latch(), asyncio.Event(), asyncio.Event()

    async def lock(context: StepContext) -> Outcome:
        if "force" not in context.params:
            return await take_lock(context)
        first = asyncio.create_task(context.acquire_lock(context.params["force"]))
        await eventually(lambda: _is_heir(engine, 1, context.dag_id), what="the heir")
        first.cancel()
        second = asyncio.create_task(context.acquire_lock(context.params["force"]))
        await engine.list_audit(1, limit=1)  # as the asking does
        asked.set()
        reply = await second
        return Succeeded() if reply.holder is None else BROKEN

    async def work(context: StepContext) -> Outcome:
        if context.target == "holder":
            working.set()
            await hang(context)
        return Succeeded()

    async def confirm_stopped(context: StepContext) -> bool:
        await proof.wait()
        return True

    stages = (
        Stage("lock", NORMAL, lock),
        Stage("work", LANE, work, confirm_stopped=confirm_stopped),
    )
    async with open_engine(Operation("op", stages, lock_key="k")) as engine:
        holder = await submit(engine, "op", "holder")
        await working.wait()
        lock_successor_id = await submit(engine, "op", "heir", force=[engine.generic_id(holder)])
        await asked.wait()
        for dag_id in (
            lock_successor_id,
            holder,
            holder,
        ):  # what was asked before these has been decided
            with pytest.raises(OperatorRefused):
                await engine.operate_dag(dag_id, Operator.PASS)
        proof.open()
        assert await end_of(engine, lock_successor_id) == (State.SUCCEED, Operator.RUN)
        assert await end_of(engine, holder) == (State.SUCCEED, Operator.PASS)
        assert [row.action for row in await engine.list_audit(holder)] == ["FORCE_PASS", "START"]


async def _is_heir(engine: Engine, holder: int, lock_successor_id: int) -> bool:
    found = await engine.find_dag(holder, details=False)
    return found is not None and found.dag.lock_successor_id == lock_successor_id


class Busy(SqliteStore):
    """Is slow, when it is told to, with the next batch that moves a sub-task of that DAG."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.slow_for = 0
        self.gate = Latch()

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        for batch in batches:
            moves = any(isinstance(change, SubTaskChanged) for change in batch.changes)
            if moves and batch.dag_id == self.slow_for:
                await self.gate.wait()
        return await super().commit(batches)


async def test_a_lock_whose_holder_ends_in_the_moment_of_the_force_pass_is_simply_taken(
    open_engine: Open, tmp_path: Path
) -> None:
    store, go = Busy(tmp_path / "store.sqlite"), [asyncio.Event() for _ in range(3)]

    async def lock(context: StepContext) -> Outcome:
        if "force" in context.params:
            await go[2].wait()
        return await take_lock(context)

    async def work(context: StepContext) -> Outcome:
        if context.target == "holder":
            await go[1].wait()
        return Succeeded()

    async def other(context: StepContext) -> Outcome:
        await go[0].wait()
        return Succeeded()

    stages = (Stage("lock", NORMAL, lock), Stage("work", LANE, work))
    locked = Operation("op", stages, lock_key="k")
    async with open_engine(locked, op(other, name="other"), store=store) as engine:
        holder = await submit(engine, "op", "holder")
        await eventually(lambda: _holds(engine, holder), what="the holder at work")
        lock_successor_id = await submit(engine, "op", "heir", force=[engine.generic_id(holder)])
        store.slow_for = await submit(engine, "other")
        go[0].set()
        await store.gate.reached.wait()  # what comes now is decided in one pass, later
        live = engine._scheduler.active
        for dag_id, step in ((holder, go[1]), (lock_successor_id, go[2])):
            step.set()
            inbox = live[dag_id].inbox
            await eventually(lambda inbox=inbox: _some(inbox), what="what the step says")
        store.gate.open()
        async with asyncio.timeout(10):
            assert await end_of(engine, lock_successor_id) == (State.SUCCEED, Operator.RUN)
            assert await end_of(engine, holder) == (State.SUCCEED, Operator.RUN)
        assert engine.holder("k") is None


async def _holds(engine: Engine, dag_id: int) -> bool:
    found = await engine.find_dag(dag_id, details=False)
    return found is not None and found.dag.stage == 2


async def _some(found: Sequence[object]) -> bool:
    return bool(found)


async def test_a_lock_that_nobody_waits_for_any_more_is_not_taken(open_engine: Open) -> None:
    async def lock(context: StepContext) -> Outcome:
        asking = asyncio.create_task(context.acquire_lock())
        await asyncio.sleep(0)  # it has asked, and nobody has decided
        asking.cancel()
        return Succeeded()

    async with open_engine(op(lock, succeed, lock_key="k")) as engine:
        dag = (await engine.wait(await submit(engine))).dag
        assert (dag.state, dag.held) == (State.SUCCEED, 0)
        assert engine.list_locks() == ()
