"""A server that somebody else looks after is not started, stopped or rolled back from here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.acceptance.conftest import World, WorldOf, sub_tasks, told, wait_dag
from tests.managers import obshell_of, unit_of

GOOD, BAD = "127.0.0.1:2886", "127.0.0.1:2887"
CHECK, START = 2, 3

pytestmark = pytest.mark.slow

Manage = Callable[[World, int], AbstractContextManager[object]]


def by_obshell(world: World, number: int) -> AbstractContextManager[object]:
    return obshell_of(world.cluster.servers[number].home)


def by_unit(world: World, number: int) -> AbstractContextManager[object]:
    """Of the user's systemd, on that host alone: each host has a HOME of its own."""
    server = world.cluster.servers[number]
    directory = server.host.directory / ".config" / "systemd" / "user"
    return unit_of(directory, f"ExecStart={server.home}/bin/seekdb --base-dir {server.home}")


@pytest.mark.parametrize(
    ("manage", "said", "remedy"),
    [
        (by_obshell, "an OBShell (pid ", "obshell agent stop"),
        (by_unit, "the systemd unit database.service", "systemctl start database.service"),
    ],
    ids=["OBShell", "systemd"],
)
async def test_a_start_a_rollback_and_a_stop_refuse_and_signal_nothing(
    world_of: WorldOf, manage: Manage, said: str, remedy: str
) -> None:
    async with world_of(2) as world, world.client() as client:
        await world.start_controller()
        with manage(world, 1):
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
            assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), told(dag)
            line = sub_tasks(dag, CHECK)[BAD]["task_logs"][-1]
            assert said in line
            assert remedy in line
            (pid,) = world.server_pids()
            assert not (world.cluster.servers[1].home / "log").exists()
        with manage(world, 0):
            await client.operate_dag(dag["id"], "ROLLBACK")
            undone = await wait_dag(client, dag["id"])
            assert (undone["state"], undone["operator"]) == ("FAILED", "ROLLBACK")
            line = sub_tasks(undone, START)[GOOD]["task_logs"][-1]
            assert said in line
            assert remedy in line
            assert world.server_pids() == [pid]

            stop = await wait_dag(client, (await client.stop("GLOBAL", force=True))["id"])
            assert (stop["state"], stop["stage"]) == ("FAILED", CHECK), told(stop)
            line = sub_tasks(stop, CHECK)[GOOD]["task_logs"][-1]
            assert said in line
            assert remedy in line
            assert world.server_pids() == [pid]
        await client.operate_dag(stop["id"], "RETRY")
        assert (await wait_dag(client, stop["id"]))["state"] == "SUCCEED"
        assert world.server_pids() == []
