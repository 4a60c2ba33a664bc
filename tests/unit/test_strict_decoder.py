"""The strict decoder of the tests: what it refuses, and which requests it knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.strict_decoder import ROUTES, DecodedResponses, find_route, find_violations

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
        ("GET", "/metrics", None),
    ],
)
def test_find_route_matches_path_below_prefix(method: str, path: str, route: str | None) -> None:
    assert find_route(method, path) == route


def test_decoded_responses_counts_by_route_and_state() -> None:
    responses = DecodedResponses()
    body = json.dumps({"data": {"contents": [{"ip": "10.0.0.1", "port": "1"}]}}).encode()
    responses.record("GET", "/api/v1/ob/agents", 200, body)
    responses.record("GET", "/api/v1/ob/agents", 500, b"not decoded")
    assert responses.render() == ["     1 GET ob/agents"]
    assert responses.violations == [
        'GET ob/agents: data.contents[].port: int expected, "1" received'
    ]


def test_routes_has_every_type_of_the_file() -> None:
    assert len(ROUTES) > 20
