"""Starts where nothing is wrong: each scope reaches its own hosts and no other."""

from __future__ import annotations

import signal

import pytest

from tests.realhosts.installation import SQL_PORT
from tests.realhosts.world import World, sub_task, told

pytestmark = pytest.mark.asyncio(loop_scope="module")


def connections(world: World) -> list[int]:
    """How many SSH connections each host has seen, as its own sshd tells."""
    return [host.sshd_log.count("Connection from") for host in world.hosts]


async def test_a_server_zone_and_global_start_contact_their_own_hosts_alone(
    own_world: World,
) -> None:
    world = own_world
    one, two, _ = world.names
    assert connections(world) == [0, 0, 0]

    by_server = await world.end_of(await world.start("SERVER", [one]))
    assert by_server["state"] == "SUCCEED", told(by_server)
    assert connections(world) == [1, 0, 0]
    assert [len(host.servers()) for host in world.hosts] == [1, 0, 0]

    by_zone = await world.end_of(await world.start("ZONE", ["zone2"]))
    assert by_zone["state"] == "SUCCEED", told(by_zone)
    assert connections(world) == [1, 1, 0]
    assert [len(host.servers()) for host in world.hosts] == [1, 1, 0]
    (task,) = by_zone["nodes"][2]["sub_tasks"]
    assert task["execute_agent"] == {"ip": world.hosts[1].ip, "port": 2886}

    by_global = await world.end_of(await world.start())
    assert by_global["state"] == "SUCCEED", told(by_global)
    assert connections(world) == [1, 1, 1], "one connection a host carries everything"
    assert [host.launches for host in world.hosts] == [1, 1, 1]
    assert "nothing to do" in sub_task(by_global, 3, two)["task_logs"][-1]
    await world.expect_nothing_left()


async def test_a_start_of_one_server_does_not_touch_a_host_that_is_down(world: World) -> None:
    away = world.hosts[2]
    world.network.set_link(away.number, up=False)
    world.undo.callback(world.network.set_link, away.number, up=True)
    before = away.contacts
    dag = await world.end_of(await world.start("SERVER", list(world.names[:2])))
    assert dag["state"] == "SUCCEED", told(dag)
    await world.reset()
    assert away.contacts == before


async def test_a_start_after_a_power_cut_of_all_hosts_brings_every_server_back(
    world: World,
) -> None:
    for host in world.hosts:
        await world.end_server(host)
        host.signal_sshd(signal.SIGKILL)
        host.start_sshd()
    dag = await world.end_of(await world.start())
    assert dag["state"] == "SUCCEED", told(dag)
    assert all(host.is_listening(SQL_PORT) for host in world.hosts)
    await world.expect_nothing_left()
