"""Screens of commands for comparison with recorded files: `python -m tests.support.screens`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from dagengine.cli.views.cluster_status import ClusterStatus, read_servers
from dagengine.cli.views.render import (
    Json,
    Layout,
    render_attempts,
    render_dag,
    render_end,
    sub_task_line,
)
from dagengine.cli.views.screen import Screen, write_screen
from dagengine.cli.views.status import render_cluster_status
from dagengine.cli.views.tables import render_audit, render_list

DIRECTORY = Path(__file__).parents[1] / "fixtures" / "screens"
WIDTHS = (60, 80, 140)
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
ZONE = timezone(timedelta(hours=8))
CONTROLLER = "10.0.0.9:2886"
ID = "21677721770288611"
NAMES = ("10.0.0.101:2886", "10.0.0.102:2886", "10.0.0.103:2886")
_ERROR = (
    "ERROR: [OB.Server.Start.Failed]: 10.0.0.102:2886: the home /data/seekdb has 1.2 GB of free "
    "space, and a start needs 4 GB; free space there"
)


def at(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).isoformat()


def sub_task(name: str, server: str, state: str, logs: Sequence[str] = (), **more: Any) -> Json:
    ip, port = server.split(":")
    task = {"id": f"{name} {server}", "name": name, "state": state, "operator": "RUN"}
    times = {"start_time": at(200), "end_time": at(180), "execute_times": 1}
    agent = {"ip": ip, "port": int(port)}
    return {**task, **times, "execute_agent": agent, "task_logs": [*logs] or None, **more}


def node(name: str, state: str, tasks: Sequence[Json]) -> Json:
    return {"id": name, "name": name, "state": state, "operator": "RUN", "sub_tasks": [*tasks]}


def dag(state: str, nodes: Sequence[Json], **more: Any) -> Json:
    return {
        "id": ID,
        "name": "Start OB",
        "state": state,
        "operator": "RUN",
        "stage": 2,
        "max_stage": 3,
        "start_time": at(200),
        "end_time": at(180),
        "maintenance_type": 2,
        "nodes": [*nodes],
        "additional_data": None,
        **more,
    }


FAILED = dag(
    "FAILED",
    [
        node("Lock", "SUCCEED", [sub_task("Lock", CONTROLLER, "SUCCEED", ["lock taken"])]),
        node(
            "Check servers",
            "FAILED",
            [
                sub_task("Check servers", NAMES[0], "SUCCEED", ["may be started"]),
                sub_task("Check servers", NAMES[1], "FAILED", [_ERROR]),
                sub_task("Check servers", NAMES[2], "SUCCEED", ["runs already"]),
            ],
        ),
        node("Report", "PENDING", [sub_task("Report", CONTROLLER, "PENDING", execute_times=0)]),
    ],
    additional_data={"evidence": {NAMES[0]: {"level": "sql"}, NAMES[2]: {"level": "sql"}}},
)
WAIT = {"kind": "step", "on": "Start observer", "since": at(20), "last": "its port is closed"}
RUNNING = dag(
    "RUNNING",
    [node("Start observer", "RUNNING", [sub_task("Start observer", NAMES[1], "RUNNING")])],
    additional_data={"wait": {NAMES[1]: WAIT}},
)
STOPPED = dag("SUCCEED", [], name="Stop OB", id=f"{ID}2", start_time=at(200_000))


def server(name: str, status: str, ob_status: int, **more: Any) -> Json:
    ip, port = name.split(":")
    return {
        "ip": ip,
        "obshell_port": int(port),
        "status": status,
        "ob_status": ob_status,
        **more,
    }


TOPOLOGY: Json = {
    "zones": [
        {
            "name": f"zone{number}",
            "servers": [found],
        }
        for number, found in enumerate(
            (
                server(NAMES[0], "RUNNING", 3, pid=4711, process_start=at(7300)),
                server(NAMES[1], "PROCESS_STOPPED", 0, why="its process has ended"),
                server(NAMES[2], "RUNNING", 3, pid=190_233, process_start=at(90)),
            ),
            1,
        )
    ]
}
LOCK = {"key": "cluster", "dag_id": ID, "name": "Start OB", "since": at(200)}


ATTEMPTED = dag("FAILED", FAILED["nodes"][1:2])
ATTEMPTS: dict[str, Sequence[Json]] = {
    task["id"]: [{**task, "attempt_no": 1, "outcome": task["state"], "task_logs": ["inspected"]}]
    for task in ATTEMPTED["nodes"][0]["sub_tasks"]
}
AUDIT = [
    {
        "time": at(200),
        "dag_id": ID,
        "node_id": node_id,
        "action": action,
        "by": "root@sys from 10.0.0.7",
        "reason": reason,
    }
    for action, node_id, reason in (
        ("PASS", f"{ID}1", ""),
        ("RETRY", None, ""),
        ("START", None, "maintenance"),
    )
]


def status_of(topology: Json, last: Json, unfinished: Sequence[Json]) -> ClusterStatus:
    locks = [{**LOCK, "dag_id": ID if unfinished else None}]
    servers = read_servers(topology, last)
    return ClusterStatus(servers, last, last, unfinished, locks, CONTROLLER)


def render_scenes(screen: Screen) -> dict[str, Sequence[str]]:
    """Return the lines of each scene."""
    layout = Layout.of(FAILED)
    progress = [
        sub_task_line(layout, stage, task, NOW, screen.short_time(task["end_time"], NOW)).text
        for stage, each in enumerate(FAILED["nodes"][:2], 1)
        for task in each["sub_tasks"]
    ]
    waits = {"Start observer": {NAMES[1]: WAIT}}
    return {
        "status after a failed start": render_cluster_status(
            status_of(TOPOLOGY, FAILED, []), NOW, screen
        ),
        "status during a start": render_cluster_status(
            status_of(TOPOLOGY, RUNNING, [RUNNING]), NOW, screen
        ),
        "progress of start": progress,
        "end of start": render_end(FAILED, CONTROLLER),
        "show ID of a failed DAG": render_dag(FAILED, NOW, {}, screen, CONTROLLER),
        "show ID of a running DAG": render_dag(RUNNING, NOW, waits, screen, CONTROLLER),
        "list": render_list([STOPPED, FAILED], NOW, screen),
        "attempts": render_attempts(ATTEMPTED, ATTEMPTS, NOW, screen),
        "audit": render_audit(AUDIT, {ID: "Stop OB"}, NOW, screen),
    }


def render_screens(width: int | None, *, is_capable: bool) -> str:
    """Return all scenes as a stream receives them."""
    screen = Screen(width, is_capable=is_capable, zone=ZONE)
    stream = io.StringIO()
    for title, lines in render_scenes(screen).items():
        stream.write(f"=== {title}\n")
        write_screen(stream, screen, lines)
    return stream.getvalue()


def file_of(width: int, *, is_capable: bool) -> Path:
    return DIRECTORY / f"{width}-{'colour' if is_capable else 'dumb'}.txt"


def main() -> None:
    """Record all screens."""
    for width in WIDTHS:
        for is_capable in (False, True):
            text = render_screens(width, is_capable=is_capable)
            file_of(width, is_capable=is_capable).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
