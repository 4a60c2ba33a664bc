"""Two DAGs that request one lock, and the force pass of its holder."""

from __future__ import annotations

import pytest

from dagengine import (
    Flags,
    Operation,
    Operator,
    Outcome,
    Stage,
    State,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.testing import Latch
from tests.support.engine_script import (
    LANE,
    LOCKED,
    NORMAL,
    OpenEngine,
    Script,
    dag_state,
    run,
    sub_task_of,
    submit,
    submit_until_latch,
    with_latch,
)


async def test_lock_held_second_dag_fails_and_names_holder(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()
    async with open_engine(with_latch(script.operation(), "check", latch)) as engine:
        holder = await submit_until_latch(engine, latch)
        second = await run(engine)
        assert dag_state(second) == ("FAILED", "RUN", 1)
        description = sub_task_of(second, 1, None).logs[-1].content
        assert engine.generic_id(holder) in description
        assert "'check'" in description
        latch.open()
        assert (await engine.wait(holder)).dag.state is State.SUCCEED


async def test_describe_holder_names_dag_and_survives_restart(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()
    operation = with_latch(script.operation(name="Start it"), "check", latch)
    async with open_engine(operation) as engine:
        holder = (await engine.submit(Submission("Start it", ("a",)))).dag.dag_id
        await latch.reached.wait()
        lock = engine.holder("k")
        assert lock is not None
        assert (lock.reason, lock.dag_id) == ("Start it", holder)
        description = await engine.describe_holder(lock)
        assert description.startswith(
            f"'Start it' {engine.generic_id(holder)}, at stage 2 of 4 'check'"
        )
    async with open_engine(operation) as engine:
        assert engine.holder("k") == lock
        latch.open()
        await engine.wait(holder)
        (free,) = engine.list_locks()
        assert (free.reason, free.dag_id, free.token) == ("", None, lock.token)


async def test_force_pass_cancels_holder_and_hands_over_lock(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()
    async with open_engine(with_latch(script.operation(), "check", latch, "stuck")) as engine:
        holder = await submit_until_latch(engine, latch, "stuck")
        token = engine.holder("k").token  # type: ignore[union-attr]
        submission = Submission("op", ("b",), {"force_pass": [engine.generic_id(holder)]})
        successor = await engine.wait((await engine.submit(submission, by="impatient")).dag.dag_id)
        assert dag_state(successor) == ("SUCCEED", "RUN", 4)
        assert sub_task_of(successor, 1, None).logs[0].content == "broken"
        ended = await engine.find_dag(holder)
        assert ended is not None
        assert (ended.dag.state, ended.dag.operator) == (State.SUCCEED, Operator.PASS)
        assert ended.dag.lock_successor_id is None
        assert successor.dag.last_lock_token == token + 1
        forced, started = await engine.list_audit(holder)
        assert (forced.action, started.action) == ("FORCE_PASS", "START")
        assert forced.by == "impatient"
        assert forced.reason == f"--force-pass of DAG {engine.generic_id(successor.dag.dag_id)}"


async def test_force_pass_of_other_id_changes_nothing(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()
    async with open_engine(with_latch(script.operation(), "check", latch, "slow")) as engine:
        holder = await submit_until_latch(engine, latch, "slow")
        refused = await run(engine, "b", force_pass=[engine.generic_id(99), "garbage"])
        assert dag_state(refused) == ("FAILED", "RUN", 1)
        latch.open()
        assert (await engine.wait(holder)).dag.state is State.SUCCEED
        free = await run(engine, "b", force_pass=[engine.generic_id(holder)])
        assert sub_task_of(free, 1, None).logs[0].content == "taken"


async def test_force_pass_of_uncancellable_holder_is_refused(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()
    uncancellable = script.stage("check", LANE, flags=Flags(can_cancel=False))
    operation = Operation(
        "op", (script.lock_stage(), uncancellable), lock_key="k", takes_lock="lock"
    )
    async with open_engine(with_latch(operation, "check", latch, "slow")) as engine:
        holder = await submit_until_latch(engine, latch, "slow")
        refused = await run(engine, "b", force_pass=[engine.generic_id(holder)])
        assert dag_state(refused) == ("FAILED", "RUN", 1)
        latch.open()
        assert (await engine.wait(holder)).dag.state is State.SUCCEED


@pytest.mark.parametrize("does", ["nothing", "ignores the holder"])
async def test_stage_ending_without_declared_lock_fails_dag(
    open_engine: OpenEngine, script: Script, does: str
) -> None:
    latch = Latch()

    async def lock(context: StepContext) -> Outcome:
        if does == "ignores the holder" or context.params["holds"]:
            await context.acquire_lock()
        return Succeeded()

    stages = (Stage("lock", NORMAL, lock), script.stage("check", LANE))
    operation = Operation("op", stages, **LOCKED)
    async with open_engine(with_latch(operation, "check", latch, "slow")) as engine:
        await submit(engine, "slow", holds=True)
        await latch.reached.wait()
        detail = await run(engine, "a", holds=False)
        assert dag_state(detail) == ("FAILED", "RUN", 1)
        line = sub_task_of(detail, 1, None).logs[-1].content
        assert "ended without the lock that it is declared to take" in line
        assert "[Config.Invalid]" in line
        latch.open()


async def test_acquire_lock_without_lock_key_fails_step(open_engine: OpenEngine) -> None:
    async def lock(context: StepContext) -> Outcome:
        await context.acquire_lock()
        return Succeeded()

    async with open_engine(Operation("op", (Stage("lock", NORMAL, lock),))) as engine:
        detail = await run(engine)
        assert detail.dag.state is State.FAILED
        line = sub_task_of(detail, 1, None).logs[-1].content
        assert "operation 'op' has no lock_key; declare lock_key and takes_lock" in line
