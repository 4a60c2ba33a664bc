"""Starts without faults: each scope contacts its own hosts and no other."""

from __future__ import annotations

import signal

import pytest

from tests.realhosts.host_cluster import HostCluster, log_text, sub_task
from tests.realhosts.installation import SQL_PORT

pytestmark = pytest.mark.asyncio(loop_scope="module")


def connections(world: HostCluster) -> list[int]:
    """Return the number of SSH connections of each host, according to its own sshd."""
    return [host.sshd_log.count("Connection from") for host in world.hosts]


async def test_start_each_scope_contacts_only_own_hosts(
    own_world: HostCluster,
) -> None:
    world = own_world
    one, two, _ = world.names
    assert connections(world) == [0, 0, 0]

    by_server = await world.end_of(await world.start("SERVER", [one]))
    assert by_server["state"] == "SUCCEED", log_text(by_server)
    assert connections(world) == [1, 0, 0]
    assert [len(host.servers()) for host in world.hosts] == [1, 0, 0]

    by_zone = await world.end_of(await world.start("ZONE", ["zone2"]))
    assert by_zone["state"] == "SUCCEED", log_text(by_zone)
    assert connections(world) == [1, 1, 0]
    assert [len(host.servers()) for host in world.hosts] == [1, 1, 0]
    (task,) = by_zone["nodes"][2]["sub_tasks"]
    assert task["execute_agent"] == {"ip": world.hosts[1].ip, "port": 2886}

    by_global = await world.end_of(await world.start())
    assert by_global["state"] == "SUCCEED", log_text(by_global)
    assert connections(world) == [1, 1, 1], "one connection a host carries everything"
    assert [host.launches for host in world.hosts] == [1, 1, 1]
    assert "nothing to do" in sub_task(by_global, 3, two)["task_logs"][-1]
    await world.expect_nothing_left()


async def test_start_does_not_contact_lost_host_outside_scope(world: HostCluster) -> None:
    lost_host = world.hosts[2]
    world.network.set_link(lost_host.number, up=False)
    world.undo.callback(world.network.set_link, lost_host.number, up=True)
    before = lost_host.contacts
    dag = await world.end_of(await world.start("SERVER", list(world.names[:2])))
    assert dag["state"] == "SUCCEED", log_text(dag)
    await world.reset()
    assert lost_host.contacts == before


async def test_start_after_power_cut_restarts_all_servers(
    world: HostCluster,
) -> None:
    for host in world.hosts:
        await world.end_server(host)
        host.signal_sshd(signal.SIGKILL)
        host.start_sshd()
    dag = await world.end_of(await world.start())
    assert dag["state"] == "SUCCEED", log_text(dag)
    assert all(host.is_listening(SQL_PORT) for host in world.hosts)
    await world.expect_nothing_left()
