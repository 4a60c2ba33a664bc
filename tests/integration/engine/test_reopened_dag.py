"""A DAG that continues after its end holds its lock again; refusals of PASS of a node."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from dagengine import DagDetail, Engine, Operation, Operator, Outcome, StepContext
from dagengine.errors import OperatorRefused
from dagengine.testing import Latch
from tests.support.engine_script import (
    ALL,
    BROKEN,
    LANE,
    OpenEngine,
    Script,
    dag_state,
    operate,
    run,
    sub_task_of,
    submit,
    submit_until_latch,
    with_latch,
)


def node_id_of(detail: DagDetail, stage: int) -> int:
    assert detail.nodes is not None
    return detail.nodes[stage - 1].node.node_id


def with_latch_after_failure(script: Script, latch: Latch) -> Operation:
    """Lane a fails in `start`; every later step, undo steps included, waits at the latch."""

    async def wait_at_latch(context: StepContext) -> None:
        if script.ran["start", "a"]:
            await latch.wait()

    def wrap(name: str, inner: Any) -> Any:
        async def step(context: StepContext) -> Outcome:
            if (name, context.target) in (("start", "a"), ("end", "a")):
                await wait_at_latch(context)
            outcome: Outcome = await inner(context)
            return outcome

        return step

    stages = [script.lock_stage()]
    for name in ("start", "end"):
        stage = script.stage(name, LANE)
        stages.append(replace(stage, run=wrap(name, stage.run), undo=wrap(name, stage.undo)))
    return Operation("op", tuple(stages), lock_key="k", takes_lock="lock")


@pytest.mark.parametrize("operator", [Operator.RETRY, Operator.ROLLBACK, Operator.PASS])
async def test_reopened_dag_holds_lock_until_its_end(
    open_engine: OpenEngine, script: Script, operator: Operator
) -> None:
    latch = Latch()
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(with_latch_after_failure(script, latch)) as engine:
        failed = await run(engine)
        dag_id = failed.dag.dag_id
        assert engine.holder("k") is None
        script.outcomes.clear()
        request: Coroutine[Any, Any, None] = (
            engine.pass_node(node_id_of(failed, 2))
            if operator is Operator.PASS
            else engine.operate_dag(dag_id, operator)
        )
        await request
        await latch.reached.wait()
        holder = engine.holder("k")
        assert holder is not None
        assert holder.dag_id == dag_id
        other = await run(engine, "c")
        assert dag_state(other) == ("FAILED", "RUN", 1)
        assert engine.generic_id(dag_id) in sub_task_of(other, 1, None).logs[-1].content
        latch.open()
        assert (await engine.wait(dag_id)).dag.state == "SUCCEED"
        assert engine.holder("k") is None
        assert dag_state(await operate(engine, other.dag.dag_id, Operator.RETRY)) == (
            "SUCCEED",
            "RUN",
            3,
        )


async def _refused_pass(engine: Engine, detail: DagDetail, stage: int) -> OperatorRefused:
    """The refusal of PASS of a node, which changes nothing."""
    before = await engine.find_dag(detail.dag.dag_id)
    with pytest.raises(OperatorRefused) as caught:
        await engine.pass_node(node_id_of(detail, stage))
    assert await engine.find_dag(detail.dag.dag_id) == before
    actions = [row.action for row in await engine.list_audit(detail.dag.dag_id)]
    assert "PASS" not in actions
    return caught.value


async def test_pass_node_without_can_pass_is_refused(
    open_engine: OpenEngine, script: Script
) -> None:
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


async def test_pass_node_after_partial_rollback_is_refused(
    open_engine: OpenEngine, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    script.undo_fails.add(("start", "b"))
    async with open_engine(script.operation()) as engine:
        dag_id = await submit(engine)
        await engine.wait(dag_id)
        undone = await operate(engine, dag_id, Operator.ROLLBACK)
        assert dag_state(undone) == ("FAILED", "ROLLBACK", 3)
        refusal = await _refused_pass(engine, undone, 3)
        assert refusal.err_code == "Task.Node.Operator.PassNotAllowed"
        assert "a rollback of DAG 'op' has started" in str(refusal)
        assert script.ran["verify", None] == 1


async def test_operate_dag_succeeded_dag_is_refused_despite_held_lock(
    open_engine: OpenEngine, script: Script
) -> None:
    latch = Latch()
    async with open_engine(with_latch(script.operation(), "check", latch, "slow")) as engine:
        done = await run(engine)
        slow = await submit_until_latch(engine, latch, "slow")
        for operator in (Operator.RETRY, Operator.ROLLBACK):
            with pytest.raises(OperatorRefused, match="is SUCCEED, not FAILED"):
                await engine.operate_dag(done.dag.dag_id, operator)
        with pytest.raises(OperatorRefused, match="is SUCCEED, not FAILED"):
            await engine.pass_node(node_id_of(done, 2))
        latch.open()
        await engine.wait(slow)
