"""The OpenAPI document: parameters, responses and errors of every route."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from dagengine.api.app import CORE
from dagengine.api.binding import bind, bind_query
from dagengine.api.document.openapi import codes_of, render_openapi, serving
from dagengine.api.endpoint import Endpoint, make_endpoint
from dagengine.api.extension import Call, NoQuery, Plan
from dagengine.api.schemas.events import EVENTS
from dagengine.errors import BindFailed
from tasks.planning.start import StartRequest
from tasks.routes.start_stop import start_route


async def unused_planner(_call: Call[StartRequest]) -> Plan:
    raise NotImplementedError  # the planner is never called


ROUTES = (*CORE, make_endpoint(start_route(None, unused_planner)))  # type: ignore[arg-type]  # see above
DOCUMENT = render_openapi(ROUTES, "1.2.3")


def name_of(endpoint: Endpoint[Any]) -> str:
    return f"{endpoint.method} {endpoint.path}"


def operation_of(endpoint: Endpoint[Any]) -> dict[str, Any]:
    entry: dict[str, Any] = DOCUMENT["paths"][f"/api/v1{endpoint.path}"][endpoint.method.lower()]
    return entry


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in the document, at any depth."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from parts(part)


@pytest.mark.parametrize("endpoint", ROUTES, ids=name_of)
def test_openapi_describes_each_route(endpoint: Endpoint[Any]) -> None:
    operation = operation_of(endpoint)
    assert operation["summary"]
    assert bool(operation["security"]) is endpoint.needs_login
    assert ("requestBody" in operation) is endpoint.has_body
    named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
    assert named == set(re.findall(r"{(\w+)}", endpoint.path))
    queries = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
    assert queries == set(endpoint.query.model_fields if endpoint.query else ())


@pytest.mark.parametrize("endpoint", ROUTES, ids=name_of)
def test_openapi_route_lists_all_error_codes(endpoint: Endpoint[Any]) -> None:
    responses = operation_of(endpoint)["responses"]
    success_codes = {"200", "204"} if endpoint.is_stream else {"200"}
    assert set(responses) == {*success_codes, *map(str, codes_of(endpoint))}
    for status, codes in codes_of(endpoint).items():
        assert responses[str(status)]["description"] == ", ".join(codes)
    if endpoint.needs_login:
        assert "Security.Authentication.Header.DecryptFailed" in codes_of(endpoint)[401]


@pytest.mark.parametrize("endpoint", [e for e in ROUTES if e.has_body], ids=name_of)
@pytest.mark.parametrize("text", [b"", b"null", b"{}"])
def test_openapi_empty_body_matches_binding(endpoint: Endpoint[Any], text: bytes) -> None:
    assert endpoint.has_body
    request_body = operation_of(endpoint)["requestBody"]
    schema = request_body["content"]["application/json"]["schema"]
    full_schema = {**schema, "components": DOCUMENT["components"]}
    is_allowed = (
        jsonschema_rs.is_valid(full_schema, json.loads(text))
        if text
        else not request_body["required"]
    )
    try:
        bind(text, endpoint.body)
    except BindFailed:
        assert not is_allowed
    else:
        assert is_allowed


@pytest.mark.parametrize("endpoint", [e for e in ROUTES if e.query is not NoQuery], ids=name_of)
def test_openapi_parameter_default_is_accepted(endpoint: Endpoint[Any]) -> None:
    for parameter in operation_of(endpoint)["parameters"]:
        schema = parameter["schema"]
        if "default" in schema:
            jsonschema_rs.validate(schema, schema["default"])
            bound_default = bind_query({parameter["name"]: str(schema["default"])}, endpoint.query)
            assert bound_default == bind_query({}, endpoint.query)


def test_openapi_describes_each_event_kind() -> None:
    kinds = DOCUMENT["components"]["schemas"]["Event"]["oneOf"]
    assert [kind["properties"]["event"]["const"] for kind in kinds] == list(EVENTS)
    (path,) = [path for path in DOCUMENT["paths"] if path.endswith("/events")]
    content = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]
    assert content == {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Event"}}}


def test_openapi_operation_ids_are_unique() -> None:
    names = [
        operation["operationId"]
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
    ]
    assert len(set(names)) == len(names) == len(ROUTES)


def test_openapi_references_resolve() -> None:
    schema_refs = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert {part["$ref"] for part in parts(DOCUMENT) if "$ref" in part} <= schema_refs


def test_openapi_info_names_contact_licence_and_server() -> None:
    info = DOCUMENT["info"]
    assert info["license"] == {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
    assert info["contact"]["name"]
    assert [server["url"] for server in DOCUMENT["servers"]] == ["/"]


@pytest.mark.parametrize("endpoint", [e for e in ROUTES if e.needs_login], ids=name_of)
def test_openapi_security_names_defined_schemes(endpoint: Endpoint[Any]) -> None:
    names = [name for scheme in operation_of(endpoint)["security"] for name in scheme]
    assert set(names) <= set(DOCUMENT["components"]["securitySchemes"])
    assert ("token" in names) is not endpoint.path.startswith("/tokens")
    token = DOCUMENT["components"]["securitySchemes"]["token"]
    assert (token["type"], token["scheme"]) == ("http", "bearer")


def test_openapi_routes_with_query_can_refuse_its_values() -> None:
    with_query = [endpoint for endpoint in ROUTES if endpoint.query.model_fields]
    assert with_query
    for endpoint in with_query:
        assert "Common.IllegalArgument" in codes_of(endpoint)[400], endpoint.path


def test_openapi_enums_of_inputs_are_short() -> None:
    for endpoint in ROUTES:
        for parameter in operation_of(endpoint).get("parameters", ()):
            assert len(parameter["schema"].get("enum", ())) <= 5, parameter


def test_openapi_every_inline_example_matches() -> None:
    example_count = 0
    for part in parts(DOCUMENT):
        for example in part.get("examples", ()) if "type" in part or "$ref" in part else ():
            jsonschema_rs.validate({**part, "components": DOCUMENT["components"]}, example)
            example_count += 1
    assert example_count >= 20


def test_openapi_examples_match_schemas() -> None:
    example_count = 0
    for name, schema in DOCUMENT["components"]["schemas"].items():
        full_schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
        for example in schema.get("examples", ()):
            jsonschema_rs.validate(full_schema, example)
            example_count += 1
    assert example_count >= 5


def test_openapi_document_is_deterministic_json() -> None:
    assert json.dumps(render_openapi(ROUTES, "1.2.3")) == json.dumps(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


async def test_openapi_document_is_rendered_once_at_first_request() -> None:
    renderings = []

    def render() -> dict[str, Any]:
        renderings.append(1)
        return DOCUMENT

    handle = serving(render)
    assert renderings == []
    request = make_mocked_request("GET", "/openapi.json")
    responses = await asyncio.gather(handle(request), handle(request), handle(request))
    bodies = {json.dumps(json.loads(r.body)) for r in responses if isinstance(r, web.Response)}
    assert (bodies, len(renderings)) == ({json.dumps(DOCUMENT)}, 1)
