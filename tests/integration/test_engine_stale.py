"""Decisions that the store does not take: nobody is told of them, and they are made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagengine import Operator, Outcome, SqliteStore, State, StepContext, Succeeded
from dagengine.engine.events import NodeUpdated, SubTaskUpdated, events_of
from dagengine.engine.messages import AttemptEnded
from dagengine.errors import StaleWrite
from dagengine.model.changes import Batch, LockTaken, SubTaskChanged
from dagengine.store.contract import BatchRefused
from dagengine.testing import Latch
from tests.integration.engine_world import BROKEN, Open, open_engine
from tests.integration.small_operations import end_of, op, submit, succeed, take_lock

__all__ = ["open_engine"]  # a fixture


class Forgetful(SqliteStore):
    """Refuses the next batch that moves a sub-task, if it is told to; knows what it has written."""

    refuses = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written: list[Batch] = []

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        moves = any(isinstance(c, SubTaskChanged) for b in batches for c in b.changes)
        if self.refuses and moves:
            self.refuses = False
            return [StaleWrite("refused by the test") for _ in batches]
        results = await super().commit(batches)
        self.written += [b for b, no in zip(batches, results, strict=True) if no is None]
        return results


async def test_readers_are_told_nothing_that_was_not_written(
    open_engine: Open, tmp_path: Path
) -> None:
    store, gate = Forgetful(tmp_path / "store.sqlite"), Latch()

    async def first(context: StepContext) -> Outcome:
        await gate.wait()
        return Succeeded()

    async with open_engine(op(first, succeed), store=store) as engine:
        dag_id = await submit(engine)
        await gate.reached.wait()
        written_before = len(store.written)
        with engine.subscribe(dag_id) as told:
            store.refuses = True
            gate.open()
            assert await end_of(engine, dag_id) == (State.SUCCEED, Operator.RUN)
        assert not store.refuses, "nothing was refused"
        moves = (NodeUpdated, SubTaskUpdated)
        written = [e for b in store.written[written_before:] for e in events_of(b)]
        told.close()
        assert [e for e in await _rest(told) if isinstance(e, moves)] == [
            e for e in written if isinstance(e, moves)
        ]


async def _rest(told: Any) -> list[Any]:
    """What a reader that was closed has not read yet."""
    found = []
    while told._waiting:
        found.append(await told.next())
    return found


async def test_a_lock_that_was_taken_behind_the_back_of_the_engine_is_seen_at_the_second_try(
    open_engine: Open, tmp_path: Path
) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    async with open_engine(op(take_lock, lock_key="k"), store=store) as engine:
        owner = await submit(engine)
        await engine.wait(owner)
        (free,) = engine.list_locks()
        taken = replace(free, dag_id=owner, token=free.token + 1, reason="behind the back")
        assert await store.commit([Batch(owner, None, (LockTaken(taken),))]) == [None]
        assert engine.holder("k") is None
        async with asyncio.timeout(10):
            assert (await end_of(engine, await submit(engine)))[0] is State.FAILED
        assert engine.holder("k") == taken


async def test_an_attempt_that_has_ended_before_it_began_is_not_begun(open_engine: Open) -> None:
    gate, ran = Latch(), []

    async def first(context: StepContext) -> Outcome:
        await gate.wait()
        return Succeeded()

    async def second(context: StepContext) -> Outcome:
        ran.append(context.attempt_no)
        return Succeeded()

    async with open_engine(op(first, second)) as engine:
        dag_id = await submit(engine)
        await gate.reached.wait()
        engine._scheduler.post(dag_id, AttemptEnded(1, 1, Succeeded()))
        engine._scheduler.post(dag_id, AttemptEnded(2, 1, BROKEN))  # decided in the same pass
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.RUN)
        gate.open()
        assert [a.outcome for a in await engine.find_attempts(2)] == ["Failed"]
    assert ran == []
