"""Text from hosts, other users and older stores cannot control the terminal or forge a line."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dagengine.cli.views.cluster_status import ClusterStatus, read_servers
from dagengine.cli.views.render import (
    Json,
    Layout,
    render_attempts,
    render_dag,
    render_end,
    render_logs,
    render_plan,
    sub_task_line,
)
from dagengine.cli.views.screen import Screen, write_screen
from dagengine.cli.views.status import render_cluster_status
from dagengine.cli.views.tables import render_audit, render_list
from dagengine.runtime.terminal import write_lines

ROOT = Path(__file__).parents[3]
HOSTILE = "x\x1b]0;own\x07\x1b[2J\x9b31m\u202e\rFORGED\nFORGED line\u2028FORGED"
AT = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGENT = {"ip": "10.0.0.1", "port": 2886}
TASK = {
    "id": "1",
    "name": HOSTILE,
    "state": "FAILED",
    "operator": "RUN",
    "execute_times": 2,
    "start_time": AT,
    "end_time": AT,
    "execute_agent": AGENT,
    "task_logs": [HOSTILE],
}
NODE = {**TASK, "sub_tasks": [TASK], "additional_data": None}
WAIT = {"kind": HOSTILE, "on": HOSTILE, "since": AT, "last": HOSTILE}
DAG: Json = {
    "id": "1",
    "dag_id": 1,
    "name": HOSTILE,
    "state": "FAILED",
    "operator": "RUN",
    "stage": 1,
    "max_stage": 1,
    "start_time": AT,
    "end_time": AT,
    "maintenance_type": 2,
    "nodes": [NODE],
    "additional_data": {
        "summary": HOSTILE,
        "evidence": {"10.0.0.2:2886": {"level": HOSTILE}},
        "wait": {HOSTILE: WAIT},
    },
}
RUNNING: Json = {
    **DAG,
    "state": "RUNNING",
    "nodes": [{**NODE, "state": "RUNNING", "sub_tasks": [{**TASK, "state": "RUNNING"}]}],
}
ATTEMPT = {
    "attempt_no": 1,
    "outcome": HOSTILE,
    "start_time": AT,
    "end_time": AT,
    "task_logs": [HOSTILE],
}
PLAN: Json = {
    "name": HOSTILE,
    "digest": HOSTILE,
    "lock": {"key": HOSTILE, "about": HOSTILE, "dag_id": None},
    "servers": [
        {
            "server": HOSTILE,
            "verdict": "blocked",
            "reason": HOSTILE,
            "commands": [HOSTILE],
            "checks": [{"level": "block", "check": HOSTILE, "cause": HOSTILE, "remedy": HOSTILE}],
        }
    ],
}
AUDIT = {"time": AT, "dag_id": "1", "node_id": None, "action": HOSTILE, "by": HOSTILE}
TOPOLOGY = {
    "zones": [
        {
            "name": HOSTILE,
            "servers": [
                {
                    "ip": "10.0.0.2",
                    "obshell_port": 2886,
                    "status": HOSTILE,
                    "ob_status": 0,
                    "why": HOSTILE,
                }
            ],
        }
    ]
}
LOCK = {"key": HOSTILE, "dag_id": "1", "name": HOSTILE, "since": AT}
STATUS = ClusterStatus(
    read_servers(TOPOLOGY, None), DAG, RUNNING, [RUNNING], [LOCK], "10.0.0.9:2886"
)
OUTPUTS: dict[str, Callable[[], Sequence[str]]] = {
    "show ID": lambda: render_dag(DAG, NOW, {}, Screen(), ""),
    "show ID of a running DAG": lambda: render_dag(
        RUNNING, NOW, {"1": {HOSTILE: WAIT}}, Screen(), ""
    ),
    "status": lambda: render_cluster_status(STATUS, NOW),
    "status on a narrow terminal": lambda: render_cluster_status(STATUS, NOW, Screen(60)),
    "list on a narrow terminal": lambda: render_list([DAG], NOW, Screen(60)),
    "logs": lambda: render_logs(DAG),
    "attempts": lambda: render_attempts(DAG, {"1": [ATTEMPT]}, NOW),
    "audit": lambda: render_audit(
        [{**AUDIT, "reason": HOSTILE}, {**AUDIT, "reason": ""}], {"1": HOSTILE}
    ),
    "list": lambda: render_list([DAG]),
    "start --dry-run": lambda: render_plan(PLAN),
    "end of start": lambda: render_end(DAG, ""),
    "progress of start": lambda: [sub_task_line(Layout.of(DAG), 1, TASK, NOW).text],
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_command_output_has_no_control_characters(command: str) -> None:
    lines = OUTPUTS[command]()
    stream = io.StringIO()
    write_lines(stream, lines)
    written = stream.getvalue().split("\n")
    assert len(written) == len(lines) + 1
    assert all(line.isprintable() for line in written)
    assert not any(line.startswith("FORGED") for line in written)
    assert r"\x1b[2J\x9b31m\u202e\x0dFORGED\x0aFORGED line\u2028" in stream.getvalue()


@pytest.mark.parametrize("command", OUTPUTS)
def test_styled_output_has_only_colours_as_controls(command: str) -> None:
    stream = io.StringIO()
    write_screen(stream, Screen(80, is_capable=True), OUTPUTS[command]())
    text = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue())
    assert all(line.isprintable() for line in text.split("\n"))
    assert not any(line.lstrip().startswith("FORGED\n") for line in text.split("\n"))


def test_progress_line_is_escaped_before_it_is_cut() -> None:
    assert sub_task_line(Layout.of(DAG), 1, TASK, NOW).text.isprintable()


# --- no other way to a terminal -----------------------------------------------------------

COMMANDS = [
    *ROOT.glob("dagengine/cli/*.py"),
    *ROOT.glob("tasks/cli/*.py"),
    *ROOT.glob("tasks/demo/command.py"),
]
OWN_TEXT: dict[str, str] = {}


def direct_writes(source: str) -> list[str]:
    """Return the arguments of calls of `print`, and of `write` or `writelines` of a stream."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name == "print" or name.endswith(("stdout.write", "stderr.write", "stream.write")):
            found += [ast.unparse(argument) for argument in node.args]
    return found


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: f"{file.parts[-3]}-{file.name}")
def test_command_writes_only_through_write_lines(file: Path) -> None:
    writes = direct_writes(file.read_text(encoding="utf-8"))
    own = OWN_TEXT.get(file.name)
    assert [text for text in writes if own is None or own not in text] == []


def test_direct_write_is_found() -> None:
    source: Any = "print(a)\nsys.stdout.write(b)\nself._stream.write(c)"
    assert direct_writes(source) == ["a", "b", "c"]
