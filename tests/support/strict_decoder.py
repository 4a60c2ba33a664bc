"""A strict decoder of the API's responses, as OBShell's typed clients decode them.

`tests/fixtures/wire_types.json` has the field names and JSON types. A wrong type, a null where
none is allowed, or a missing field is a violation; an unknown field is not.

Only responses that this process receives with aiohttp or requests are decoded: not those of
programs that a test starts, such as the command line, a browser or a client in another language.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

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
    "POST ob/zone/{zone}/stop": DAG,
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
"""The type of `data` by method and path below `/api/v1`; an `{id}` has only digits."""

_PATTERNS = {
    name: re.compile(
        "".join(
            part if number % 2 == 0 else (r"\d+" if part == "id" else "[^/]+")
            for number, part in enumerate(re.split(r"[{}]", name))
        )
    )
    for name in ROUTES
    if "{" in name
}


class Nullable(NamedTuple):
    """When a field may be null although its type does not say so.

    Attributes:
        when: in words.
        is_allowed: the rule, given the object with the field and whether the request asked for
            details.
    """

    when: str
    is_allowed: Callable[[Mapping[str, Any], bool], bool]


NULLABLE: Mapping[str, Nullable] = {
    "nodes": Nullable("without details", lambda _, has_details: not has_details),
    "sub_tasks": Nullable("without details", lambda _, has_details: not has_details),
    "task_logs": Nullable(
        "before the task runs", lambda task, _: task.get("state") in ("PENDING", "READY")
    ),
    "topology": Nullable(
        "while no server answers SQL", lambda cluster, _: cluster.get("version") == ""
    ),
    "additional_data": Nullable("without data", lambda *_: True),
}
"""Fields that may be null in some cases; Go decodes null as the zero value.

docs/reference/compatibility.md has a row for each.
"""

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


def find_violations(
    expected: Any, value: Any, where: str = "data", *, has_details: bool = True
) -> list[str]:
    """Return how a JSON value differs from its type; empty when a strict client decodes it.

    Args:
        expected: the type.
        value: the value.
        where: the place of the value.
        has_details: whether the request asked for details of DAGs and nodes.
    """
    if isinstance(expected, str):
        name, _, null = expected.partition("|")
        if (value is None and null == "null") or _SCALARS[name](value):
            return []
        return [f"{where}: {expected} expected, {json.dumps(value)} received"]
    if isinstance(expected, list):
        if not isinstance(value, list):
            return [f"{where}: a list expected, {json.dumps(value)[:80]} received"]
        items = (
            find_violations(expected[0], item, f"{where}[]", has_details=has_details)
            for item in value
        )
        return sorted({violation for item in items for violation in item})
    if not isinstance(value, dict):
        return [f"{where}: an object expected, {json.dumps(value)[:80]} received"]
    if "<key>" in expected:
        items = (
            find_violations(expected["<key>"], item, f"{where}.{key}", has_details=has_details)
            for key, item in value.items()
        )
        return [violation for item in items for violation in item]
    return [
        violation
        for key, type_ in expected.items()
        for violation in _find_field_violations(key, type_, value, where, has_details)
    ]


def _find_field_violations(
    key: str, expected: Any, value: Mapping[str, Any], where: str, has_details: bool
) -> list[str]:
    name = key.removesuffix("?")
    if name not in value:
        return [] if key.endswith("?") else [f"{where}.{name}: missing"]
    if value[name] is None and name in NULLABLE and NULLABLE[name].is_allowed(value, has_details):
        return []
    return find_violations(expected, value[name], f"{where}.{name}", has_details=has_details)


def find_route(method: str, path: str) -> str | None:
    """Return the key of `ROUTES` for a request; None for other routes and for dry runs."""
    path, _, query = path.partition("?")
    if not path.startswith(f"{PREFIX}/") or "dryRun" in query:
        return None
    name = f"{method} {path.removeprefix(f'{PREFIX}/')}"
    if name in ROUTES:
        return name
    return next((route for route, form in _PATTERNS.items() if form.fullmatch(name)), None)


def asks_for_details(method: str, path: str) -> bool:
    """Return whether a request asks for the details of DAGs and nodes, as a GET does by default."""
    query = parse_qs(path.partition("?")[2], keep_blank_values=True)
    shown = query.get("show_details", ["true"])[0]
    return method == "GET" and shown.lower() not in ("", "0", "f", "false")


EMPTY = "(empty)"
"""The state of a list without entries."""

Counts = Counter[tuple[str, str]]
"""Numbers of responses by route and state."""


@dataclass
class DecodedResponses:
    """The responses of a run: how many by route and state, and what a strict client refuses.

    A list counts once for each state of its entries, or as empty.
    """

    counts: Counts = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def record(self, method: str, path: str, status: int, body: bytes) -> None:
        """Decode one response. Errors and other routes are not decoded."""
        route = find_route(method, path)
        if route is None or status != HTTPStatus.OK:
            return
        data = json.loads(body).get("data")
        self.counts.update((route, state) for state in _states_of(data))
        found = find_violations(ROUTES[route], data, has_details=asks_for_details(method, path))
        self.violations += [f"{route}: {violation}" for violation in found]

    def take(self) -> DecodedResponses:
        """Return what was recorded since the last call."""
        taken = DecodedResponses(self.counts.copy(), self.violations[:])
        self.counts.clear()
        self.violations.clear()
        return taken


def _states_of(data: Any) -> set[str]:
    if not isinstance(data, dict):
        return {""}
    entries = data.get("contents", [data])
    if not isinstance(entries, list):
        return {""}
    states = [entry.get("state", "") if isinstance(entry, dict) else "" for entry in entries]
    return {state if isinstance(state, str) else "" for state in states} or {EMPTY}


_PROPERTY = "decoded_responses"

# Together they call every route, on clusters of both flavours.
_ON_EVERY_ROUTE = (
    "test_every_route_passes_strict_decoder",
    "test_zone_stop_route_freezes_before_stop",
)


def attach_counts(item: pytest.Item, counts: Counts) -> None:
    """Add the counts of a test to its report, which pytest-xdist sends to the main process.

    They replace those of an earlier attempt, whose own report has them.
    """
    others = [entry for entry in item.user_properties if entry[0] != _PROPERTY]
    rows = [[route, state, count] for (route, state), count in counts.items()]
    item.user_properties[:] = [*others, (_PROPERTY, rows)]


def sum_counts(reports: Iterable[pytest.TestReport]) -> Counts:
    """Sum the counts that are attached to the reports of a run."""
    counts: Counts = Counter()
    for report in reports:
        if report.when == "teardown":
            for name, rows in report.user_properties:
                if name == _PROPERTY:
                    counts.update({(route, state): n for route, state, n in rows})  # type: ignore[attr-defined]
    return counts


def find_missing_routes(reports: Sequence[pytest.TestReport]) -> set[str]:
    """Return the routes without a response, if the tests that call every route have passed."""
    passed = {
        re.sub(r"\[.*", "", report.nodeid).rpartition("::")[2]
        for report in reports
        if report.when == "call" and report.passed
    }
    if not passed.issuperset(_ON_EVERY_ROUTE):
        return set()
    return set(ROUTES) - {route for route, _ in sum_counts(reports)}


def render_counts(counts: Counts) -> list[str]:
    """Return one line for each route and state, with its number of responses."""
    return [
        f"{number:6} {route} {state}".rstrip() for (route, state), number in sorted(counts.items())
    ]


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
