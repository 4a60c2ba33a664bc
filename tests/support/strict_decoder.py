"""A strict decoder of the API's responses, as OBShell's typed clients decode them.

`tests/fixtures/wire_types.json` has the field names and JSON types. A wrong type, a null where
none is allowed, or a missing field is a violation; an unknown field is not.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

TYPES: Mapping[str, Any] = json.loads(
    (Path(__file__).parents[1] / "fixtures/wire_types.json").read_text(encoding="utf-8")
)
PREFIX = "/api/v1"
DAG, NODE, SUB_TASK = TYPES["DagDetailDTO"], TYPES["NodeDetailDTO"], TYPES["TaskDetailDTO"]
DAGS = {"contents": [DAG]}

ROUTES: Mapping[str, Any] = {
    **{name: TYPES[name] for name in TYPES if name.startswith("GET ")},
    "GET ob/agents": {"contents": TYPES["GET ob/agents"]},
    "POST ob/start": DAG,
    "POST ob/stop": DAG,
    "GET task/dag/{id}": DAG,
    "GET task/node/{id}": NODE,
    "GET task/sub_task/{id}": SUB_TASK,
    "GET task/dags/ob": DAGS,
    "GET task/dags/agent": DAGS,
    "GET task/dag/unfinish": DAGS,
    "GET task/dag/ob/unfinish": DAGS,
    "GET task/dag/agent/unfinish": DAGS,
    "GET task/dag/agent/main_dags": DAGS,
    "GET task/dag/maintain/ob": DAG,
    "GET task/dag/maintain/agent": DAG,
    "GET task/dag/maintain/agents": DAGS,
}
"""The type of `data` by method and path below `/api/v1`."""

NULLABLE = {
    "nodes": "the published example has null without details",
    "additional_data": "the published example has null without data",
    "sub_tasks": "null without details",
    "task_logs": "null without details",
    "topology": "null while no server answers SQL (protocol 3.3)",
}
"""Fields that may be null although the types do not say so; Go decodes null as the zero value."""

_SCALARS: Mapping[str, Callable[[Any], bool]] = {
    "any": lambda value: True,
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "time": lambda value: isinstance(value, str) and _is_time(value),
}


def _is_time(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text):
        return False
    try:
        datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return False
    return True


def find_violations(expected: Any, value: Any, where: str = "data") -> list[str]:
    """Return how a JSON value differs from its type; empty when a strict client decodes it."""
    if isinstance(expected, str):
        name, _, null = expected.partition("|")
        if (value is None and null == "null") or _SCALARS[name](value):
            return []
        return [f"{where}: {expected} expected, {json.dumps(value)} received"]
    if isinstance(expected, list):
        if not isinstance(value, list):
            return [f"{where}: a list expected, {json.dumps(value)[:80]} received"]
        items = (find_violations(expected[0], item, f"{where}[]") for item in value)
        return sorted({violation for item in items for violation in item})
    if not isinstance(value, dict):
        return [f"{where}: an object expected, {json.dumps(value)[:80]} received"]
    if "<key>" in expected:
        items = (
            find_violations(expected["<key>"], item, f"{where}.{key}")
            for key, item in value.items()
        )
        return [violation for item in items for violation in item]
    return [
        violation
        for key, type_ in expected.items()
        for violation in _find_field_violations(key, type_, value, where)
    ]


def _find_field_violations(
    key: str, expected: Any, value: Mapping[str, Any], where: str
) -> list[str]:
    name = key.removesuffix("?")
    if name not in value:
        return [] if key.endswith("?") else [f"{where}.{name}: missing"]
    if value[name] is None and name in NULLABLE:
        return []
    return find_violations(expected, value[name], f"{where}.{name}")


def find_route(method: str, path: str) -> str | None:
    """Return the key of `ROUTES` for a request; None for other routes and for dry runs."""
    path, _, query = path.partition("?")
    if not path.startswith(f"{PREFIX}/") or "dryRun" in query:
        return None
    name = f"{method} {path.removeprefix(f'{PREFIX}/')}"
    if name in ROUTES:
        return name
    generic = re.sub(r"^(GET task/(?:dag|node|sub_task)/)\d+$", r"\1{id}", name)
    return generic if generic in ROUTES else None


@dataclass
class DecodedResponses:
    """The responses of a run: how many by route and state, and what a strict client refuses."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def record(self, method: str, path: str, status: int, body: bytes) -> None:
        """Decode one response. Errors and other routes are not decoded."""
        route = find_route(method, path)
        if route is None or status != HTTPStatus.OK:
            return
        data = json.loads(body).get("data")
        state = data.get("state", "") if isinstance(data, dict) else ""
        self.counts[(route, state if isinstance(state, str) else "")] += 1
        found = find_violations(ROUTES[route], data)
        self.violations += [f"{route}: {violation}" for violation in found]

    def render(self) -> list[str]:
        """Return one line for each route and state, with its number of responses."""
        return [
            f"{number:6} {route} {state}".rstrip()
            for (route, state), number in sorted(self.counts.items())
        ]


ALL = DecodedResponses()
"""Every response that tests with the fixture `decoded_responses` received in this process."""


@contextmanager
def record_responses(
    monkeypatch: pytest.MonkeyPatch, responses: DecodedResponses
) -> Iterator[DecodedResponses]:
    """Decode each response that aiohttp receives in this process in the context."""
    read = aiohttp.ClientResponse.read

    async def read_and_record(response: aiohttp.ClientResponse) -> bytes:
        body = await read(response)
        responses.record(response.method, response.url.path_qs, response.status, body)
        return body

    with monkeypatch.context() as patch:
        patch.setattr(aiohttp.ClientResponse, "read", read_and_record)
        yield responses
