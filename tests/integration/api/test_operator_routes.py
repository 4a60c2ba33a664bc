"""The wire: operators on DAGs and nodes (protocol 3.4, 5.3)."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine.testing import Latch
from tests.support.api_controller import ENVELOPE, FIRST, SECOND, ApiController

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
    controller: ApiController, body: Any, expected: str
) -> None:
    dag = await controller.wait_for_end(await controller.start())
    response = await controller.send_signed("POST", f"/task/dag/{dag['id']}", body)
    assert response.refusal == (400, expected, None)
    assert await controller.get(f"/task/dag/{dag['id']}") == dag


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("RETRY", "Task.Dag.Operator.RetryNotFailedDag"),
        ("PASS", "Task.Dag.Operator.PassNotFailedDag"),
    ],
)
async def test_operator_route_on_running_dag_is_refused(
    controller: ApiController, operator: str, expected: str
) -> None:
    dag = await controller.start_held()
    response = await controller.send_signed(
        "POST", f"/task/dag/{dag['id']}", {"operator": operator}
    )
    assert response.refusal == (400, expected, None)
    assert controller.latch is not None
    controller.latch.open()
    assert (await controller.wait_for_end(dag))["state"] == "SUCCEED"


async def test_operator_route_forbidden_by_flags_names_stage(controller: ApiController) -> None:
    controller.latch = Latch()
    dag = (await controller.send_signed("POST", "/fixed")).data
    path = f"/task/dag/{dag['id']}"
    refusal = (400, "Task.Dag.Operator.CancelNotAllowed", None)
    assert (await controller.send_signed("POST", path, {"operator": "CANCEL"})).refusal == refusal
    controller.latch.open()
    await controller.wait_for_end(dag)
    for operator in ("RETRY", "PASS"):
        response = await controller.send_signed("POST", path, {"operator": operator})
        code = f"Task.Dag.Operator.{operator.title()}NotAllowed"
        assert response.refusal == (400, code, None)
        assert "'Stay'" in response.body["error"]["message"]


async def test_operator_route_returns_no_data(controller: ApiController) -> None:
    dag = await controller.start_failing()
    response = await controller.send_signed("POST", f"/task/dag/{dag['id']}", {"operator": "pass"})
    assert (response.status, list(response.body)) == (200, ENVELOPE)


async def test_operator_route_pass_succeeds_dag_at_its_stage(controller: ApiController) -> None:
    controller.broken = {FIRST, SECOND}
    failed = await controller.wait_for_end(await controller.start())
    controller.clock.advance(5)
    await controller.send_signed("POST", f"/task/dag/{failed['id']}", {"operator": "PASS"})
    dag = await controller.wait_for_end(failed)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("SUCCEED", "PASS", 2)
    assert dag["start_time"] == failed["start_time"]
    prepare, *passed = dag["nodes"]
    assert (prepare["state"], prepare["operator"]) == ("SUCCEED", "RUN")
    passed += [task for node in passed for task in node["sub_tasks"]]
    assert [(t["state"], t["operator"]) for t in passed] == [("SUCCEED", "PASS")] * 5
    assert {record["end_time"] for record in passed} == {dag["end_time"]}
    assert dag["end_time"] > failed["end_time"]


async def test_operator_route_retry_reloads_config_and_completes_dag(
    controller: ApiController,
) -> None:
    failed = await controller.start_failing()
    controller.broken = set()
    for operator in ("PASS ", "CANCEL"):
        await controller.send_signed("POST", f"/task/dag/{failed['id']}", {"operator": operator})
    assert controller.reloads == 0
    await controller.send_signed("POST", f"/task/dag/{failed['id']}", {"operator": "RETRY"})
    assert controller.reloads == 1
    dag = await controller.wait_for_end(failed)
    assert (dag["state"], dag["operator"], dag["id"]) == ("SUCCEED", "RUN", failed["id"])
    good, bad = dag["nodes"][1]["sub_tasks"]
    assert (good["execute_times"], bad["execute_times"]) == (1, 2)


async def test_operator_route_cancel_fails_dag_and_is_recorded(controller: ApiController) -> None:
    running = await controller.start_held()
    await controller.send_signed("POST", f"/task/dag/{running['id']}", {"operator": "CANCEL"})
    dag = await controller.wait_for_end(running)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("FAILED", "CANCEL", 2)
    assert (dag["nodes"][1]["state"], dag["nodes"][1]["operator"]) == ("FAILED", "CANCEL")
    assert all(task["task_logs"] for task in dag["nodes"][1]["sub_tasks"])
    assert dag["nodes"][2]["state"] == "PENDING"


async def test_operator_route_body_id_must_match_path(controller: ApiController) -> None:
    dag = await controller.start_failing()
    path = f"/task/dag/{dag['id']}"
    other = await controller.send_signed("POST", path, {"operator": "PASS", "id": dag["id"] + "9"})
    assert other.refusal == (404, "Task.NotFound", None)
    assert (await controller.get(path))["state"] == "FAILED"
    same = await controller.send_signed("POST", path, {"operator": "PASS", "id": dag["id"]})
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
    controller: ApiController, text: str, body: Any, expected: tuple[int, str]
) -> None:
    await controller.wait_for_end(await controller.start())
    response = await controller.send_signed("POST", f"/task/dag/{text}", body)
    assert response.refusal == (*expected, None)


async def test_node_route_pass_resumes_dag(controller: ApiController) -> None:
    controller.broken = {FIRST, SECOND}
    failed = await controller.wait_for_end(await controller.start())
    path = f"/task/node/{failed['nodes'][1]['id']}"
    response = await controller.send_signed("POST", path, {"operator": "pass"})
    assert (response.status, list(response.body)) == (200, ENVELOPE)
    dag = await controller.wait_for_end(failed)
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
    controller: ApiController, node: int, body: Any, expected: str
) -> None:
    dag = await controller.start_failing()
    response = await controller.send_signed("POST", f"/task/node/{dag['nodes'][node]['id']}", body)
    assert response.refusal == (400, expected, None)
    assert await controller.get(f"/task/dag/{dag['id']}") == dag


async def test_node_route_pass_of_succeeded_dag_is_refused(controller: ApiController) -> None:
    dag = await controller.wait_for_end(await controller.start())
    response = await controller.send_signed(
        "POST", f"/task/node/{dag['nodes'][1]['id']}", {"operator": "PASS"}
    )
    assert response.refusal == (400, "Task.Node.Operator.PassNotFailedDag", None)
