"""`status`: the state of each server according to its probe, not to a DAG."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine.cli.views.status import ClusterStatus, read_servers, render_cluster_status
from tests.support.screens import CONTROLLER, FAILED, NAMES, NOW, STOPPED, server, status_of


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


def test_read_servers_last_error_is_cause_or_probe() -> None:
    down = [server(name, "PROCESS_STOPPED", 0, why="no process") for name in NAMES[:2]]
    up = server(NAMES[2], "RUNNING", 3, why="old")
    errors = [read.last_error for read in read_servers(topology_of(*down, up), FAILED)]
    assert (errors[0], errors[2]) == ("no process", "")
    assert errors[1].startswith("[OB.Server.Start.Failed]: the home /data/seekdb has 1.2 GB")


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
