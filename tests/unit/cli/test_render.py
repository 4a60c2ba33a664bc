"""Readable output of DAGs, in cases that the end-to-end tests of the commands do not cover."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dagengine.cli.views.render import (
    Layout,
    find_reason,
    render_attempts,
    render_logs,
    sub_task_line,
)
from dagengine.cli.views.tables import render_audit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def task(**fields: Any) -> dict[str, Any]:
    at = "2026-01-01T00:00:00Z"
    ended = {"state": "SUCCEED", "operator": "RUN", "start_time": at, "end_time": at}
    agent = {"ip": "10.0.0.1", "port": 2886}
    plain = {"id": "1", "name": "Start observer", "execute_times": 1, "execute_agent": agent}
    return {**plain, **ended, "task_logs": None, **fields}


@pytest.mark.parametrize(
    ("logs", "text_part"),
    [
        (
            ["begun", "ERROR: port is taken"],
            "passed by an operator; its last log line: port",
        ),
        (None, "passed by an operator"),
    ],
)
def test_sub_task_line_passed_sub_task_is_not_shown_as_failed(
    logs: list[str] | None, text_part: str
) -> None:
    passed = task(operator="PASS", task_logs=logs)
    layout = Layout.of({"nodes": [{"name": "Start observer", "sub_tasks": [passed]}]})
    assert f"0.00 s  {text_part}" in sub_task_line(layout, 1, passed, NOW).text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("10.0.0.1:2886: started, pid 5", "started, pid 5"),
        ("10.0.0.1:2886 answers SQL after 1.50 s", "answers SQL after 1.50 s"),
        ("ERROR: [OB.X]: 10.0.0.1:2886: the disk is full", "[OB.X]: the disk is full"),
        ("10.0.0.2:2886: another server", "10.0.0.2:2886: another server"),
    ],
)
def test_find_reason_omits_own_server(line: str, reason: str) -> None:
    assert find_reason(task(task_logs=["before", line])) == reason


def test_logs_and_attempts_name_server_once_per_line() -> None:
    lines = ["10.0.0.1:2886: never started", "ERROR: [OB.X]: 10.0.0.1:2886: the disk is full"]
    each = task(task_logs=lines)
    dag = {"nodes": [{"name": "Check", "sub_tasks": [each]}]}
    expected = ["never started", "ERROR: [OB.X]: the disk is full"]
    assert render_logs(dag) == [f"[1 Check 10.0.0.1:2886] {line}" for line in expected]
    attempts = {"1": [{**each, "attempt_no": 1, "outcome": "FAILED"}]}
    assert render_attempts(dag, attempts, NOW)[1:] == [f"    {line}" for line in expected]


@pytest.mark.parametrize(
    ("action", "node_id", "name", "text"),
    [
        ("START", None, "Stop OB", "12  request: Stop OB"),
        ("START", None, "", "12  request"),
        ("RETRY", None, "Stop OB", "12  RETRY of Stop OB"),
        ("PASS", "34", "Stop OB", "12  PASS of node 34 of Stop OB"),
        ("PASS", "34", "", "12  PASS of node 34"),
    ],
)
def test_render_audit_names_what_was_requested(
    action: str, node_id: str | None, name: str, text: str
) -> None:
    row = {"time": NOW.isoformat(), "dag_id": "12", "node_id": node_id, "action": action}
    names = {"12": name} if name else {}
    (line,) = render_audit([{**row, "by": "root", "reason": ""}], names)
    assert line.endswith(f"  {text}  by root")
