"""The OpenAPI 3.1 document, generated from the route table and the models that validate requests.

It is served at `/openapi.json` without the envelope and without a login, because it contains
nothing beyond the published source.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from dagengine.api.auth import API_ROOT
from dagengine.api.endpoint import Endpoint
from dagengine.api.envelope import render_json
from dagengine.api.extension import B, Q, Refusal
from dagengine.api.middleware import WebHandler
from dagengine.api.schemas.base import Envelope, ErrorDto, TaskId
from dagengine.api.schemas.events import EVENTS
from dagengine.error_codes import Code
from dagengine.errors import BindFailed, DagengineError, IllegalArgument
from dagengine.security import errors as security_errors
from dagengine.security import token_errors

DOCUMENT_PATH = "/openapi.json"

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
# A full disk or a bug can affect any route.
_ANY_ROUTE = (
    DagengineError,
    security_errors.HostNotAllowed,
    security_errors.OriginNotAllowed,
    token_errors.TokenInUrl,
)
_LOGIN_ERRORS: tuple[type[DagengineError], ...] = tuple(
    kind
    for module in (security_errors, token_errors)
    for kind in vars(module).values()
    if isinstance(kind, type)
    and issubclass(kind, DagengineError)
    and kind.__module__ == module.__name__
)
_SCHEMES = ("token", "rootPassword", "agentPassword")
_MANAGERS_ONLY = ("rootPassword",)
_BODY_TOO_LARGE = (413, Code.BAD_REQUEST)

_ABOUT = """\
OBShell's cluster API, as served by dagengine. Every answer has the same envelope.

