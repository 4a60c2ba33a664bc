"""The wire: what a person may do to a DAG or a node (protocol 3.4, 5.3)."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine.testing import Latch
from tests.integration.api_world import (
    ENVELOPE,
    FIRST,
    SECOND,
    World,
    world,
)

__all__ = ["world"]  # the fixture

# --- 3.4 and 5.3 operators -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, "Common.BindJsonFailed"),
        ({}, "Common.BindJsonFailed"),
        ({"operator": None}, "Common.BindJsonFailed"),
        ({"operator": ""}, "Common.BindJsonFailed"),
        ({"operator": 5}, "Common.BindJsonFailed"),
        ([], "Common.BindJsonFailed"),
        ({"operator": "RUN"}, "Task.Dag.Operator.NotSupport"),
        ({"operator": "STOP"}, "Task.Dag.Operator.NotSupport"),
        ({"operator": " PASS"}, "Task.Dag.Operator.NotSupport"),
        ({"operator": "CANCEL"}, "Task.Dag.Operator.CancelFinishedDag"),
        ({"operator": "retry"}, "Task.Dag.Operator.RetryNotFailedDag"),
        ({"OPERATOR": "Pass"}, "Task.Dag.Operator.PassNotFailedDag"),
    ],
)
async def test_what_may_not_be_done_to_a_dag_that_succeeded(
    world: World, body: Any, expected: str
) -> None:
    dag = await world.ended(await world.start())
    answer = await world.ask("POST", f"/task/dag/{dag['id']}", body)
    assert answer.refusal == (400, expected, None)
    assert await world.get(f"/task/dag/{dag['id']}") == dag


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("RETRY", "Task.Dag.Operator.RetryNotFailedDag"),
        ("PASS", "Task.Dag.Operator.PassNotFailedDag"),
    ],
)
async def test_what_may_not_be_done_to_a_running_dag(
    world: World, operator: str, expected: str
) -> None:
    dag = await world.running()
    answer = await world.ask("POST", f"/task/dag/{dag['id']}", {"operator": operator})
    assert answer.refusal == (400, expected, None)
    assert world.gate is not None
    world.gate.open()
    assert (await world.ended(dag))["state"] == "SUCCEED"


async def test_a_stage_says_what_may_not_be_done_to_it(world: World) -> None:
    world.gate = Latch()
    dag = (await world.ask("POST", "/fixed")).data
    path = f"/task/dag/{dag['id']}"
    refusal = (400, "Task.Dag.Operator.CancelNotAllowed", None)
    assert (await world.ask("POST", path, {"operator": "CANCEL"})).refusal == refusal
    world.gate.open()
    await world.ended(dag)
    for operator in ("RETRY", "PASS"):
        answer = await world.ask("POST", path, {"operator": operator})
        code = f"Task.Dag.Operator.{operator.title()}NotAllowed"
        assert answer.refusal == (400, code, None)
        assert "'Stay'" in answer.body["error"]["message"]


async def test_an_operator_answers_without_data(world: World) -> None:
    dag = await world.failed()
    answer = await world.ask("POST", f"/task/dag/{dag['id']}", {"operator": "pass"})
    assert (answer.status, list(answer.body)) == (200, ENVELOPE)


async def test_a_passed_dag_has_succeeded_at_its_stage(world: World) -> None:
    world.broken = {FIRST, SECOND}
    failed = await world.ended(await world.start())
    world.clock.advance(5)
    await world.ask("POST", f"/task/dag/{failed['id']}", {"operator": "PASS"})
    dag = await world.ended(failed)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("SUCCEED", "PASS", 2)
    assert dag["start_time"] == failed["start_time"]
    prepare, *passed = dag["nodes"]
    assert (prepare["state"], prepare["operator"]) == ("SUCCEED", "RUN")
    passed += [task for node in passed for task in node["sub_tasks"]]
    assert [(t["state"], t["operator"]) for t in passed] == [("SUCCEED", "PASS")] * 5
    assert {thing["end_time"] for thing in passed} == {dag["end_time"]}
    assert dag["end_time"] > failed["end_time"]


async def test_a_retried_dag_shows_run_and_ends_well_once_it_is_mended(world: World) -> None:
    failed = await world.failed()
    world.broken = set()
    for operator in ("PASS ", "CANCEL"):
        await world.ask("POST", f"/task/dag/{failed['id']}", {"operator": operator})
    assert world.reloads == 0
    await world.ask("POST", f"/task/dag/{failed['id']}", {"operator": "RETRY"})
    assert world.reloads == 1
    dag = await world.ended(failed)
    assert (dag["state"], dag["operator"], dag["id"]) == ("SUCCEED", "RUN", failed["id"])
    good, bad = dag["nodes"][1]["sub_tasks"]
    assert (good["execute_times"], bad["execute_times"]) == (1, 2)


async def test_a_cancelled_dag_has_failed_and_keeps_the_operator(world: World) -> None:
    running = await world.running()
    await world.ask("POST", f"/task/dag/{running['id']}", {"operator": "CANCEL"})
    dag = await world.ended(running)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("FAILED", "CANCEL", 2)
    assert (dag["nodes"][1]["state"], dag["nodes"][1]["operator"]) == ("FAILED", "CANCEL")
    assert all(task["task_logs"] for task in dag["nodes"][1]["sub_tasks"])
    assert dag["nodes"][2]["state"] == "PENDING"


async def test_an_id_in_the_body_must_be_the_one_of_the_dag(world: World) -> None:
    dag = await world.failed()
    path = f"/task/dag/{dag['id']}"
    other = await world.ask("POST", path, {"operator": "PASS", "id": dag["id"] + "9"})
    assert other.refusal == (404, "Task.NotFound", None)
    assert (await world.get(path))["state"] == "FAILED"
    same = await world.ask("POST", path, {"operator": "PASS", "id": dag["id"]})
    assert same.status == 200


@pytest.mark.parametrize(
    ("text", "body", "expected"),
    [
        ("x", {}, (400, "Task.GenericID.Invalid")),
        ("201684300820288611", {}, (400, "Common.BindJsonFailed")),
        ("201684300810288699", {}, (400, "Common.BindJsonFailed")),
        ("201684300810288699", {"operator": "STOP"}, (404, "Task.NotFound")),
        ("2016843008102886001", {"operator": "STOP"}, (404, "Task.NotFound")),
        ("20168430081028861", {"operator": "STOP"}, (400, "Task.Dag.Operator.NotSupport")),
    ],
)
async def test_of_several_things_wrong_with_an_operator_the_first_is_told(
    world: World, text: str, body: Any, expected: tuple[int, str]
) -> None:
    await world.ended(await world.start())
    answer = await world.ask("POST", f"/task/dag/{text}", body)
    assert answer.refusal == (*expected, None)


async def test_a_passed_node_lets_the_dag_go_on(world: World) -> None:
    world.broken = {FIRST, SECOND}
    failed = await world.ended(await world.start())
    path = f"/task/node/{failed['nodes'][1]['id']}"
    answer = await world.ask("POST", path, {"operator": "pass"})
    assert (answer.status, list(answer.body)) == (200, ENVELOPE)
    dag = await world.ended(failed)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("SUCCEED", "RUN", 3)
    _, work, finish = dag["nodes"]
    passed = (work, *work["sub_tasks"])
    assert {(thing["state"], thing["operator"]) for thing in passed} == {("SUCCEED", "PASS")}
    assert (finish["state"], finish["operator"]) == ("SUCCEED", "RUN")


@pytest.mark.parametrize(
    ("node", "body", "expected"),
    [
        (1, {}, "Common.BindJsonFailed"),
        (1, {"operator": "RETRY"}, "Task.Node.Operator.NotSupport"),
        (1, {"operator": "x"}, "Task.Node.Operator.NotSupport"),
        (0, {"operator": "PASS"}, "Task.Node.Operator.PassNotFailedNode"),
    ],
)
async def test_what_may_not_be_done_to_a_node(
    world: World, node: int, body: Any, expected: str
) -> None:
    dag = await world.failed()
    answer = await world.ask("POST", f"/task/node/{dag['nodes'][node]['id']}", body)
    assert answer.refusal == (400, expected, None)
    assert await world.get(f"/task/dag/{dag['id']}") == dag


async def test_a_node_of_a_dag_that_has_not_failed_cannot_be_passed(world: World) -> None:
    dag = await world.ended(await world.start())
    answer = await world.ask("POST", f"/task/node/{dag['nodes'][1]['id']}", {"operator": "PASS"})
    assert answer.refusal == (400, "Task.Node.Operator.PassNotFailedDag", None)
