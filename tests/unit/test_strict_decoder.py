"""The strict decoder of the tests: what it refuses, and which requests it knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.strict_decoder import (
    EMPTY,
    NULLABLE,
    ROUTES,
    SUB_TASK,
    TYPES,
    DecodedResponses,
    asks_for_details,
    find_route,
    find_violations,
    render_counts,
)

SERVER = {"svr_ip": "string", "sql_port": "int", "why?": "string", "limit": "int|null"}
ANSWER = {"svr_ip": "10.0.0.1", "sql_port": 1, "limit": None}


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ({"sql_port": "1"}, 'data.sql_port: int expected, "1" received'),
        ({"sql_port": True}, "data.sql_port: int expected, true received"),
        ({"sql_port": None}, "data.sql_port: int expected, null received"),
        ({"sql_port": 1.5}, "data.sql_port: int expected, 1.5 received"),
        ({"why": 5}, "data.why: string expected, 5 received"),
        ({"limit": "x"}, 'data.limit: int|null expected, "x" received'),
    ],
)
def test_find_violations_names_field_and_value(change: dict[str, Any], violation: str) -> None:
    assert find_violations(SERVER, ANSWER | change) == [violation]


def test_find_violations_accepts_optional_and_unknown_fields() -> None:
    assert find_violations(SERVER, ANSWER) == []
    assert find_violations(SERVER, ANSWER | {"why": "down", "new": []}) == []


def test_find_violations_missing_field_is_named() -> None:
    assert find_violations(SERVER, {"sql_port": 1, "limit": 2}) == ["data.svr_ip: missing"]


@pytest.mark.parametrize(
    ("expected", "value"),
    [([SERVER], {}), ({"<key>": "int"}, []), ({"<key>": "int"}, {"a": "x"}), (SERVER, None)],
)
def test_find_violations_refuses_other_containers(expected: Any, value: Any) -> None:
    assert len(find_violations(expected, value)) == 1


@pytest.mark.parametrize("text", ["2024-01-10", "2024-01-10T11:24:44", "never", ""])
def test_find_violations_refuses_time_without_zone(text: str) -> None:
    assert find_violations("time", text) != []
    assert find_violations("time", "2024-01-10T11:24:44.513664697+08:00") == []


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/api/v1/status?ob_query_timeout=1", "GET status"),
        ("GET", "/api/v1/task/dag/2016843", "GET task/dag/{id}"),
        ("GET", "/api/v1/task/dag/unfinish", "GET task/dag/unfinish"),
        ("POST", "/api/v1/ob/start", "POST ob/start"),
        ("POST", "/api/v1/ob/start?dryRun=true", None),
        ("POST", "/api/v1/ob/zone/zone3/stop", "POST ob/zone/{zone}/stop"),
        ("POST", "/api/v1/ob/zone/zone3/stop/check", None),
        ("POST", "/api/v1/ob/zone/zone3/stop?dryRun=true", None),
        ("POST", "/api/v1/task/dag/2016843", None),
        ("GET", "/api/v1/task/dag/2016843/events", None),
        ("GET", "/metrics", None),
    ],
)
def test_find_route_matches_path_below_prefix(method: str, path: str, route: str | None) -> None:
    assert find_route(method, path) == route


def null_fields(task_state: str) -> dict[str, Any]:
    """Values of a DAG and of its parts, all of whose fields that may be null are null."""
    at = "2024-01-10T11:24:44Z"
    common: dict[str, Any] = {
        "id": "1",
        "name": "x",
        "state": task_state,
        "operator": "RUN",
        "start_time": at,
        "end_time": at,
        "additional_data": None,
    }
    task = common | {
        "task_id": 1,
        "execute_times": 0,
        "task_logs": None,
        "execute_agent": {"ip": "10.0.0.1", "port": 1},
    }
    node = common | {"node_id": 1, "sub_tasks": None}
    dag = common | {
        "dag_id": 1,
        "stage": 1,
        "max_stage": 1,
        "nodes": None,
        "maintenance_type": 1,
        "maintenance_key": "",
    }
    return {"dag": dag, "node": node, "sub_task": task}


@pytest.mark.parametrize(
    ("method", "path", "part", "violation"),
    [
        ("GET", "task/dag/7", "dag", "data.nodes: a list expected, null received"),
        ("GET", "task/dag/7?show_details=true", "dag", "data.nodes: a list expected"),
        ("GET", "task/dag/7?show_details=false", "dag", ""),
        ("GET", "task/dag/7?show_details=", "dag", ""),
        ("GET", "task/dag/maintain/ob", "dag", "data.nodes: a list expected"),
        ("POST", "ob/start", "dag", ""),
        ("POST", "ob/zone/zone1/stop", "dag", ""),
        ("GET", "task/node/7", "node", "data.sub_tasks: a list expected, null received"),
        ("GET", "task/node/7?show_details=0", "node", ""),
    ],
)
def test_decoded_responses_accepts_null_only_without_details(
    method: str, path: str, part: str, violation: str
) -> None:
    responses = DecodedResponses()
    body = json.dumps({"data": null_fields("RUNNING")[part]}).encode()
    responses.record(method, f"/api/v1/{path}", 200, body)
    assert len(responses.violations) == bool(violation)
    assert violation in "".join(responses.violations)


@pytest.mark.parametrize(
    ("state", "count"), [("PENDING", 0), ("READY", 0), ("RUNNING", 1), ("FAILED", 1)]
)
def test_find_violations_accepts_null_logs_only_before_run(state: str, count: int) -> None:
    assert len(find_violations(SUB_TASK, null_fields(state)["sub_task"])) == count


@pytest.mark.parametrize(("version", "count"), [("", 0), ("4.3.5.0", 1)])
def test_find_violations_accepts_null_topology_without_version(version: str, count: int) -> None:
    expected = TYPES["GET ob/info"]["obcluster_info"]
    cluster = {"id": 1, "is_shared_storage": False, "name": "demo", "topology": None}
    assert len(find_violations(expected, cluster | {"version": version})) == count


def test_find_violations_nullable_name_elsewhere_is_refused() -> None:
    elsewhere = {"topology": {"<key>": "any"}, "nodes": ["int"], "task_logs": ["string"]}
    assert len(find_violations(elsewhere, dict.fromkeys(elsewhere))) == len(elsewhere)
    assert elsewhere.keys() <= NULLABLE.keys()


@pytest.mark.parametrize("text", ["1", "t", "TRUE", "true"])
def test_asks_for_details_is_default_of_get(text: str) -> None:
    assert asks_for_details("GET", "/api/v1/task/dag/7")
    assert asks_for_details("GET", f"/api/v1/task/dag/7?show_details={text}")
    assert not asks_for_details("POST", f"/api/v1/ob/start?show_details={text}")


def test_decoded_responses_counts_by_route_and_state() -> None:
    responses = DecodedResponses()
    body = json.dumps({"data": {"contents": [{"ip": "10.0.0.1", "port": "1"}]}}).encode()
    responses.record("GET", "/api/v1/ob/agents", 200, body)
    responses.record("GET", "/api/v1/ob/agents", 500, b"not decoded")
    assert render_counts(responses.counts) == ["     1 GET ob/agents"]
    assert responses.violations == [
        'GET ob/agents: data.contents[].port: int expected, "1" received'
    ]


def test_decoded_responses_counts_empty_list_and_each_state() -> None:
    responses = DecodedResponses()
    for states in ([], ["FAILED"], ["FAILED", "RUNNING", "FAILED"]):
        dags = [null_fields(state)["dag"] for state in states]
        body = json.dumps({"data": {"contents": dags}}).encode()
        responses.record("GET", "/api/v1/task/dags/agent?show_details=false", 200, body)
    route = "GET task/dags/agent"
    assert responses.counts == {(route, EMPTY): 1, (route, "FAILED"): 2, (route, "RUNNING"): 1}
    assert responses.violations == []
    taken = responses.take()
    assert (len(taken.counts), len(responses.counts)) == (3, 0)


def test_routes_has_every_type_of_the_file() -> None:
    assert len(ROUTES) > 20
