"""The wire: reading tasks, and their ids (protocol 3.4, 4)."""

from __future__ import annotations

from datetime import datetime

import pytest

from dagengine import AgentAddress
from dagengine.testing import eventually
from tests.support.api_controller import (
    AGENT_HEADER,
    AGENT_PASSWORD,
    DAG,
    FIRST,
    LOG,
    NODE,
    ROOT_HEADER,
    SECOND,
    SUB_TASK,
    TIME,
    ApiController,
)

# --- 3.4 reading tasks ---------------------------------------------------------------------------


async def test_dag_route_details_have_every_field_in_order(controller: ApiController) -> None:
    dag = await controller.start_held()
    assert list(dag) == DAG
    assert [list(node) for node in dag["nodes"]] == [NODE] * 3
    tasks = [task for node in dag["nodes"] for task in node["sub_tasks"]]
    assert [list(task) for task in tasks] == [SUB_TASK] * 4
    assert [node["name"] for node in dag["nodes"]] == ["Prepare", "Work", "Finish"]
    assert [node["state"] for node in dag["nodes"]] == ["SUCCEED", "RUNNING", "PENDING"]
    assert (dag["state"], dag["stage"], dag["max_stage"]) == ("RUNNING", 2, 3)
    assert {record["operator"] for record in (dag, *dag["nodes"], *tasks)} == {"RUN"}
    assert controller.latch is not None
    controller.latch.open()


async def test_dag_route_execute_agent_depends_on_node_kind(
    controller: ApiController,
) -> None:
    dag = await controller.wait_for_end(await controller.start())
    agents_by_node = [
        [task["execute_agent"] for task in node["sub_tasks"]] for node in dag["nodes"]
    ]
    controller_agent = {"ip": "10.10.10.1", "port": 2886}
    first, second = {"ip": "10.0.0.1", "port": 2886}, {"ip": "fe80::1", "port": 2887}
    assert agents_by_node == [[controller_agent], [first, second], [controller_agent]]
    names = [{task["name"] for task in node["sub_tasks"]} for node in dag["nodes"]]
    assert names == [{"Prepare"}, {"Work"}, {"Finish"}]


async def test_dag_route_end_time_equals_start_time_until_end(controller: ApiController) -> None:
    dag = await controller.start_held()
    _, work, finish = dag["nodes"]
    for record in (dag, work, finish, *work["sub_tasks"], *finish["sub_tasks"]):
        assert record["end_time"] == record["start_time"]
        assert TIME.fullmatch(record["start_time"])
    assert controller.latch is not None
    controller.latch.open()
    dag = await controller.wait_for_end(dag)
    _, work, finish = dag["nodes"]
    for record in (dag, work, finish, *work["sub_tasks"], *finish["sub_tasks"]):
        started, ended = map(datetime.fromisoformat, (record["start_time"], record["end_time"]))
        assert ended > started


async def test_dag_route_task_logs_are_null_before_run(controller: ApiController) -> None:
    dag = await controller.start_held()
    prepare, work, finish = dag["nodes"]
    assert prepare["sub_tasks"][0]["task_logs"] == []
    assert [task["task_logs"] for task in work["sub_tasks"]] == [
        [f"{FIRST}: at work"],
        [f"{SECOND}: at work"],
    ]
    (waiting,) = finish["sub_tasks"]
    assert (waiting["state"], waiting["task_logs"]) == ("PENDING", None)
    assert (waiting["execute_times"], work["sub_tasks"][0]["execute_times"]) == (0, 1)
    assert controller.latch is not None
    controller.latch.open()


async def test_dag_route_failed_sub_task_ends_with_error_line(controller: ApiController) -> None:
    dag = await controller.start_failing()
    assert (dag["state"], dag["stage"]) == ("FAILED", 2)
    good, bad = dag["nodes"][1]["sub_tasks"]
    assert (good["state"], bad["state"], dag["nodes"][1]["state"]) == (
        "SUCCEED",
        "FAILED",
        "FAILED",
    )
    assert bad["task_logs"][-1] == f"ERROR: [Wire.Broken]: {SECOND} is broken; repair it"


