"""Requests are bounded: each text and list in a request model, and the values in a body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from dagengine.api.app import CORE
from dagengine.api.binding import bind, has_more_values
from dagengine.api.extension import NoBody
from dagengine.errors import BindFailed
from tasks.planning.start import StartRequest
from tasks.planning.stop import StopRequest
from tasks.routes.cluster_info import ObQuery

MODELS: set[type[BaseModel]] = {
    *(endpoint.body for endpoint in CORE if endpoint.body is not NoBody),
    *(endpoint.query for endpoint in CORE if endpoint.query is not None),
    *(StartRequest, StopRequest, ObQuery),
}


class Free(BaseModel):
    """A model of a plug-in that bounds nothing."""

    names: list[str] = []
    inner: dict[str, Any] = {}


def find_unbounded(schema: Any, path: str = "") -> Iterator[str]:
    """Return the places of a JSON schema whose values may have any size."""
    if isinstance(schema, list):
        for number, item in enumerate(schema):
            yield from find_unbounded(item, f"{path}.{number}")
        return
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "string" and not schema.keys() & {"maxLength", "enum", "const"}:
        yield path
    if kind == "array" and "maxItems" not in schema:
        yield path
    if kind == "object" and "properties" not in schema:
        yield path
    for name, inner in schema.items():
        if name not in ("examples", "description", "default", "enum"):
            yield from find_unbounded(inner, f"{path}.{name}")


@pytest.mark.parametrize("model", sorted(MODELS, key=str), ids=lambda model: model.__name__)
def test_request_model_bounds_every_text_and_list(model: type[BaseModel]) -> None:
    assert list(find_unbounded(TypeAdapter(model).json_schema())) == []


def test_find_unbounded_reports_each_kind() -> None:
    assert len(list(find_unbounded(TypeAdapter(Free).json_schema()))) == 3


SCOPE = {"type": "GLOBAL"}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"scope": SCOPE, "forcePassDag": {"id": ["2"] * 101}}, "forcePassDag"),
        ({"scope": SCOPE, "forcePassDag": ["2"] * 101}, "forcePassDag"),
        ({"scope": SCOPE, "forcePassDag": {"id": ["2" * 129]}}, "forcePassDag"),
        ({"scope": {"type": "ZONE", "target": ["z"] * 1001}}, "scope.target"),
        ({"scope": {"type": "SERVER", "target": ["1" * 257]}}, "scope.target"),
        ({"scope": {"type": "G" * 257}}, "scope.type"),
        ({"scope": SCOPE, "skipChecks": ["c"] * 101}, "skipChecks"),
        ({"scope": SCOPE, "skipChecks": ["c" * 257]}, "skipChecks"),
        ({"scope": SCOPE, "forcePassDag": {"id": ["2"] * 40_000}}, "more than"),
        ({"scope": {"type": "ZONE", "target": ["z"] * 60_000}}, "more than"),
        ({"scope": {"type": "ZONE", "target": [1] * 300_000}}, "more than"),
        ({"scope": SCOPE, "other": [[{}] * 100] * 100}, "more than"),
        ({f"k{number}": 1 for number in range(6000)}, "more than"),
    ],
)
def test_bind_start_request_beyond_bounds_is_refused(body: dict[str, Any], where: str) -> None:
    with pytest.raises(BindFailed, match=where) as caught:
        bind(json.dumps(body).encode(), StartRequest)
    assert len(str(caught.value)) < 500


def test_bind_start_request_within_bounds_is_accepted() -> None:
    body = {
        "scope": {"type": "SERVER", "target": ["[2001:db8::1]:2886"] * 1000},
        "forcePassDag": {"id": ["2" * 128] * 100},
        "skipChecks": ["memory"] * 100,
    }
    assert len(bind(json.dumps(body).encode(), StartRequest).skip_checks or ()) == 100


@pytest.mark.parametrize("content", ['{"names": [%s"x"]}' % ('"x",' * 5000), "[" * 500_000])
def test_bind_model_without_bounds_limits_values(content: str) -> None:
    with pytest.raises(BindFailed):
        bind(content.encode(), Free)


@pytest.mark.parametrize(
    ("value", "count"),
    [({"a": 1}, 1), ({"a": [1, 2]}, 3), ({"a": {"b": {"c": []}}}, 3), ({"a": "text"}, 1)],
)
def test_has_more_values_counts_nested_ones(value: dict[str, Any], count: int) -> None:
    assert has_more_values(value, count - 1)
    assert not has_more_values(value, count)
