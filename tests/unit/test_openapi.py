"""The OpenAPI document says of every route what it takes, what it answers and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from dagengine.api.app import CORE
from dagengine.api.binding import bind, bind_query
from dagengine.api.endpoint import Endpoint, make_endpoint
from dagengine.api.extension import Call, Plan
from dagengine.api.openapi import codes_of, render_openapi
from dagengine.api.schemas.events import EVENTS
from dagengine.errors import BindFailed
from tasks.routes.start import StartRequest, start_route


async def never(_call: Call[StartRequest]) -> Plan:
    raise NotImplementedError  # nothing is called


ROUTES = (*CORE, make_endpoint(start_route(None, never)))  # type: ignore[arg-type]  # likewise
DOCUMENT = render_openapi(ROUTES, "1.2.3")


def name_of(endpoint: Endpoint[Any]) -> str:
    return f"{endpoint.method} {endpoint.path}"


def operation_of(endpoint: Endpoint[Any]) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][f"/api/v1{endpoint.path}"][endpoint.method.lower()]
    return found


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every map in the document, however deep."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from parts(part)


@pytest.mark.parametrize("endpoint", ROUTES, ids=name_of)
def test_a_route_is_described(endpoint: Endpoint[Any]) -> None:
    operation = operation_of(endpoint)
    assert operation["summary"]
    assert bool(operation["security"]) is endpoint.needs_login
    assert ("requestBody" in operation) is endpoint.has_body
    named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
    assert named == ({"id"} if "{id}" in endpoint.path else set())
    queries = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
    assert queries == set(endpoint.query.model_fields if endpoint.query else ())


@pytest.mark.parametrize("endpoint", ROUTES, ids=name_of)
def test_a_route_lists_every_code_that_it_may_refuse_with(endpoint: Endpoint[Any]) -> None:
    responses = operation_of(endpoint)["responses"]
    done = {"200", "204"} if endpoint.is_stream else {"200"}
    assert set(responses) == {*done, *map(str, codes_of(endpoint))}
    for status, codes in codes_of(endpoint).items():
        assert responses[str(status)]["description"] == ", ".join(codes)
    if endpoint.needs_login:
        assert "Security.Authentication.Header.DecryptFailed" in codes_of(endpoint)[401]


@pytest.mark.parametrize("endpoint", [e for e in ROUTES if e.has_body], ids=name_of)
@pytest.mark.parametrize("text", [b"", b"null", b"{}"])
def test_no_body_and_null_are_described_as_the_empty_object_that_they_are(
    endpoint: Endpoint[Any], text: bytes
) -> None:
    assert endpoint.has_body
    described = operation_of(endpoint)["requestBody"]
    schema = described["content"]["application/json"]["schema"]
    whole = {**schema, "components": DOCUMENT["components"]}
    is_allowed = (
        jsonschema_rs.is_valid(whole, json.loads(text)) if text else not described["required"]
    )
    try:
        bind(text, endpoint.body)
    except BindFailed:
        assert not is_allowed
    else:
        assert is_allowed


@pytest.mark.parametrize("endpoint", [e for e in ROUTES if e.query is not None], ids=name_of)
def test_the_default_of_a_parameter_is_what_may_be_sent(endpoint: Endpoint[Any]) -> None:
    assert endpoint.query is not None
    for parameter in operation_of(endpoint)["parameters"]:
        schema = parameter["schema"]
        if "default" in schema:
            jsonschema_rs.validate(schema, schema["default"])
            sent = bind_query({parameter["name"]: str(schema["default"])}, endpoint.query)
            assert sent == bind_query({}, endpoint.query)


def test_every_kind_of_event_is_described_with_its_data() -> None:
    kinds = DOCUMENT["components"]["schemas"]["Event"]["oneOf"]
    assert [kind["properties"]["event"]["const"] for kind in kinds] == list(EVENTS)
    (path,) = [path for path in DOCUMENT["paths"] if path.endswith("/events")]
    content = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]
    assert content == {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Event"}}}


def test_operations_have_names_of_their_own() -> None:
    names = [
        operation["operationId"]
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
    ]
    assert len(set(names)) == len(names) == len(ROUTES)


def test_every_reference_leads_somewhere() -> None:
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert {part["$ref"] for part in parts(DOCUMENT) if "$ref" in part} <= known


def test_every_example_is_what_its_schema_says() -> None:
    shown = 0
    for name, schema in DOCUMENT["components"]["schemas"].items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
        for example in schema.get("examples", ()):
            jsonschema_rs.validate(whole, example)
            shown += 1
    assert shown >= 5


def test_the_document_is_json_and_the_same_each_time() -> None:
    assert json.dumps(render_openapi(ROUTES, "1.2.3")) == json.dumps(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")
