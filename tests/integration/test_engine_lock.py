"""Two DAGs that want one lock, and the force pass that ends its holder."""

from __future__ import annotations

from dagengine import Flags, Operation, Operator, State, Submission
from dagengine.testing import Latch
from tests.integration.engine_world import (
    LANE,
    Open,
    Script,
    held,
    hold_at,
    how,
    open_engine,
    run,
    script,
    task,
)

__all__ = ["open_engine", "script"]  # fixtures


async def test_the_second_dag_fails_at_stage_1_and_names_the_holder(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    async with open_engine(held(script.operation(), "check", gate)) as engine:
        holder = await hold_at(engine, gate)
        second = await run(engine)
        assert how(second) == ("FAILED", "RUN", 1)
        said = task(second, 1, None).logs[-1].content
        assert engine.generic_id(holder) in said
        assert "'check'" in said
        gate.open()
        assert (await engine.wait(holder)).dag.state is State.SUCCEED


async def test_a_lock_says_what_holds_it_also_after_a_restart(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    operation = held(script.operation(name="Start it"), "check", gate)
    async with open_engine(operation) as engine:
        holder = (await engine.submit(Submission("Start it", ("a",)))).dag.dag_id
        await gate.reached.wait()
        lock = engine.holder("k")
        assert lock is not None
        assert (lock.reason, lock.dag_id) == ("Start it", holder)
        said = await engine.describe_holder(lock)
        assert said.startswith(f"'Start it' {engine.generic_id(holder)}, at stage 2 of 4 'check'")
    async with open_engine(operation) as engine:
        assert engine.holder("k") == lock
        gate.open()
        await engine.wait(holder)
        (free,) = engine.list_locks()
        assert (free.reason, free.dag_id, free.token) == ("", None, lock.token)


async def test_a_force_pass_ends_the_holder_and_hands_the_lock_over(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    async with open_engine(held(script.operation(), "check", gate, "stuck")) as engine:
        holder = await hold_at(engine, gate, "stuck")
        token = engine.holder("k").token  # type: ignore[union-attr]
        wanted = Submission("op", ("b",), {"force_pass": [engine.generic_id(holder)]})
        lock_successor_id = await engine.wait(
            (await engine.submit(wanted, by="impatient")).dag.dag_id
        )
        assert how(lock_successor_id) == ("SUCCEED", "RUN", 4)
        assert task(lock_successor_id, 1, None).logs[0].content == "broken"
        ended = await engine.find_dag(holder)
        assert ended is not None
        assert (ended.dag.state, ended.dag.operator) == (State.SUCCEED, Operator.PASS)
        assert ended.dag.lock_successor_id is None
        assert lock_successor_id.dag.held == token + 1
        forced, started = await engine.list_audit(holder)
        assert (forced.action, started.action) == ("FORCE_PASS", "START")
        assert forced.by == "impatient"
        assert (
            forced.reason
            == f"forcePassDag of DAG {engine.generic_id(lock_successor_id.dag.dag_id)}"
        )


async def test_a_force_pass_of_another_id_changes_nothing(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    async with open_engine(held(script.operation(), "check", gate, "slow")) as engine:
        holder = await hold_at(engine, gate, "slow")
        refused = await run(engine, "b", force_pass=[engine.generic_id(99), "garbage"])
        assert how(refused) == ("FAILED", "RUN", 1)
        gate.open()
        assert (await engine.wait(holder)).dag.state is State.SUCCEED
        free = await run(engine, "b", force_pass=[engine.generic_id(holder)])
        assert task(free, 1, None).logs[0].content == "taken"


async def test_a_force_pass_of_what_cannot_be_cancelled_is_refused_by_the_holder(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    rigid = script.stage("check", LANE, flags=Flags(can_cancel=False))
    operation = Operation("op", (script.lock_stage(), rigid), lock_key="k")
    async with open_engine(held(operation, "check", gate, "slow")) as engine:
        holder = await hold_at(engine, gate, "slow")
        refused = await run(engine, "b", force_pass=[engine.generic_id(holder)])
        assert how(refused) == ("FAILED", "RUN", 1)
        gate.open()
        assert (await engine.wait(holder)).dag.state is State.SUCCEED