async def test_dag_route_maintenance_type_is_2_while_locked(controller: ApiController) -> None:
    dag = await controller.start_held()
    assert dag["maintenance_type"] == 2
    assert controller.latch is not None
    controller.latch.open()
    assert (await controller.wait_for_end(dag))["maintenance_type"] == 1


async def test_additional_data_is_merged_into_requested_record(
    controller: ApiController,
) -> None:
    dag = await controller.wait_for_end(await controller.start())
    evidence = {"a": {"x": 2, "y": 1}, "level": "sql", "z": 1}
    both = {"evidence": {FIRST: evidence, SECOND: evidence}}
    assert dag["additional_data"] == both | {"summary": "all done"}
    tasks = [task for node in dag["nodes"] for task in node["sub_tasks"]]
    assert {str(record["additional_data"]) for record in (*dag["nodes"], *tasks)} == {"None"}
    prepare, work, finish = [await controller.get(f"/task/node/{n['id']}") for n in dag["nodes"]]
    assert prepare["additional_data"] is None  # of one part: its value
    assert work["additional_data"] == both
    assert finish["additional_data"] == {"summary": "all done"}
    assert [task["additional_data"] for task in work["sub_tasks"]] == [None, None]
    single = await controller.get(f"/task/sub_task/{work['sub_tasks'][1]['id']}")
    assert single["additional_data"] == {"evidence": {SECOND: evidence}}


async def test_additional_data_keys_are_sorted(controller: ApiController) -> None:
    dag = await controller.wait_for_end(await controller.start())
    text = (await controller.send_signed("GET", f"/task/dag/{dag['id']}")).text
    assert '{"a":{"x":2,"y":1},"level":"sql","z":1}' in text
    assert text.index(f'"{FIRST}":') < text.index(f'"{SECOND}":')


async def test_node_and_sub_task_routes_match_dag_details(controller: ApiController) -> None:
    dag = await controller.wait_for_end(await controller.start())
    for node in dag["nodes"]:
        alone = await controller.get(f"/task/node/{node['id']}")
        assert list(alone) == NODE
        assert alone | {"additional_data": None} == node
        for task in node["sub_tasks"]:
            alone = await controller.get(f"/task/sub_task/{task['id']}")
            assert list(alone) == SUB_TASK
            assert alone | {"additional_data": None} == task


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ("", True),
        *((f"?show_details={text}", True) for text in ("1", "t", "T", "TRUE", "true", "True")),
        *((f"?show_details={text}", False) for text in ("0", "f", "F", "FALSE", "false", "False")),
        ("?show_details=", False),
        ("?show_details", False),
        ("?other=false", True),
    ],
)
async def test_show_details_defaults_to_true(
    controller: ApiController, query: str, details: bool
) -> None:
    dag = await controller.wait_for_end(await controller.start())
    fetched = await controller.get(f"/task/dag/{dag['id']}{query}")
    assert (fetched["nodes"] is not None) is details
    assert (fetched["additional_data"] is not None) is details
    assert fetched | {"nodes": 0, "additional_data": 0} == dag | {"nodes": 0, "additional_data": 0}
    node = await controller.get(f"/task/node/{dag['nodes'][1]['id']}{query}")
    assert (node["sub_tasks"] is not None) is details
    assert (node["additional_data"] is not None) is details
    (listed,) = (await controller.get(f"/task/dags/agent{query}"))["contents"]
    assert listed == fetched


@pytest.mark.parametrize("text", ["yes", "TrUe", "2", "-", "%20true", "null"])
async def test_show_details_invalid_value_is_refused(controller: ApiController, text: str) -> None:
    dag = await controller.wait_for_end(await controller.start())
    for path in (f"/task/dag/{dag['id']}", f"/task/node/{dag['nodes'][0]['id']}", "/task/dags/ob"):
        response = await controller.send_signed("GET", f"{path}?show_details={text}")
        assert response.refusal == (400, "Common.IllegalArgument", None)


