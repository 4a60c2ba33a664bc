"""Forms of responses: the first difference is named, and every member that is read is checked."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from dagengine.client import forms
from dagengine.client.forms import find_difference

TIME = "2024-01-10T11:24:44.513664+08:00"
ENTITY = {"id": "21", "name": "n", "state": "RUNNING", "operator": "RUN"}
TIMES = {"start_time": TIME, "end_time": TIME}
TASK = {
    **ENTITY,
    **TIMES,
    "additional_data": None,
    "execute_times": 1,
    "execute_agent": {"ip": "::1", "port": 1},
    "task_logs": ["x"],
}
NODE = {**ENTITY, **TIMES, "additional_data": None, "sub_tasks": [TASK]}
WAIT = {"kind": "sql", "on": "a", "since": TIME, "last": "", "deadline": TIME}
DAG = {
    **ENTITY,
    **TIMES,
    "stage": 1,
    "max_stage": 6,
    "maintenance_type": 1,
    "additional_data": {"wait": {"a": WAIT}, "evidence": {"a": 5}, "summary": "s"},
    "nodes": [NODE],
}


Path = tuple[str | int, ...]
ABSENT: set[Path] = {
    ("additional_data", "wait"),
    ("additional_data", "wait", "a"),
    ("additional_data", "wait", "a", "last"),
    ("additional_data", "wait", "a", "deadline"),
    ("additional_data", "evidence"),
    ("additional_data", "evidence", "a"),
    ("additional_data", "summary"),
    ("nodes", 0, "sub_tasks", 0, "additional_data"),  # not read
}
ANY: set[Path] = {
    ("additional_data", "evidence", "a"),
    ("nodes", 0, "sub_tasks", 0, "additional_data"),
}


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in parts:
        yield (*path, name)
        if isinstance(part, dict | list):
            yield from paths_of(part, (*path, name))


def parent_of(path: Path) -> tuple[dict[str, Any], Any]:
    """Return a copy of the DAG, and the part of it that contains the end of the path."""
    dag = copy.deepcopy(DAG)
    part: Any = dag
    for name in path[:-1]:
        part = part[name]
    return dag, part


@pytest.mark.parametrize("path", [*paths_of(DAG)], ids=lambda path: ".".join(map(str, path)))
def test_find_difference_detects_change_of_dag(path: Path) -> None:
    dag, parent = parent_of(path)
    assert find_difference(dag, forms.DAG) == ""
    parent[path[-1]] = object()
    assert (find_difference(dag, forms.DAG) == "") == (path in ANY)
    del parent[path[-1]]
    is_list = isinstance(parent, list)
    assert (find_difference(dag, forms.DAG) == "") == (path in ABSENT or is_list)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ((), [], "data is [], not an object"),
        (("id",), 5, "data.id is 5, not a text"),
        (("stage",), True, "data.stage is True, not a whole number"),
        (("stage",), "1", "data.stage is '1', not a whole number"),
        (("start_time",), "soon", "data.start_time is 'soon', not a time"),
        (("start_time",), "2024-01-10T11:24:44", "data.start_time is '2024-01-10T11:24:44'"),
        (("nodes",), {}, "data.nodes is {}, not a list"),
        (("nodes", 0, "state"), None, "data.nodes[0].state is None, not a text"),
        (
            ("nodes", 0, "sub_tasks", 0, "execute_agent"),
            {"ip": "a"},
            "data.nodes[0].sub_tasks[0].execute_agent.port is missing",
        ),
        (
            ("additional_data", "wait", "a", "since"),
            "x" * 500,
            "data.additional_data.wait.a.since is 'xxxx",
        ),
    ],
)
def test_find_difference_names_first_one(path: Path, value: Any, expected: str) -> None:
    dag, parent = parent_of(path)
    if path:
        parent[path[-1]] = value
    found = find_difference(dag if path else value, forms.DAG)
    assert found.startswith(expected)
    assert len(found) < 200


@pytest.mark.parametrize("name", ["nodes", "additional_data"])
def test_find_difference_accepts_null_without_details(name: str) -> None:
    assert find_difference({**DAG, name: None}, forms.DAG) == ""
    assert find_difference({**DAG, "unknown": object()}, forms.DAG) == ""
