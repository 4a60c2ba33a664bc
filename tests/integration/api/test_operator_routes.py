"""The wire: what a person may do to a DAG or a node (protocol 3.4, 5.3)."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine.testing import Latch
from tests.support.api_controller import (
    ENVELOPE,
    FIRST,
    SECOND,
    ApiController,
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
async def test_operator_route_on_succeeded_dag_is_refused(
    world: ApiController, body: Any, expected: str
) -> None:
    dag = await world.ended(await world.start())
    response = await world.send_signed("POST", f"/task/dag/{dag['id']}", body)
    assert response.refusal == (400, expected, None)
    assert await world.get(f"/task/dag/{dag['id']}") == dag


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("RETRY", "Task.Dag.Operator.RetryNotFailedDag"),
        ("PASS", "Task.Dag.Operator.PassNotFailedDag"),
    ],
)
async def test_operator_route_on_running_dag_is_refused(
    world: ApiController, operator: str, expected: str
) -> None:
    dag = await world.running()
    response = await world.send_signed("POST", f"/task/dag/{dag['id']}", {"operator": operator})
    assert response.refusal == (400, expected, None)
    assert world.latch is not None
    world.latch.open()
    assert (await world.ended(dag))["state"] == "SUCCEED"


async def test_operator_route_forbidden_by_flags_names_stage(world: ApiController) -> None:
    world.latch = Latch()
    dag = (await world.send_signed("POST", "/fixed")).data
    path = f"/task/dag/{dag['id']}"
    refusal = (400, "Task.Dag.Operator.CancelNotAllowed", None)
    assert (await world.send_signed("POST", path, {"operator": "CANCEL"})).refusal == refusal
    world.latch.open()
    await world.ended(dag)
    for operator in ("RETRY", "PASS"):
        response = await world.send_signed("POST", path, {"operator": operator})
        code = f"Task.Dag.Operator.{operator.title()}NotAllowed"
        assert response.refusal == (400, code, None)
        assert "'Stay'" in response.body["error"]["message"]


async def test_operator_route_returns_no_data(world: ApiController) -> None:
    dag = await world.failed()
    response = await world.send_signed("POST", f"/task/dag/{dag['id']}", {"operator": "pass"})
    assert (response.status, list(response.body)) == (200, ENVELOPE)


async def test_operator_route_pass_succeeds_dag_at_its_stage(world: ApiController) -> None:
    world.broken = {FIRST, SECOND}
    failed = await world.ended(await world.start())
    world.clock.advance(5)
    await world.send_signed("POST", f"/task/dag/{failed['id']}", {"operator": "PASS"})
    dag = await world.ended(failed)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("SUCCEED", "PASS", 2)
    assert dag["start_time"] == failed["start_time"]
    prepare, *passed = dag["nodes"]
    assert (prepare["state"], prepare["operator"]) == ("SUCCEED", "RUN")
    passed += [task for node in passed for task in node["sub_tasks"]]
    assert [(t["state"], t["operator"]) for t in passed] == [("SUCCEED", "PASS")] * 5
    assert {record["end_time"] for record in passed} == {dag["end_time"]}
    assert dag["end_time"] > failed["end_time"]


async def test_operator_route_retry_reloads_config_and_completes_dag(world: ApiController) -> None:
    failed = await world.failed()
    world.broken = set()
    for operator in ("PASS ", "CANCEL"):
        await world.send_signed("POST", f"/task/dag/{failed['id']}", {"operator": operator})
    assert world.reloads == 0
    await world.send_signed("POST", f"/task/dag/{failed['id']}", {"operator": "RETRY"})
    assert world.reloads == 1
    dag = await world.ended(failed)
    assert (dag["state"], dag["operator"], dag["id"]) == ("SUCCEED", "RUN", failed["id"])
    good, bad = dag["nodes"][1]["sub_tasks"]
    assert (good["execute_times"], bad["execute_times"]) == (1, 2)


async def test_operator_route_cancel_fails_dag_and_is_recorded(world: ApiController) -> None:
    running = await world.running()
    await world.send_signed("POST", f"/task/dag/{running['id']}", {"operator": "CANCEL"})
    dag = await world.ended(running)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("FAILED", "CANCEL", 2)
    assert (dag["nodes"][1]["state"], dag["nodes"][1]["operator"]) == ("FAILED", "CANCEL")
    assert all(task["task_logs"] for task in dag["nodes"][1]["sub_tasks"])
    assert dag["nodes"][2]["state"] == "PENDING"


async def test_operator_route_body_id_must_match_path(world: ApiController) -> None:
    dag = await world.failed()
    path = f"/task/dag/{dag['id']}"
    other = await world.send_signed("POST", path, {"operator": "PASS", "id": dag["id"] + "9"})
    assert other.refusal == (404, "Task.NotFound", None)
    assert (await world.get(path))["state"] == "FAILED"
    same = await world.send_signed("POST", path, {"operator": "PASS", "id": dag["id"]})
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
async def test_operator_route_reports_first_error_in_order(
    world: ApiController, text: str, body: Any, expected: tuple[int, str]
) -> None:
    await world.ended(await world.start())
    response = await world.send_signed("POST", f"/task/dag/{text}", body)
    assert response.refusal == (*expected, None)


async def test_node_route_pass_resumes_dag(world: ApiController) -> None:
    world.broken = {FIRST, SECOND}
    failed = await world.ended(await world.start())
    path = f"/task/node/{failed['nodes'][1]['id']}"
    response = await world.send_signed("POST", path, {"operator": "pass"})
    assert (response.status, list(response.body)) == (200, ENVELOPE)
    dag = await world.ended(failed)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("SUCCEED", "RUN", 3)
    _, work, finish = dag["nodes"]
    passed = (work, *work["sub_tasks"])
    assert {(record["state"], record["operator"]) for record in passed} == {("SUCCEED", "PASS")}
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
async def test_node_route_invalid_operator_is_refused(
    world: ApiController, node: int, body: Any, expected: str
) -> None:
    dag = await world.failed()
    response = await world.send_signed("POST", f"/task/node/{dag['nodes'][node]['id']}", body)
    assert response.refusal == (400, expected, None)
    assert await world.get(f"/task/dag/{dag['id']}") == dag


async def test_node_route_pass_of_succeeded_dag_is_refused(world: ApiController) -> None:
    dag = await world.ended(await world.start())
    response = await world.send_signed(
        "POST", f"/task/node/{dag['nodes'][1]['id']}", {"operator": "PASS"}
    )
    assert response.refusal == (400, "Task.Node.Operator.PassNotFailedDag", None)