Where a login is needed, an API token (`Authorization: Bearer`) is the simplest way; bodies are then
plain JSON. The headers of the official SDKs carry a password, encrypted for the key of `/secret`;
bodies are then base64 of AES-128-CBC of the JSON that is described here."""


@cache
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    """Return the adapter of a type; building it is most of the cost of the document."""
    return TypeAdapter(kind)


def render_openapi(
    endpoints: Sequence[Endpoint[Any, Any, Any]],
    version: str,
    *,
    root: str = API_ROOT,
    about: str = _ABOUT,
) -> Json:
    """Return the document for the given routes.

    Args:
        endpoints: the routes.
        version: version of this program.
        root: the path before those of the routes.
        about: description of the whole API.
    """
    models: list[tuple[str, Any, TypeAdapter[Any]]] = [
        ("Envelope", "serialization", _adapter_of(Envelope)),
        ("ErrorDto", "serialization", _adapter_of(ErrorDto)),
        *((f"event {kind}", "serialization", _adapter_of(event)) for kind, event in EVENTS.items()),
    ]
    for at, endpoint in enumerate(endpoints):
        if endpoint.answer is not None:
            models.append((f"answer {at}", "serialization", _adapter_of(endpoint.answer)))
        if endpoint.has_body:
            body: Any = endpoint.body
            models.append((f"body {at}", "validation", _adapter_of(body)))
    inputs: Any = models
    by_model, shared = TypeAdapter.json_schemas(inputs, ref_template=_SCHEMAS + "{model}")
    schemas: Mapping[str, Any] = {name: schema for (name, _), schema in by_model.items()}
    paths: dict[str, Json] = {}
    for at, endpoint in enumerate(endpoints):
        operation = _describe(endpoint, schemas.get(f"answer {at}"), schemas.get(f"body {at}"))
        paths.setdefault(root + endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dagengine",
            "version": version,
            "description": about,
            "contact": {"name": "The maintainers of dagengine"},
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "this controller"}],
        "paths": paths,
        "components": {
            "schemas": {**shared.get("$defs", {}), **_answers(), "Event": _event(schemas)},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "dag_<cluster>_<secret>",
                    "description": "an API token (`dagengine token create`); bodies are plain JSON",
                },
                "rootPassword": _header("X-OCS-Header", "root@sys"),
                "agentPassword": _header("X-OCS-Agent-Header", "the agent"),
            },
        },
    }


def serving(render: Callable[[], Json]) -> WebHandler:
    """Return a handler that responds with the document, which the first request renders.

    Rendering takes about 0.1 s of CPU time, and a controller would do it for each of its clusters.
    """
    rendering = asyncio.Lock()
    body: bytes | None = None

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal body
        async with rendering:
            if body is None:
                body = render_json(await asyncio.to_thread(render))
        return web.Response(body=body, content_type="application/json")

    return handle


def codes_of(endpoint: Endpoint[B, Q, Any]) -> dict[int, list[str]]:
    """Return the errCodes that a route may respond with, by HTTP status."""
    codes: set[tuple[int, str]] = set(_codes((*endpoint.errors, *_ANY_ROUTE)))
    if endpoint.needs_login:
        codes |= set(_codes(_LOGIN_ERRORS)) | {_BODY_TOO_LARGE}
    if endpoint.has_body:
        codes |= set(_codes((BindFailed,)))
    if endpoint.query.model_fields:
        codes |= set(_codes((IllegalArgument,)))
    by_status: dict[int, list[str]] = {}
    for status, code in sorted(codes):
        by_status.setdefault(status, []).append(code)
    return by_status


# --- internal functions ---


def _describe(endpoint: Endpoint[B, Q, Any], answer: Json | None, body: Json | None) -> Json:
    name = "_".join(part.strip("{}") for part in endpoint.path.strip("/").split("/"))
    described: Json = {
        "operationId": f"{endpoint.method.lower()}_{name}".replace("-", "_"),
        "summary": endpoint.summary,
        "tags": [endpoint.path.split("/")[1]],
    }
    parameters = [*_path_parameters(endpoint), *_query_parameters(endpoint)]
    if parameters := [*parameters, *_header_parameters(endpoint)]:
        described["parameters"] = parameters
    if body is not None:
        described["requestBody"] = _request_body(endpoint.body, body)
    schemes = _MANAGERS_ONLY if endpoint.path.startswith("/tokens") else _SCHEMES
    described["security"] = [{name: []} for name in schemes if endpoint.needs_login]
    described["responses"] = {
        **_done(endpoint, answer),
        **{
            str(status): {
                "description": ", ".join(codes),
                "content": _json(_failure(status, codes)),
            }
            for status, codes in codes_of(endpoint).items()
        },
    }
    return described


def _request_body(model: type[BaseModel], schema: Json) -> Json:
    """Describe a request body; it is optional if every field is optional.

    A missing body and `null` count as an empty object (protocol 1.4).
    """
    if any(field.is_required() for field in model.model_fields.values()):
        return {"required": True, "content": _json(schema)}
    return {"required": False, "content": _json({"anyOf": [schema, {"type": "null"}]})}


def _path_parameters(endpoint: Endpoint[B, Q, Any]) -> list[Json]:
    schemas = {"id": TypeAdapter(TaskId).json_schema()}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": schemas.get(name, {"type": "string", "minLength": 1, "examples": [name]}),
        }
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint[B, Q, Any]) -> list[Json]:
    properties: dict[str, Json] = endpoint.query.model_json_schema().get("properties", {})
    return [
        {"name": name, "in": "query", "required": False, "schema": _of_texts(schema)}
        for name, schema in properties.items()
    ]


def _of_texts(schema: Json) -> Json:
    """Return the schema of a query parameter, with the default as it is sent in a URL."""
    match schema.get("default"):
        case None:
            return {name: part for name, part in schema.items() if name != "default"}
        case bool(default):
            return schema | {"default": str(default).lower()}
        case _:
            return schema


def _header_parameters(endpoint: Endpoint[B, Q, Any]) -> list[Json]:
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": about,
            "schema": {"type": "string"},
        }
        for name, about in endpoint.headers.items()
    ]


def _done(endpoint: Endpoint[B, Q, Any], answer: Json | None) -> Json:
    if not endpoint.is_stream:
        return {"200": {"description": "Done.", "content": _json(_success(answer))}}
    # Up to OpenAPI 3.1, the schema of a stream describes one of its events.
    content = {"text/event-stream": {"schema": {"$ref": f"{_SCHEMAS}Event"}}}
    return {
        "200": {"description": "The events of the DAG.", "content": content},
        "204": {"description": "There are no further events."},
    }


def _event(schemas: Mapping[str, Json]) -> Json:
    """Return the schema of one event of a stream; its properties are the fields of the frame."""
    kinds = []
    for kind in EVENTS:
        content = {
            "contentMediaType": "application/json",
            "contentSchema": schemas[f"event {kind}"],
        }
        fields: Json = {"event": {"const": kind}, "data": {"type": "string", **content}}
        if kind != "end":
            fields["id"] = {"type": "string", "pattern": "^[1-9][0-9]*$"}
        kinds.append({"type": "object", "required": list(fields), "properties": fields})
    return {"description": "One event of a stream.", "oneOf": kinds}


def _success(answer: Json | None) -> Json:
    if answer is None:
        return {"$ref": f"{_SCHEMAS}Done"}
    data = {"type": "object", "required": ["data"], "properties": {"data": answer}}
    return {"allOf": [{"$ref": f"{_SCHEMAS}Success"}, data]}


def _failure(status: int, codes: Iterable[str]) -> Json:
    error = {"type": "object", "properties": {"errCode": {"enum": list(codes)}}}
    narrowed = {"properties": {"status": {"const": status}, "error": error}}
    return {"allOf": [{"$ref": f"{_SCHEMAS}Failure"}, {"type": "object", **narrowed}]}


def _answers() -> dict[str, Json]:
    def around(description: str, successful: bool, **more: Any) -> Json:
        fields: Json = {"properties": {"successful": {"const": successful}, **more}}
        fields |= {"type": "object", "required": ["successful", *more]}
        return {"description": description, "allOf": [{"$ref": f"{_SCHEMAS}Envelope"}, fields]}

    return {
        "Success": around("An answer with data.", successful=True, status={"const": 200}),
        "Done": around("An answer without data.", successful=True, status={"const": 200}),
        "Failure": around("An error.", successful=False, error={"$ref": f"{_SCHEMAS}ErrorDto"}),
    }


def _codes(refusals: Iterable[Refusal]) -> Iterable[tuple[int, str]]:
    for refusal in refusals:
        if isinstance(refusal, str):
            yield 400, refusal
        else:
            yield refusal.http_status, refusal.err_code


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _header(name: str, owner: str) -> Json:
    description = f"password of {owner}, request target and expiry, encrypted for the key of secret"
    return {"type": "apiKey", "in": "header", "name": name, "description": description}
