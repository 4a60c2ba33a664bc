"""The operators CANCEL, RETRY, ROLLBACK and PASS, and their refusals with reasons."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from dagengine import Operation, Operator
from dagengine.errors import Conflict, LockHeld, OperatorRefused
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
    states,
    sub_task_of,
    submit_until_latch,
    with_latch,
)


async def test_cancel_ends_running_steps_only(open_engine: OpenEngine, script: Script) -> None:
    latch = Latch()
    async with open_engine(with_latch(script.operation(), "start", latch, "a")) as engine:
        dag_id = await submit_until_latch(engine, latch)
        assert engine.holder("k") is not None
        detail = await operate(engine, dag_id, Operator.CANCEL)
        assert dag_state(detail) == ("FAILED", "CANCEL", 3)
        assert sub_task_of(detail, 3, "a").logs[-1].content == "sub task cancelled"
        assert states(detail)[3] == "PENDING+RUN"
        assert script.ran["verify", None] == 0
        assert engine.holder("k") is None


async def test_operate_dag_succeeded_dag_refuses_every_operator(
    open_engine: OpenEngine, script: Script
) -> None:
    async with open_engine(script.operation()) as engine:
        dag_id = (await run(engine)).dag.dag_id
        for operator, code in (
            (Operator.CANCEL, "CancelFinishedDag"),
            (Operator.RETRY, "RetryNotFailedDag"),
            (Operator.ROLLBACK, "RollbackNotFailedDag"),
            (Operator.PASS, "PassNotFailedDag"),
            (Operator.RUN, "NotSupport"),
        ):
            with pytest.raises(OperatorRefused) as caught:
                await engine.operate_dag(dag_id, operator)
            assert caught.value.err_code == f"Task.Dag.Operator.{code}"
        assert [row.action for row in await engine.list_audit()] == ["START"]


@pytest.mark.parametrize(
    ("flag", "operator", "code"),
    [
        ("can_retry", Operator.RETRY, "RetryNotAllowed"),
        ("can_rollback", Operator.ROLLBACK, "RollbackNotAllowed"),
        ("can_pass", Operator.PASS, "PassNotAllowed"),
    ],
)
async def test_operate_dag_missing_flag_is_refused_with_stage(
    open_engine: OpenEngine, script: Script, flag: str, operator: Operator, code: str
) -> None:
    script.outcomes["start", "a"] = BROKEN
    stage = script.stage("start", LANE, flags=replace(ALL, **{flag: False}))
    async with open_engine(Operation("op", (stage,))) as engine:
        dag_id = (await run(engine)).dag.dag_id
        with pytest.raises(OperatorRefused, match="'start'") as caught:
            await engine.operate_dag(dag_id, operator)
        assert caught.value.err_code == f"Task.Dag.Operator.{code}"


async def test_pass_dag_sets_unfinished_nodes_to_succeed(
    open_engine: OpenEngine, script: Script
) -> None:
    script.outcomes["check", None] = BROKEN
    script.outcomes["start", "a"] = script.outcomes["start", "b"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        passed = await operate(engine, failed.dag.dag_id, Operator.PASS)
        assert dag_state(passed) == ("SUCCEED", "PASS", 3)
        assert states(passed) == ["SUCCEED+RUN", "SUCCEED+RUN", "SUCCEED+PASS", "SUCCEED+PASS"]
        assert script.ran["verify", None] == 0


async def test_pass_node_resumes_its_lanes(open_engine: OpenEngine, script: Script) -> None:
    script.outcomes["check", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        assert script.ran["verify", None] == 1
        assert failed.nodes is not None
        node_id = failed.nodes[1].node.node_id
        await engine.pass_node(node_id, by="me", reason="inspected it")
        done = await engine.wait(failed.dag.dag_id)
        assert dag_state(done) == ("SUCCEED", "RUN", 4)
        assert states(done)[1] == "SUCCEED+PASS"
        assert script.ran["check", "a"] == 1
        assert script.ran["start", "a"] == script.ran["start", "b"] == 1
        assert script.ran["verify", None] == 2
        row = (await engine.list_audit(failed.dag.dag_id))[0]
        assert (row.action, row.node_id, row.by, row.reason) == (
            "PASS",
            node_id,
            "me",
            "inspected it",
        )
        with pytest.raises(OperatorRefused) as caught:
            await engine.pass_node(node_id)
        assert caught.value.err_code == "Task.Node.Operator.PassNotFailedDag"


async def test_rollback_undoes_executed_stages_in_reverse(
    open_engine: OpenEngine, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        undone = await operate(engine, failed.dag.dag_id, Operator.ROLLBACK)
        assert dag_state(undone) == ("SUCCEED", "ROLLBACK", 1)
        assert states(undone) == ["SUCCEED+ROLLBACK"] * 4
        assert script.undone == Counter(
            dict.fromkeys(
                [("verify", None)]
                + [(name, target) for name in ("check", "start") for target in "ab"],
                1,
            )
        )
        assert next(iter(script.undone)) == ("verify", None)
        assert {name for name, _ in list(script.undone)[1:3]} == {"start"}
        assert engine.holder("k") is None


async def test_rollback_failed_is_repeated_for_rest_only(
    open_engine: OpenEngine, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    script.undo_fails.add(("start", "b"))
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        failed_rollback = await operate(engine, failed.dag.dag_id, Operator.ROLLBACK)
        assert dag_state(failed_rollback) == ("FAILED", "ROLLBACK", 3)
        assert states(failed_rollback)[:2] == ["PENDING+ROLLBACK"] * 2
        script.undo_fails.clear()
        undone = await operate(engine, failed.dag.dag_id, Operator.ROLLBACK)
        assert dag_state(undone) == ("SUCCEED", "ROLLBACK", 1)
        assert script.undone["start", "b"] == 2
        assert script.undone["start", "a"] == script.undone["verify", None] == 1


async def test_retry_after_failed_rollback_reruns_undone_stages(
    open_engine: OpenEngine, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    script.undo_fails.add(("start", "b"))
    async with open_engine(script.operation()) as engine:
        dag_id = (await run(engine)).dag.dag_id
        await operate(engine, dag_id, Operator.ROLLBACK)
        script.outcomes.clear()
        assert dag_state(await operate(engine, dag_id, Operator.RETRY)) == ("SUCCEED", "RUN", 4)
        assert script.ran["start", "b"] == 2


async def test_rollback_after_other_lock_holder_is_refused(
    open_engine: OpenEngine, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        await run(engine)
        with pytest.raises(OperatorRefused, match="another DAG has held the lock"):
            await engine.operate_dag(failed.dag.dag_id, Operator.ROLLBACK)


@pytest.mark.parametrize("operator", [Operator.RETRY, Operator.ROLLBACK, Operator.PASS])
async def test_operate_dag_while_lock_is_held_is_refused(
    open_engine: OpenEngine, script: Script, operator: Operator
) -> None:
    script.outcomes["start", "a"] = BROKEN
    latch = Latch()
    async with open_engine(with_latch(script.operation(), "check", latch, "slow")) as engine:
        failed = await run(engine)
        slow = await submit_until_latch(engine, latch, "slow")
        assert failed.nodes is not None
        request = (
            engine.pass_node(failed.nodes[2].node.node_id)
            if operator is Operator.PASS
            else engine.operate_dag(failed.dag.dag_id, operator)
        )
        with pytest.raises(LockHeld, match=engine.generic_id(slow)):
            await request
        untouched = await engine.find_dag(failed.dag.dag_id)
        assert untouched == failed
        latch.open()
        await engine.wait(slow)


async def test_operate_dag_concurrent_operators_accept_only_one(
    open_engine: OpenEngine, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        dag_id = (await run(engine)).dag.dag_id
        results = await asyncio.gather(
            engine.operate_dag(dag_id, Operator.PASS),
            engine.operate_dag(dag_id, Operator.RETRY),
            engine.operate_dag(dag_id, Operator.PASS),
            return_exceptions=True,
        )
        refused = [result for result in results if result is not None]
        assert len(refused) == 2, results
        assert all(isinstance(exc, OperatorRefused | Conflict) for exc in refused)
        await engine.wait(dag_id)
        assert len(await engine.list_audit(dag_id)) == 2
