"""Readable output of DAGs, in cases that the end-to-end tests of the commands do not cover."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dagengine.cli.render import Layout, sub_task_line

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
            "passed by an operator; its last log line: ERROR: port",
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
