"""Decisions that the store refuses are not published, and are made again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagengine import Operator, Outcome, SqliteStore, State, StepContext, Succeeded
from dagengine.engine.active_dag import AttemptEnded
from dagengine.engine.events import NodeUpdated, SubTaskUpdated, events_of
from dagengine.errors import EngineStopped, StaleWrite
from dagengine.model.changes import Batch, LockTaken, SubTaskChanged
from dagengine.store.contract import BatchRefused
from dagengine.testing import Latch
from dagengine.testing.internals import post_message
from tests.support.engine_script import BROKEN, OpenEngine
from tests.support.minimal_operations import end_of, op, submit, succeed, take_lock


class RefusingStore(SqliteStore):
    """Refuses the next batch that moves a sub-task, on request; records the written batches."""

    refuses_next = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written: list[Batch] = []

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        moves = any(isinstance(c, SubTaskChanged) for b in batches for c in b.changes)
        if self.refuses_next and moves:
            self.refuses_next = False
            return [StaleWrite("refused by the test") for _ in batches]
        results = await super().commit(batches)
        self.written += [b for b, refusal in zip(batches, results, strict=True) if refusal is None]
        return results


async def test_subscription_receives_only_committed_events(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    store, latch = RefusingStore(tmp_path / "store.sqlite"), Latch()

    async def first(context: StepContext) -> Outcome:
        await latch.wait()
        return Succeeded()

    async with open_engine(op(first, succeed), store=store) as engine:
        dag_id = await submit(engine)
        await latch.reached.wait()
        written_before = len(store.written)
        with engine.subscribe(dag_id) as subscription:
            store.refuses_next = True
            latch.open()
            assert await end_of(engine, dag_id) == (State.SUCCEED, Operator.RUN)
        assert not store.refuses_next, "nothing was refused"
        moves = (NodeUpdated, SubTaskUpdated)
        written = [e for b in store.written[written_before:] for e in events_of(b)]
        subscription.close()
        assert [e for e in await unread_events(subscription) if isinstance(e, moves)] == [
            e for e in written if isinstance(e, moves)
        ]


async def unread_events(subscription: Any) -> list[Any]:
    """Return the unread events of a closed subscription."""
    unread = []
    with suppress(EngineStopped):
        while True:
            unread.append(await subscription.next())
    return unread


async def test_lock_table_lock_taken_externally_is_reloaded(
    open_engine: OpenEngine, tmp_path: Path
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


async def test_scheduler_attempt_ended_before_start_is_not_run(open_engine: OpenEngine) -> None:
    latch, ran = Latch(), []

    async def first(context: StepContext) -> Outcome:
        await latch.wait()
        return Succeeded()

    async def second(context: StepContext) -> Outcome:
        ran.append(context.attempt_no)
        return Succeeded()

    async with open_engine(op(first, second)) as engine:
        dag_id = await submit(engine)
        await latch.reached.wait()
        post_message(engine, dag_id, AttemptEnded(1, 1, Succeeded()))
        post_message(engine, dag_id, AttemptEnded(2, 1, BROKEN))  # decided in the same pass
        assert await end_of(engine, dag_id) == (State.FAILED, Operator.RUN)
        latch.open()
        assert [a.outcome for a in await engine.find_attempts(2)] == ["Failed"]
    assert ran == []
