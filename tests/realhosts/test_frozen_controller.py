"""A controller is frozen after it has decided on a command; another one acts; it continues."""

from __future__ import annotations

import signal

import pytest

from dagengine.client import Client
from tests.realhosts.host import Host
from tests.realhosts.host_cluster import Dag, HostCluster, log_text, sub_task, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def freeze_before(cluster: HostCluster, command: str, host: Host) -> None:
    """Freeze the controller when it is about to send a command to a host."""
    reached = cluster.holds / f"send-{command}-{host.ip}"
    await until(reached.exists, f"the decision on {command}")
    cluster.signal_controller(signal.SIGSTOP)
    cluster.undo.callback(cluster.signal_controller, signal.SIGCONT)


async def continue_frozen(cluster: HostCluster, dag_id: str) -> Dag:
    """Let the frozen controller send its command; return the ended DAG."""
    cluster.undo.close()
    for hold in cluster.holds.iterdir():
        hold.unlink()
    return await cluster.end_of(dag_id)


def expect_stale(dag: Dag, stage: int, server: str) -> None:
    assert dag["state"] == "FAILED", log_text(dag)
    last = sub_task(dag, stage, server)["task_logs"][-1]
    assert "was last controlled with a newer token (epoch " in last, last
    assert "dagengine store new-epoch" in last, last


def pids(host: Host) -> list[int]:
    return [process.pid for process in host.servers()]


async def end_of_copied(cluster: HostCluster, client: Client, dag_id: str) -> Dag:
    dag = await cluster.end_of(dag_id, client)
    assert dag["state"] == "SUCCEED", log_text(dag)
    return dag


async def test_frozen_controller_command_is_stale(own_cluster: HostCluster) -> None:
    """First the frozen controller wants to start a server, then to stop it."""
    cluster = own_cluster
    host, server = cluster.hosts[0], cluster.names[0]
    (cluster.holds / "send-dagengine-start").touch()
    dag_id = await cluster.start("SERVER", [server])
    await freeze_before(cluster, "dagengine-start", host)
    assert host.servers() == []
    async with cluster.second_controller() as client:
        await end_of_copied(cluster, client, dag_id)
        started = pids(host)
        assert (len(started), host.launches) == (1, 1)
        expect_stale(await continue_frozen(cluster, dag_id), 3, server)
        assert (pids(host), host.launches) == (started, 1)

        # The first controller is stale for good: none of its commands changes the home.
        again = await cluster.end_of(await cluster.start("SERVER", [server]))
        assert again["state"] == "FAILED", log_text(again)
        assert (pids(host), host.launches) == (started, 1)
    await cluster.expect_no_command_left(host)


async def test_frozen_controller_stop_is_stale(own_cluster: HostCluster) -> None:
    cluster = own_cluster
    host, server = cluster.hosts[0], cluster.names[0]
    dag = await cluster.end_of(await cluster.start("SERVER", [server]))
    assert dag["state"] == "SUCCEED", log_text(dag)
    (cluster.holds / "send-dagengine-stop").touch()
    dag_id = str((await cluster.client.stop("SERVER", [server], force=True))["id"])
    await freeze_before(cluster, "dagengine-stop", host)
    assert len(host.servers()) == 1
    async with cluster.second_controller() as client:
        await end_of_copied(cluster, client, dag_id)
        assert host.servers() == []
        await end_of_copied(cluster, client, (await client.start("SERVER", [server]))["id"])
        started = pids(host)
        stopped = await continue_frozen(cluster, dag_id)
        assert stopped["state"] == "FAILED", log_text(stopped)
        assert "newer token (epoch " in log_text(stopped)
        assert (pids(host), host.launches) == (started, 2)
    await cluster.expect_no_command_left(host)
