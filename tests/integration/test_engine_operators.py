"""What people ask of a DAG: CANCEL, RETRY, ROLLBACK, PASS; what is refused, and why."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from dagengine import Operation, Operator
from dagengine.errors import Conflict, LockHeld, OperatorRefused
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
    states,
    task,
)

__all__ = ["open_engine", "script"]  # fixtures


async def test_cancel_ends_what_runs_and_leaves_the_rest(open_engine: Open, script: Script) -> None:
    gate = Latch()
    async with open_engine(held(script.operation(), "start", gate, "a")) as engine:
        dag_id = await hold_at(engine, gate)
        assert engine.holder("k") is not None
        detail = await operate(engine, dag_id, Operator.CANCEL)
        assert how(detail) == ("FAILED", "CANCEL", 3)
        assert task(detail, 3, "a").logs[-1].content == "sub task cancelled"
        assert states(detail)[3] == "PENDING+RUN"
        assert script.ran["verify", None] == 0
        assert engine.holder("k") is None


async def test_operators_are_refused_where_they_make_no_sense(
    open_engine: Open, script: Script
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
async def test_a_flag_that_is_missing_refuses_and_names_the_stage(
    open_engine: Open, script: Script, flag: str, operator: Operator, code: str
) -> None:
    script.outcomes["start", "a"] = BROKEN
    stage = script.stage("start", LANE, flags=replace(ALL, **{flag: False}))
    async with open_engine(Operation("op", (stage,))) as engine:
        dag_id = (await run(engine)).dag.dag_id
        with pytest.raises(OperatorRefused, match="'start'") as caught:
            await engine.operate_dag(dag_id, operator)
        assert caught.value.err_code == f"Task.Dag.Operator.{code}"


async def test_pass_calls_everything_unfinished_done(open_engine: Open, script: Script) -> None:
    script.outcomes["check", None] = BROKEN
    script.outcomes["start", "a"] = script.outcomes["start", "b"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        passed = await operate(engine, failed.dag.dag_id, Operator.PASS)
        assert how(passed) == ("SUCCEED", "PASS", 3)
        assert states(passed) == ["SUCCEED+RUN", "SUCCEED+RUN", "SUCCEED+PASS", "SUCCEED+PASS"]
        assert script.ran["verify", None] == 0


async def test_a_passed_node_lets_its_lanes_go_on(open_engine: Open, script: Script) -> None:
    script.outcomes["check", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        assert script.ran["verify", None] == 1
        assert failed.nodes is not None
        node_id = failed.nodes[1].node.node_id
        await engine.pass_node(node_id, by="me", reason="looked at it")
        done = await engine.wait(failed.dag.dag_id)
        assert how(done) == ("SUCCEED", "RUN", 4)
        assert states(done)[1] == "SUCCEED+PASS"
        assert script.ran["check", "a"] == 1
        assert script.ran["start", "a"] == script.ran["start", "b"] == 1
        assert script.ran["verify", None] == 2
        row = (await engine.list_audit(failed.dag.dag_id))[0]
        assert (row.action, row.node_id, row.by, row.reason) == (
            "PASS",
            node_id,
            "me",
            "looked at it",
        )
        with pytest.raises(OperatorRefused) as caught:
            await engine.pass_node(node_id)
        assert caught.value.err_code == "Task.Node.Operator.PassNotFailedDag"


async def test_a_rollback_undoes_downwards_what_has_run(open_engine: Open, script: Script) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        undone = await operate(engine, failed.dag.dag_id, Operator.ROLLBACK)
        assert how(undone) == ("SUCCEED", "ROLLBACK", 1)
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


async def test_a_failed_rollback_can_be_repeated_and_what_is_undone_stays_so(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    script.undo_fails.add(("start", "b"))
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        again = await operate(engine, failed.dag.dag_id, Operator.ROLLBACK)
        assert how(again) == ("FAILED", "ROLLBACK", 3)
        assert states(again)[:2] == ["PENDING+ROLLBACK"] * 2
        script.undo_fails.clear()
        undone = await operate(engine, failed.dag.dag_id, Operator.ROLLBACK)
        assert how(undone) == ("SUCCEED", "ROLLBACK", 1)
        assert script.undone["start", "b"] == 2
        assert script.undone["start", "a"] == script.undone["verify", None] == 1


async def test_a_retry_after_a_failed_rollback_does_everything_again(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    script.undo_fails.add(("start", "b"))
    async with open_engine(script.operation()) as engine:
        dag_id = (await run(engine)).dag.dag_id
        await operate(engine, dag_id, Operator.ROLLBACK)
        script.outcomes.clear()
        assert how(await operate(engine, dag_id, Operator.RETRY)) == ("SUCCEED", "RUN", 4)
        assert script.ran["start", "b"] == 2


async def test_a_rollback_is_refused_once_another_dag_has_held_the_lock(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        await run(engine)
        with pytest.raises(OperatorRefused, match="another DAG has held the lock"):
            await engine.operate_dag(failed.dag.dag_id, Operator.ROLLBACK)


@pytest.mark.parametrize("operator", [Operator.RETRY, Operator.ROLLBACK, Operator.PASS])
async def test_what_goes_on_needs_the_lock(
    open_engine: Open, script: Script, operator: Operator
) -> None:
    script.outcomes["start", "a"] = BROKEN
    gate = Latch()
    async with open_engine(held(script.operation(), "check", gate, "slow")) as engine:
        failed = await run(engine)
        slow = await hold_at(engine, gate, "slow")
        assert failed.nodes is not None
        asking = (
            engine.pass_node(failed.nodes[2].node.node_id)
            if operator is Operator.PASS
            else engine.operate_dag(failed.dag.dag_id, operator)
        )
        with pytest.raises(LockHeld, match=engine.generic_id(slow)):
            await asking
        untouched = await engine.find_dag(failed.dag.dag_id)
        assert untouched == failed
        gate.open()
        await engine.wait(slow)


async def test_of_two_operators_at_once_one_wins_and_the_other_is_told(
    open_engine: Open, script: Script
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
