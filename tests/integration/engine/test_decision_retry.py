"""Rejected decisions are made again, and no message is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dagengine import Operation, Operator, Outcome, SqliteStore, State, StepContext, Succeeded
from dagengine.errors import StoreUnavailable
from dagengine.model.changes import Batch, SubTaskChanged
from dagengine.rules import planning as plan
from dagengine.testing import Latch
from dagengine.testing.internals import settled, until_queued
from tests.support.engine_script import OpenEngine
from tests.support.minimal_operations import end_of, hang, op, submit, succeed, take_lock


class InterferingStore(SqliteStore):
    """A store whose next call runs a hook of the test first, or fails."""

    before_load: Callable[[int], Awaitable[None]] | None = None
    fails_to_load_locks = False
    hides_next_commit = False

    async def load_dag(self, dag_id: int) -> Any:
        rows = await super().load_dag(dag_id)
        if (hook := self.before_load) is not None:
            self.before_load = None
            await hook(dag_id)
        return rows

    async def load_locks(self) -> Any:
        if self.fails_to_load_locks:
            self.fails_to_load_locks = False
            raise StoreUnavailable("disk I/O error")
        return await super().load_locks()

    async def commit(self, batches: Sequence[Batch]) -> Any:
        written = await super().commit(batches)
        moves = any(isinstance(c, SubTaskChanged) for b in batches for c in b.changes)
        if self.hides_next_commit and moves:
            self.hides_next_commit = False
            raise StoreUnavailable("fsync failed")
        return written


def contending_operation(release: asyncio.Event, then: Any = succeed) -> Operation:
    """An operation; two DAGs of it at once make one decision stale."""

    async def wait_and_lock(context: StepContext) -> Outcome:
        await release.wait()
        return await take_lock(context)

    return op(wait_and_lock, then, name="locked", lock_key="k")


async def test_scheduler_message_during_reload_is_not_lost(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    store, cancel_tasks = InterferingStore(tmp_path / "store.sqlite"), []
    release, reloaded = asyncio.Event(), asyncio.Event()
    async with open_engine(contending_operation(release, hang), store=store) as engine:
        for _ in range(2):
            await submit(engine, "locked")

        async def cancel(dag_id: int) -> None:
            cancel_tasks.append(
                (dag_id, asyncio.create_task(engine.operate_dag(dag_id, Operator.CANCEL)))
            )
            await until_queued(engine, dag_id)
            reloaded.set()

        await settled(engine)
        store.before_load = cancel
        release.set()
        async with asyncio.timeout(20):
            await reloaded.wait()
        ((dag_id, cancel_task),) = cancel_tasks
        async with asyncio.timeout(5):
            await cancel_task
            assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)


async def test_scheduler_failed_reload_is_repeated(open_engine: OpenEngine, tmp_path: Path) -> None:
    store, release = InterferingStore(tmp_path / "store.sqlite"), asyncio.Event()

    async def wait(context: StepContext) -> Outcome:
        await release.wait()
        return Succeeded()

    async with open_engine(contending_operation(release), op(wait, succeed), store=store) as engine:
        ids = [await submit(engine, name) for name in ("locked", "locked", "op")]
        await settled(engine)
        store.fails_to_load_locks = True
        release.set()
        ends = [(await end_of(engine, dag_id))[0] for dag_id in ids]
        assert sorted(ends) == [State.FAILED, State.SUCCEED, State.SUCCEED]
        assert not store.fails_to_load_locks, "no decision was stale"


async def test_scheduler_durable_commit_reported_failed_is_followed(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    store, latch = InterferingStore(tmp_path / "store.sqlite"), Latch()
    ran: list[str] = []

    async def first(context: StepContext) -> Outcome:
        await latch.wait()
        return Succeeded()

    async def second(context: StepContext) -> Outcome:
        ran.append("second")
        return Succeeded()

    async with open_engine(op(first, second), store=store) as engine:
        dag_id = await submit(engine)
        await latch.reached.wait()
        store.hides_next_commit = True
        latch.open()
        assert await end_of(engine, dag_id) == (State.SUCCEED, Operator.RUN)
        assert ran == ["second"]


async def test_scheduler_error_in_rules_fails_one_dag_only(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, original = asyncio.Event(), plan.end_attempt
    failed_dag_ids: list[int] = []

    def raise_once(snapshot: Any, *more: Any) -> list[plan.AttemptStart]:
        if snapshot.dag.name == "bad" and not failed_dag_ids:
            failed_dag_ids.append(snapshot.dag.dag_id)
            raise ZeroDivisionError
        return original(snapshot, *more)

    async def wait(context: StepContext) -> Outcome:
        await release.wait()
        return Succeeded()

    monkeypatch.setattr(plan, "end_attempt", raise_once)
    async with open_engine(op(wait, name="bad"), op(wait)) as engine:
        ids = [await submit(engine, name) for name in ("op", "bad", "op")]
        await settled(engine)
        release.set()
        ends = [(await end_of(engine, dag_id))[0] for dag_id in ids]
        assert ends == [State.SUCCEED, State.FAILED, State.SUCCEED]
        (line,) = await engine.find_logs(ids[1])
        assert "could not be recorded" in line.content
