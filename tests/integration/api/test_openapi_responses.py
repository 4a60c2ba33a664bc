"""Every response of every route in the OpenAPI document satisfies strict clients.

Go clients read times as strict RFC 3339 with a zone, and want `data` to be an object with something
in it wherever they expect a result.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.support.api_controller import (
    NO_HEADER,
    PASSWORD,
    START,
    WRONG_ROOT,
    ApiController,
    ApiResponse,
)

RFC_3339 = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?"
    r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
)
LOOKS_LIKE_A_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
BODIES = {
    "/api/v1/ob/start": START,
    "/api/v1/ob/stop": {**START, "force": True},
    "/api/v1/task/dag/{id}": {"operator": "RETRY"},
    "/api/v1/task/node/{id}": {"operator": "PASS"},
    "/api/v1/fixed": {},
    "/api/v1/tokens": {"name": "ci"},
}
BREAKS = "/api/v1/odd"  # on purpose


async def document(controller: ApiController) -> dict[str, Any]:
    document: dict[str, Any] = (await controller.send("GET", "/openapi.json")).body
    return document


def routes(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/api/v1") and path != BREAKS and not streams(operation):
                yield method.upper(), path, operation


def streams(operation: dict[str, Any]) -> bool:
    """Return whether a route responds with something other than one JSON document."""
    return "application/json" not in operation["responses"]["200"].get("content", {})


async def send_signed(
    controller: ApiController, method: str, path: str, task_id: str, *, auth: str
) -> ApiResponse:
    short = path.removeprefix("/api/v1").replace("{id}", task_id).replace("{name}", "ci")
    return await controller.send_signed(method, short, BODIES.get(path), auth=auth)


def times(value: Any) -> Iterator[str]:
    """Every text that is, or looks like, a time."""
    if isinstance(value, dict):
        for part in value.values():
            yield from times(part)
    elif isinstance(value, list):
        for part in value:
            yield from times(part)
    elif isinstance(value, str) and LOOKS_LIKE_A_TIME.match(value):
        yield value


def data_schema(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of `data`, references followed; None for an answer without data."""
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    if "allOf" not in schema:
        return None
    data: dict[str, Any] = schema["allOf"][1]["properties"]["data"]
    while "$ref" in data:
        data = document["components"]["schemas"][data["$ref"].rpartition("/")[2]]
    return data


async def test_openapi_every_response_matches_its_schema(
    controller: ApiController,
) -> None:
    described = await document(controller)
    failed = await controller.start_failing()
    response_count, time_count = 0, 0
    for method, path, operation in routes(described):
        answer = await send_signed(controller, method, path, failed["id"], auth=PASSWORD)
        where = f"{method} {path}: {answer.text[:300]}"
        assert str(answer.status) in operation["responses"], where
        content = operation["responses"][str(answer.status)]["content"]["application/json"]
        whole = {**copy.deepcopy(content["schema"]), "components": described["components"]}
        jsonschema_rs.validate(whole, answer.body)
        for text in times(answer.body):
            assert RFC_3339.fullmatch(text), f"{where}: {text}"
            time_count += 1
        schema = data_schema(described, operation)
        if answer.status == 200 and schema is not None and schema.get("type") == "object":
            data = answer.body["data"]
            assert isinstance(data, dict), where
            assert data, where
        response_count += 1
    assert response_count >= 28
    assert time_count >= 60


async def test_openapi_secured_routes_require_password(
    controller: ApiController,
) -> None:
    described = await document(controller)
    is_open = {path for _, path, operation in routes(described) if not operation["security"]}
    assert is_open == {
        f"/api/v1/{name}" for name in ("time", "info", "git-info", "status", "secret")
    }
    closed = [(m, p) for m, p, operation in routes(described) if operation["security"]]
    for method, path in closed:
        target = path.replace("{id}", "201684300810288611").replace("{name}", "ci")
        assert (await controller.send(method, target)).refusal == NO_HEADER, path
        controller.clock.advance(60)  # otherwise the address would have to pause
        answer = await send_signed(controller, method, path, "201684300810288611", auth="wrong")
        assert answer.refusal == WRONG_ROOT, path
    assert await controller.engine.list_dags(limit=9, details=False) == ()


@pytest.mark.parametrize(
    "text",
    ["2024-01-10 11:24:44", "2024-01-10T11:24:44", "2024-13-10T11:24:44Z", "2024-01-10T1:2Z"],
)
def test_rfc_3339_rejects_invalid_time(text: str) -> None:
    assert not RFC_3339.fullmatch(text)