async def test_logs_route_rows_have_attempt_and_time(controller: ApiController) -> None:
    dag = await controller.start_failing()
    bad = dag["nodes"][1]["sub_tasks"][1]
    await controller.send_signed("POST", f"/task/dag/{dag['id']}", {"operator": "RETRY"})
    await controller.wait_for_end(dag)
    rows = (await controller.get(f"/task/sub_task/{bad['id']}/logs"))["contents"]
    assert [list(row) for row in rows] == [LOG] * 4
    assert [row["log_content"] for row in rows][:1] == [f"{SECOND}: at work"]
    assert [row["execute_times"] for row in rows] == sorted(row["execute_times"] for row in rows)
    assert len({row["id"] for row in rows}) == 4
    for row in rows:
        assert row["sub_task_id"] == bad["task_id"]
        assert row["is_sync"] is False
        assert TIME.fullmatch(row["create_time"])
        assert row["update_time"] == row["create_time"]


async def test_logs_route_unknown_sub_task_is_empty(controller: ApiController) -> None:
    assert await controller.get("/task/sub_task/201684300810288619/logs") == {"contents": []}


async def test_unfinish_routes_list_running_dags(controller: ApiController) -> None:
    failed = await controller.start_failing()
    running = await controller.start_held()
    for path in ("/task/dag/unfinish", "/task/dag/agent/unfinish", "/task/dag/agent/main_dags"):
        (listed,) = (await controller.get(path))["contents"]
        assert listed == running
        (listed,) = (await controller.get(f"{path}?show_details=false"))["contents"]
        assert (listed["id"], listed["nodes"]) == (running["id"], None)
    everything = (await controller.get("/task/dags/agent?show_details=false"))["contents"]
    assert [dag["id"] for dag in everything] == [running["id"], failed["id"]]
    assert controller.latch is not None
    controller.latch.open()
    await controller.wait_for_end(running)
    for path in ("/task/dag/unfinish", "/task/dag/agent/main_dags"):
        assert await controller.get(path) == {"contents": []}


async def test_database_dag_lists_are_empty(controller: ApiController) -> None:
    running = await controller.start_held()
    for path in ("/task/dags/ob", "/task/dag/ob/unfinish"):
        assert await controller.get(path) == {"contents": []}
    assert controller.latch is not None
    controller.latch.open()
    await controller.wait_for_end(running)


# --- 3.4 and 4.5 ids -----------------------------------------------------------------------------

ID_ROUTES = [
    ("GET", "/task/dag/{}"),
    ("POST", "/task/dag/{}"),
    ("GET", "/task/node/{}"),
    ("POST", "/task/node/{}"),
    ("GET", "/task/sub_task/{}"),
    ("GET", "/task/sub_task/{}/logs"),
]
OPERATOR = {"operator": "PASS"}


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "x",
        "7",
        "0201684300810288611",
        "2",
        "2016843008102886",
        "3" + "0" * 44,
        "2x168430081028861",
        "2999999999902886" + "1",
        "2000000000102886" + "1",
        "2016843008102x861",
        "201684300810288x1x",
        "20168430081028861.5",
        "20168430081028869223372036854775808",
        "1e5",
        "1%20",
        "%00",
        "%C3%A4",
    ],
)
async def test_task_routes_invalid_id_is_refused(controller: ApiController, text: str) -> None:
    for method, path in ID_ROUTES:
        response = await controller.send_signed(
            method, path.format(text), OPERATOR if method == "POST" else None
        )
        assert response.refusal == (400, "Task.GenericID.Invalid", None)
        assert response.body["error"]["message"].startswith("Invalid ID: ")


