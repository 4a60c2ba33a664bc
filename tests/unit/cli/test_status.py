"""`status`: the state of each server according to its probe, not to a DAG."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from dagengine.cli.views.cluster_status import ClusterStatus, find_content, read_servers
from dagengine.cli.views.screen import Screen
from dagengine.cli.views.status import render_cluster_status
from tests.support.screens import (
    CONTROLLER,
    FAILED,
    NAMES,
    NOW,
    STOPPED,
    at,
    dag,
    node,
    server,
    status_of,
    sub_task,
)


def topology_of(*servers: Any) -> dict[str, Any]:
    return {"zones": [{"name": "zone1", "servers": [*servers]}]}


@pytest.mark.parametrize(
    ("status", "ob_status", "state", "is_up"),
    [
        ("RUNNING", 3, "up", True),
        ("STARTING", 3, "up", True),
        ("STARTING", 0, "starting", False),
        ("SERVICE_STOPPING", 3, "stopping", False),
        ("PROCESS_STOPPING", 3, "stopping", False),
        ("SERVICE_STOPPED", 3, "stopped", False),
        ("PROCESS_STOPPED", 0, "down", False),
        ("DELETING", 3, "deleting", False),
        ("RUNNING", 2, "restricted", False),
        ("UNAVAILABLE", 1, "no SQL", False),
        ("UNAVAILABLE", 0, "unknown", False),
        ("RUNNING", 0, "unknown", False),
        ("FUTURE", 7, "unknown", False),
    ],
)
def test_read_servers_state_comes_from_probe(
    status: str, ob_status: int, state: str, is_up: bool
) -> None:
    (read,) = read_servers(topology_of(server(NAMES[0], status, ob_status)), STOPPED)
    assert (read.state, read.is_up) == (state, is_up)


def test_read_servers_last_error_is_that_of_probe() -> None:
    down = [server(name, "PROCESS_STOPPED", 0, why="no process") for name in NAMES[:2]]
    up = server(NAMES[2], "RUNNING", 3, why="old")
    first, second, third = read_servers(topology_of(*down, up), FAILED)
    assert [read.last_error for read in (first, second, third)] == ["no process"] * 2 + [""]
    assert second.failure is not None
    assert second.failure.cause.startswith("[OB.Server.Start.Failed]: the home /data/seekdb has")
    assert (first.failure, third.failure) == (None, None)


def test_read_servers_without_reason_report_failure() -> None:
    (read,) = read_servers(topology_of(server(NAMES[1], "PROCESS_STOPPED", 0)), FAILED)
    assert read.failure is not None
    assert read.last_error == read.failure.cause


@pytest.mark.parametrize(
    ("line", "probe", "is_shown"),
    [
        ("ERROR: [Agent.RPC.RequestError]: SSH was down", {"why": "no process"}, False),
        ("ERROR: [Agent.RPC.RequestError]: SSH was down", {}, True),
        ("ERROR: [OB.X]: no space", {"why": "no process"}, True),
        ("ERROR: [OB.X]: no space", {"why": "no SQL", "process_start": at(90)}, False),
        ("ERROR: [OB.X]: no space", {"why": "no SQL", "process_start": at(900)}, True),
    ],
)
def test_read_servers_shows_failure_that_may_explain(
    line: str, probe: dict[str, Any], is_shown: bool
) -> None:
    failed = dag("FAILED", [node("X", "FAILED", [sub_task("X", NAMES[0], "FAILED", [line])])])
    topology = topology_of(server(NAMES[0], "PROCESS_STOPPED", 0, **probe))
    lines = render_cluster_status(status_of(topology, failed, []), NOW, Screen(140, zone=UTC))
    shown = [text for text in lines if "Start OB failed (2026-01-01 11:57:00 +0000, 3 min" in text]
    assert bool(shown) is is_shown
    assert all(probe.get("why", "") in text for text in shown)


@pytest.mark.parametrize("is_killed", [False, True])
def test_render_cluster_status_killed_server_is_no_success(is_killed: bool) -> None:
    state = ("PROCESS_STOPPED", 0) if is_killed else ("RUNNING", 3)
    status = status_of(topology_of(server(NAMES[0], *state)), STOPPED, [])
    lines = render_cluster_status(status, NOW)
    assert status.is_healthy is not is_killed
    assert (lines[-1] == "next: start what is down:  dagengine start") is is_killed
    assert ("nothing to do" in lines[-1]) is not is_killed


def test_render_cluster_status_without_dag_suggests_start() -> None:
    servers = read_servers(topology_of(server(NAMES[0], "PROCESS_STOPPED", 0)), None)
    lines = render_cluster_status(ClusterStatus(servers, None, None, [], [], CONTROLLER), NOW)
    assert lines[-2:] == ["no start or stop was requested yet", "next: dagengine start"]


@pytest.mark.parametrize("last", [STOPPED, None])
@pytest.mark.parametrize("is_other_down", [False, True])
def test_render_cluster_status_unknown_server_suggests_doctor(
    last: dict[str, Any] | None, is_other_down: bool
) -> None:
    unknown = server(NAMES[0], "UNAVAILABLE", 0, why="SSH was refused; check its host")
    other = server(NAMES[1], *(("PROCESS_STOPPED", 0) if is_other_down else ("RUNNING", 3)))
    servers = read_servers(topology_of(unknown, other), last)
    status = ClusterStatus(servers, last, last, [], [], CONTROLLER)
    steps = [line for line in render_cluster_status(status, NOW) if "  dagengine " in line]
    commands = [line.rpartition("  ")[2] for line in steps]
    assert commands == ["dagengine doctor -c FILE", *["dagengine start"] * is_other_down]


def test_find_content_ignores_jitter_of_up_since() -> None:
    def content(pid: int | None, seconds_ago: float | None) -> dict[str, Any]:
        since = None if seconds_ago is None else at(seconds_ago)
        up = server(NAMES[0], "RUNNING", 3, pid=pid, process_start=since)
        return find_content(status_of(topology_of(up), STOPPED, []))

    assert content(4711, 60.004) == content(4711, 60.0)
    assert content(4711, 60.0) != content(4712, 60.0)
    assert content(4711, 60.0) != content(4711, None)
