"""Decisions that do not count: they are made again, and nothing of them is lost."""

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
from dagengine.testing import Latch, eventually
from tests.integration.engine_world import Open, open_engine
from tests.integration.small_operations import end_of, hang, op, submit, succeed, take_lock

__all__ = ["open_engine"]  # a fixture

HALF = "\ud800"  # half a surrogate pair: no text that can be encoded


class Meddled(SqliteStore):
    """A store whose next call of a kind is preceded by, or fails with, what a test says."""

    before_load: Callable[[int], Awaitable[None]] | None = None
    fails_to_load_locks = False
    hides_a_commit = False

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
        if self.hides_a_commit and moves:
            self.hides_a_commit = False
            raise StoreUnavailable("fsync failed")
        return written


def racing(gate: asyncio.Event, then: Any = succeed) -> Operation:
    """An operation of which two at once make one decision stale."""

    async def want(context: StepContext) -> Outcome:
        await gate.wait()
        return await take_lock(context)

    return op(want, then, name="locked", lock_key="k")


async def test_what_comes_while_a_dag_is_read_again_is_not_lost(
    open_engine: Open, tmp_path: Path
) -> None:
    store, go, asked = Meddled(tmp_path / "store.sqlite"), asyncio.Event(), []
    async with open_engine(racing(go, hang), store=store) as engine:
        for _ in range(2):
            await submit(engine, "locked")

        async def cancel(dag_id: int) -> None:
            asked.append((dag_id, asyncio.create_task(engine.operate_dag(dag_id, Operator.CANCEL))))
            await asyncio.sleep(0.01)

        await asyncio.sleep(0.05)
        store.before_load = cancel
        go.set()
        await eventually(lambda: _some(asked), what="a DAG that is read again")
        ((dag_id, asking),) = asked
        async with asyncio.timeout(5):
            await asking
            assert await end_of(engine, dag_id) == (State.FAILED, Operator.CANCEL)


async def _some(found: list[Any]) -> bool:
    return bool(found)


async def test_a_read_that_fails_costs_nobody_anything(open_engine: Open, tmp_path: Path) -> None:
    store, go = Meddled(tmp_path / "store.sqlite"), asyncio.Event()

    async def wait(context: StepContext) -> Outcome:
        await go.wait()
        return Succeeded()

    async with open_engine(racing(go), op(wait, succeed), store=store) as engine:
        ids = [await submit(engine, name) for name in ("locked", "locked", "op")]
        await asyncio.sleep(0.05)
        store.fails_to_load_locks = True
        go.set()
        ends = [(await end_of(engine, dag_id))[0] for dag_id in ids]
        assert sorted(ends) == [State.FAILED, State.SUCCEED, State.SUCCEED]
        assert not store.fails_to_load_locks, "no decision was stale"


async def test_a_commit_that_is_reported_as_refused_but_is_durable_is_followed(
    open_engine: Open, tmp_path: Path
) -> None:
    store, gate = Meddled(tmp_path / "store.sqlite"), Latch()
    ran: list[str] = []

    async def first(context: StepContext) -> Outcome:
        await gate.wait()
        return Succeeded()

    async def second(context: StepContext) -> Outcome:
        ran.append("second")
        return Succeeded()

    async with open_engine(op(first, second), store=store) as engine:
        dag_id = await submit(engine)
        await gate.reached.wait()
        store.hides_a_commit = True
        gate.open()
        assert await end_of(engine, dag_id) == (State.SUCCEED, Operator.RUN)
        assert ran == ["second"]


async def test_a_defect_of_the_rules_costs_one_dag_not_the_others(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, right = asyncio.Event(), plan.end_attempt
    spoilt: list[int] = []

    def wrong(snapshot: Any, *more: Any) -> list[plan.Start]:
        if snapshot.dag.name == "bad" and not spoilt:
            spoilt.append(snapshot.dag.dag_id)
            raise ZeroDivisionError
        return right(snapshot, *more)

    async def wait(context: StepContext) -> Outcome:
        await go.wait()
        return Succeeded()

    monkeypatch.setattr(plan, "end_attempt", wrong)
    async with open_engine(op(wait, name="bad"), op(wait)) as engine:
        ids = [await submit(engine, name) for name in ("op", "bad", "op")]
        await asyncio.sleep(0.05)
        go.set()
        ends = [(await end_of(engine, dag_id))[0] for dag_id in ids]
        assert ends == [State.SUCCEED, State.FAILED, State.SUCCEED]
        (line,) = await engine.find_logs(ids[1])
        assert "could not be recorded" in line.content
