"""A server with another manager is not started, stopped or rolled back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.acceptance.conftest import (
    ClusterTestbed,
    OpenTestbed,
    all_log_lines,
    other_controller_in_soak,
    sub_tasks,
    wait_dag,
)
from tests.support.external_managers import obshell_of, unit_of

GOOD, BAD = "127.0.0.1:2886", "127.0.0.1:2887"
CHECK, START = 2, 3

pytestmark = pytest.mark.slow

Manage = Callable[[ClusterTestbed, int], AbstractContextManager[object]]


def by_obshell(testbed: ClusterTestbed, number: int) -> AbstractContextManager[object]:
    return obshell_of(testbed.cluster.servers[number].home)


def by_unit(testbed: ClusterTestbed, number: int) -> AbstractContextManager[object]:
    """Enable a unit of the user's systemd on one host; each host has its own HOME."""
    server = testbed.cluster.servers[number]
    directory = server.host.directory / ".config" / "systemd" / "user"
    return unit_of(directory, f"ExecStart={server.home}/bin/seekdb --base-dir {server.home}")


@pytest.mark.parametrize(
    ("manage", "expected", "remedy"),
    [
        (by_obshell, "an OBShell (pid ", "obshell agent stop"),
        (by_unit, "the systemd unit database.service", "systemctl start database.service"),
    ],
    ids=["OBShell", "systemd"],
)
@other_controller_in_soak
async def test_externally_managed_server_is_not_started_or_stopped(
    open_testbed: OpenTestbed, manage: Manage, expected: str, remedy: str
) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        await testbed.start_controller()
        with manage(testbed, 1):
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
            assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), all_log_lines(dag)
            line = sub_tasks(dag, CHECK)[BAD]["task_logs"][-1]
            assert expected in line
            assert remedy in line
            (pid,) = testbed.server_pids()
            assert not (testbed.cluster.servers[1].home / "log").exists()
        with manage(testbed, 0):
            await client.operate_dag(dag["id"], "ROLLBACK")
            undone = await wait_dag(client, dag["id"])
            assert (undone["state"], undone["operator"]) == ("FAILED", "ROLLBACK")
            line = sub_tasks(undone, START)[GOOD]["task_logs"][-1]
            assert expected in line
            assert remedy in line
            assert testbed.server_pids() == [pid]

            stop = await wait_dag(client, (await client.stop("GLOBAL", force=True))["id"])
            assert (stop["state"], stop["stage"]) == ("FAILED", CHECK), all_log_lines(stop)
            line = sub_tasks(stop, CHECK)[GOOD]["task_logs"][-1]
            assert expected in line
            assert remedy in line
            assert testbed.server_pids() == [pid]
        await client.operate_dag(stop["id"], "RETRY")
        assert (await wait_dag(client, stop["id"]))["state"] == "SUCCEED"
        assert testbed.server_pids() == []