@pytest.mark.parametrize(
    "text",
    [
        "201684300810288699",  # nothing there yet
        "20168430081028860",
        "2016843008102886-5",
        "20168430081028869223372036854775807",
        "11",  # of the cluster's own database
        "201684300820288611",  # 10.10.10.2
        "201684300810288711",  # another port
        "3" + "338288524927261089654018896841347694593" + "02886" + "1",
    ],
)
async def test_task_routes_unknown_id_is_not_found(controller: ApiController, text: str) -> None:
    await controller.wait_for_end(await controller.start())
    for method, path in ID_ROUTES[:-1]:
        response = await controller.send_signed(
            method, path.format(text), OPERATOR if method == "POST" else None
        )
        assert response.refusal == (404, "Task.NotFound", None)
        assert response.body["error"]["message"].startswith("Task not found")


async def test_logs_route_id_of_other_agent_is_not_found(controller: ApiController) -> None:
    response = await controller.send_signed("GET", "/task/sub_task/201684300820288611/logs")
    assert response.refusal == (404, "Task.NotFound", None)


@pytest.mark.parametrize(
    "controller",
    [
        AgentAddress(ip, 2886)
        for ip in ("::1", "0.0.0.9", "::ffff:10.10.10.1", "64:ff9b::1", "FE80::1", "fe80::1", "::")
    ],
    indirect=True,
    ids=str,
)
async def test_task_routes_resolve_id_of_any_agent_address(controller: ApiController) -> None:
    dag = await controller.wait_for_end(await controller.start())
    assert dag["state"] == "SUCCEED"
    node = await controller.get(f"/task/node/{dag['nodes'][1]['id']}")
    task = await controller.get(f"/task/sub_task/{node['sub_tasks'][0]['id']}")
    assert task["name"] == "Work"
    running = await controller.start_held()
    forced = {"scope": {"type": "GLOBAL"}, "forcePassDag": {"id": [running["id"]]}}
    successor = await controller.start(forced)

    async def is_ended_for_it() -> bool:
        return bool((await controller.get(f"/task/dag/{running['id']}"))["operator"] != "RUN")

    await eventually(is_ended_for_it, what="the holder's cancel")
    assert controller.latch is not None
    controller.latch.open()
    assert (await controller.wait_for_end(running))["operator"] == "PASS"
    assert (await controller.wait_for_end(successor))["state"] == "SUCCEED"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_dag_route_non_canonical_id_is_not_found(
    controller: ApiController, method: str
) -> None:
    dag = await controller.wait_for_end(await controller.start())
    body = OPERATOR if method == "POST" else None
    for text in ("2016843008102886001", "2016843008102886+1"):
        response = await controller.send_signed(method, f"/task/dag/{text}", body)
        assert response.refusal == (404, "Task.NotFound", None)
        assert "dag id not match" in response.body["error"]["message"]
    assert dag["id"] == "20168430081028861"


@pytest.mark.parametrize(("method", "path"), ID_ROUTES)
@pytest.mark.parametrize("text", ["40168430081028861", "5x"])
async def test_task_routes_obproxy_id_requires_agent_password(
    controller: ApiController, method: str, path: str, text: str
) -> None:
    path, body = path.format(text), OPERATOR if method == "POST" else None
    unset = (401, "Security.Authentication.AgentPasswordNotInitialized", 10008)
    for name in (ROOT_HEADER, AGENT_HEADER):
        assert (await controller.send_signed(method, path, body, name=name)).refusal == unset
    controller.agent_password = AGENT_PASSWORD
    needed = (401, "Security.Authentication.WithAgentPassword", 10008)
    assert (await controller.send_signed(method, path, body)).refusal == needed
    agent = {"name": AGENT_HEADER, "auth": AGENT_PASSWORD}
    expected = (400, "Task.GenericID.Invalid") if text == "5x" else (404, "Task.NotFound")
    assert (await controller.send_signed(method, path, body, **agent)).refusal == (*expected, None)
