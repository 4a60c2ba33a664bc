"""A call with a plan: the digest is compared in the step that creates the DAG."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from dagengine import DagDetail, Engine, IdempotencyKey, Operation, Stage, StageKind, Submission
from dagengine.api.caller import ALL_RIGHTS, Caller, CallerKind
from dagengine.api.extension import Call, NoBody, Plan, ServerPlan
from dagengine.api.plans.calls import CurrentPlan, make_plan, submit_planned
from dagengine.api.schemas.tasks import PlanPart
from dagengine.model.outcome import Outcome, Succeeded
from dagengine.model.step import StepContext
from dagengine.testing import Latch
from tests.integration.engine.test_deduplication import BlockedStore
from tests.support.engine_script import OpenEngine
from tests.support.fake_cluster import FakeCluster

CALLER = Caller(CallerKind.ROOT, "root@sys", ALL_RIGHTS, "::1")
SUBMISSION = Submission("op", ("a",))
KEY = IdempotencyKey("k", "digest")


class Planned:
    """A call whose handler submits one DAG, and its plan."""

    def __init__(self, engine: Engine, key: IdempotencyKey | None = None) -> None:
        self.call = Call(engine, NoBody(), CALLER, key=key)
        self.cluster = FakeCluster()
        self.after_plan: Callable[[], Awaitable[object]] | None = None
        self.submission = SUBMISSION

    async def plan(self, call: Call[NoBody]) -> Plan:
        plan = Plan(SUBMISSION, "lock", (ServerPlan("a", "start", "first"),))
        if self.after_plan is not None:
            await self.after_plan()
        return plan

    async def handle(self, call: Call[NoBody]) -> DagDetail:
        return await call.submit(self.submission)

    async def current(self) -> CurrentPlan:
        return await make_plan(self.plan, self.call, self.cluster)

    async def submit(self, plan: CurrentPlan) -> DagDetail | CurrentPlan:
        return await submit_planned(self.handle, self.plan, self.call, self.cluster, plan.digest)


def holding(latch: Latch) -> Operation:
    """An operation that takes the lock and then waits for the latch."""

    async def take(context: StepContext) -> Outcome:
        await context.acquire_lock(())
        await latch.wait()
        return Succeeded()

    return Operation(
        "op", (Stage("take", StageKind.NORMAL, take),), lock_key="lock", takes_lock="take"
    )


async def dag_count(engine: Engine) -> int:
    return len(await engine.list_dags(limit=9, details=False))


async def test_changed_holder_of_lock_starts_nothing(open_engine: OpenEngine) -> None:
    latch = Latch()
    async with open_engine(holding(latch)) as engine:
        planned = Planned(engine)
        free = await planned.current()
        holder = await engine.submit(SUBMISSION)
        await latch.reached.wait()
        held = await planned.submit(free)
        assert isinstance(held, CurrentPlan)
        assert held.changes == (PlanPart.LOCK,)
        latch.open()
        await engine.wait(holder.dag.dag_id)
        again = await planned.submit(held)
        assert isinstance(again, CurrentPlan)
        assert again.changes == (PlanPart.LOCK,)
        assert await dag_count(engine) == 1
        assert isinstance(await planned.submit(free), DagDetail)


async def test_lock_requested_after_the_plan_starts_nothing(open_engine: OpenEngine) -> None:
    """The other DAG has been created, but holds the lock only later."""
    latch = Latch()
    async with open_engine(holding(latch)) as engine:
        planned = Planned(engine)
        free = await planned.current()

        async def submit_other() -> None:
            planned.after_plan = None
            await engine.submit(SUBMISSION)

        planned.after_plan = submit_other
        assert isinstance(await planned.submit(free), CurrentPlan)
        assert await dag_count(engine) == 1
        latch.open()


async def test_cluster_file_changed_after_the_plan_starts_nothing(open_engine: OpenEngine) -> None:
    async with open_engine(holding(Latch())) as engine:
        planned = Planned(engine)
        plan = await planned.current()

        async def change_file() -> None:
            planned.cluster.file_digest = "changed"

        planned.after_plan = change_file
        result = await planned.submit(plan)
        assert isinstance(result, CurrentPlan)
        assert result.changes == (PlanPart.CLUSTER_FILE,)
        assert await dag_count(engine) == 0


async def test_submission_of_other_targets_starts_nothing(open_engine: OpenEngine) -> None:
    async with open_engine(holding(Latch())) as engine:
        planned = Planned(engine)
        planned.submission = replace(SUBMISSION, targets=("b",))
        assert isinstance(await planned.submit(await planned.current()), CurrentPlan)
        assert await dag_count(engine) == 0


async def test_two_calls_with_one_key_create_one_dag(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    """The second arrives while the DAG of the first is being written."""
    store, latch = BlockedStore(tmp_path / "store.sqlite"), Latch()
    async with open_engine(holding(latch), store=store) as engine:
        planned = Planned(engine, KEY)
        plan = await planned.current()
        first = asyncio.create_task(planned.submit(plan), name="first")
        await store.latch.reached.wait()
        second = asyncio.create_task(planned.submit(plan), name="second")
        for _ in range(20):
            await asyncio.sleep(0)
        store.latch.open()
        results = [await first, await second]
        assert all(isinstance(result, DagDetail) for result in results)
        assert await dag_count(engine) == 1
        latch.open()


async def test_two_calls_without_key_create_one_dag(open_engine: OpenEngine) -> None:
    latch = Latch()
    async with open_engine(holding(latch)) as engine:
        planned = Planned(engine)
        plan = await planned.current()
        results = await asyncio.gather(planned.submit(plan), planned.submit(plan))
        assert sorted(type(result).__name__ for result in results) == ["CurrentPlan", "DagDetail"]
        assert await dag_count(engine) == 1
        latch.open()
