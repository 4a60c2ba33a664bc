"""A DAG that goes on after its end: it holds its lock again; what PASS of a node refuses."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from dagengine import DagDetail, Engine, Operation, Operator, Outcome, StepContext
from dagengine.errors import OperatorRefused
from dagengine.testing import Latch
from tests.integration.engine_world import (
    ALL,
    BROKEN,
    LANE,
    Open,
    Script,
    held,
    hold_at,
    how,
    open_engine,
    operate,
    run,
    script,
    submit,
    task,
)

__all__ = ["open_engine", "script"]  # fixtures


def node_of(detail: DagDetail, stage: int) -> int:
    assert detail.nodes is not None
    return detail.nodes[stage - 1].node.node_id


def slow_second_time(script: Script, gate: Latch) -> Operation:
    """Lane a fails in `start`; what runs after that, there or behind it or back, waits."""

    async def gate_it(context: StepContext) -> None:
        if script.ran["start", "a"]:
            await gate.wait()

    def wrap(name: str, inner: Any) -> Any:
        async def step(context: StepContext) -> Outcome:
            if (name, context.target) in (("start", "a"), ("end", "a")):
                await gate_it(context)
            outcome: Outcome = await inner(context)
            return outcome

        return step

    stages = [script.lock_stage()]
    for name in ("start", "end"):
        stage = script.stage(name, LANE)
        stages.append(replace(stage, run=wrap(name, stage.run), undo=wrap(name, stage.undo)))
    return Operation("op", tuple(stages), lock_key="k")


@pytest.mark.parametrize("operator", [Operator.RETRY, Operator.ROLLBACK, Operator.PASS])
async def test_a_dag_that_goes_on_has_its_lock_to_itself_until_it_ends(
    open_engine: Open, script: Script, operator: Operator
) -> None:
    gate = Latch()
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(slow_second_time(script, gate)) as engine:
        failed = await run(engine)
        dag_id = failed.dag.dag_id
        assert engine.holder("k") is None
        script.outcomes.clear()
        asking: Coroutine[Any, Any, None] = (
            engine.pass_node(node_of(failed, 2))
            if operator is Operator.PASS
            else engine.operate_dag(dag_id, operator)
        )
        await asking
        await gate.reached.wait()
        holder = engine.holder("k")
        assert holder is not None
        assert holder.dag_id == dag_id
        other = await run(engine, "c")
        assert how(other) == ("FAILED", "RUN", 1)
        assert engine.generic_id(dag_id) in task(other, 1, None).logs[-1].content
        gate.open()
        assert (await engine.wait(dag_id)).dag.state == "SUCCEED"
        assert engine.holder("k") is None
        assert how(await operate(engine, other.dag.dag_id, Operator.RETRY)) == ("SUCCEED", "RUN", 3)


async def _refused_pass(engine: Engine, detail: DagDetail, stage: int) -> OperatorRefused:
    """The refusal of PASS of a node, which changes nothing."""
    before = await engine.find_dag(detail.dag.dag_id)
    with pytest.raises(OperatorRefused) as caught:
        await engine.pass_node(node_of(detail, stage))
    assert await engine.find_dag(detail.dag.dag_id) == before
    actions = [row.action for row in await engine.list_audit(detail.dag.dag_id)]
    assert "PASS" not in actions
    return caught.value


async def test_a_node_that_may_not_be_passed_is_not(open_engine: Open, script: Script) -> None:
    script.outcomes["start", "a"] = BROKEN
    stages = (
        script.stage("start", LANE, flags=replace(ALL, can_pass=False)),
        script.stage("verify", LANE),
    )
    async with open_engine(Operation("op", stages)) as engine:
        refusal = await _refused_pass(engine, await run(engine), 1)
        assert refusal.err_code == "Task.Node.Operator.PassNotAllowed"
        assert "'start' cannot be passed" in str(refusal)
        assert script.ran["verify", "a"] == 0


async def test_a_node_is_not_passed_once_a_rollback_has_undone_something(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    script.undo_fails.add(("start", "b"))
    async with open_engine(script.operation()) as engine:
        dag_id = await submit(engine)
        await engine.wait(dag_id)
        undone = await operate(engine, dag_id, Operator.ROLLBACK)
        assert how(undone) == ("FAILED", "ROLLBACK", 3)
        refusal = await _refused_pass(engine, undone, 3)
        assert refusal.err_code == "Task.Node.Operator.PassNotAllowed"
        assert "a rollback of DAG 'op' has started" in str(refusal)
        assert script.ran["verify", None] == 1


async def test_what_has_not_failed_is_refused_for_that_whoever_holds_the_lock(
    open_engine: Open, script: Script
) -> None:
    gate = Latch()
    async with open_engine(held(script.operation(), "check", gate, "slow")) as engine:
        done = await run(engine)
        slow = await hold_at(engine, gate, "slow")
        for operator in (Operator.RETRY, Operator.ROLLBACK):
            with pytest.raises(OperatorRefused, match="is SUCCEED, not FAILED"):
                await engine.operate_dag(done.dag.dag_id, operator)
        with pytest.raises(OperatorRefused, match="is SUCCEED, not FAILED"):
            await engine.pass_node(node_of(done, 2))
        gate.open()
        await engine.wait(slow)
