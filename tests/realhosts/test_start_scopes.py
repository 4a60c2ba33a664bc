"""Starts without faults: each scope contacts its own hosts and no other."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from tests.realhosts.host_cluster import HostCluster, log_text, sub_task
from tests.realhosts.installation import SQL_PORT

pytestmark = pytest.mark.asyncio(loop_scope="module")


def connections(cluster: HostCluster) -> Counter[int]:
    """Return the number of SSH connections by number of host, according to its own sshd."""
    return Counter({h.number: h.sshd_log.count("Connection from") for h in cluster.hosts})


async def test_start_each_scope_contacts_only_own_hosts(
    own_cluster: HostCluster,
) -> None:
    cluster = own_cluster
    first, second, _ = cluster.names
    await cluster.restart_without_watch()
    before = connections(cluster)

    by_server = await cluster.end_of(await cluster.start("SERVER", [first]))
    assert by_server["state"] == "SUCCEED", log_text(by_server)
    assert connections(cluster) - before == {1: 1}
    assert [len(host.servers()) for host in cluster.hosts] == [1, 0, 0]

    by_zone = await cluster.end_of(await cluster.start("ZONE", ["zone2"]))
    assert by_zone["state"] == "SUCCEED", log_text(by_zone)
    assert connections(cluster) - before == {1: 1, 2: 1}
    assert [len(host.servers()) for host in cluster.hosts] == [1, 1, 0]
    (task,) = by_zone["nodes"][2]["sub_tasks"]
    assert task["execute_agent"] == {"ip": cluster.hosts[1].ip, "port": 2886}

    by_global = await cluster.end_of(await cluster.start())
    assert by_global["state"] == "SUCCEED", log_text(by_global)
    new_connections = connections(cluster) - before
    assert new_connections == {1: 1, 2: 1, 3: 1}, "one connection per host carries all commands"
    assert [host.launches for host in cluster.hosts] == [1, 1, 1]
    assert "nothing to do" in sub_task(by_global, 3, second)["task_logs"][-1]
    await cluster.expect_nothing_left()


async def test_start_does_not_contact_lost_host_outside_scope(cluster: HostCluster) -> None:
    lost_host = cluster.hosts[2]
    await cluster.restart_without_watch()
    cluster.network.set_link(lost_host.number, up=False)
    cluster.undo.callback(cluster.network.set_link, lost_host.number, up=True)
    before = lost_host.contacts
    dag = await cluster.end_of(await cluster.start("SERVER", list(cluster.names[:2])))
    assert dag["state"] == "SUCCEED", log_text(dag)
    await cluster.reset()
    assert lost_host.contacts == before


async def test_start_after_power_cut_restarts_all_servers(
    cluster: HostCluster,
) -> None:
    for host in cluster.hosts:
        await cluster.end_server(host)
        host.signal_sshd(signal.SIGKILL)
        host.start_sshd()
    dag = await cluster.end_of(await cluster.start())
    assert dag["state"] == "SUCCEED", log_text(dag)
    assert all(host.is_listening(SQL_PORT) for host in cluster.hosts)
    await cluster.expect_nothing_left()
