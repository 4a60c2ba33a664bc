"""Three zones of three stand-in observers, each on its own host, which is lost and returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.realhosts.faults import LINK_DOWN, PACKETS_DROPPED, SSHD_FROZEN, Fault
from tests.realhosts.host import Host
from tests.realhosts.host_cluster import HostCluster, log_text, sub_task, until
from tests.realhosts.oceanbase_cluster import launches, open_ledger, open_oceanbase_cluster, serving
from tests.realhosts.report import Row, ended_at

pytestmark = pytest.mark.asyncio(loop_scope="module")

AddRow = Callable[[Row], None]
CHECK, START, CLUSTER = 2, 3, 5
ALL = list(range(1, 10))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_cluster(made_clusters: list[HostCluster]) -> AsyncIterator[HostCluster]:
    """Nine hosts; every server is in service."""
    async with open_oceanbase_cluster(made_clusters, per_zone=3) as new_cluster:
        yield new_cluster


def zone(cluster: HostCluster, name: str) -> list[Host]:
    return [host for host in cluster.hosts if host.zone == name]


def pids(cluster: HostCluster) -> list[list[int]]:
    return [[server.pid for server in host.servers()] for host in cluster.hosts]


def lose(cluster: HostCluster, hosts: Sequence[Host], fault: Fault) -> None:
    for host in hosts:
        fault.cause(cluster, host)
        cluster.undo.callback(fault.repair, cluster, host)


def held_launch(cluster: HostCluster, host: Host) -> Callable[[], bool]:
    """Hold the start script of that host, before it takes a lock, until the next reset."""
    barrier = host.barrier("dagengine-start")
    cluster.undo.callback(barrier.open)
    return lambda: barrier.is_reached


async def test_start_nine_hosts_each_scope_contacts_only_own_hosts(
    cluster: HostCluster,
) -> None:
    for host in cluster.hosts:
        await cluster.end_server(host)
    await cluster.restart_without_watch()
    contacts = [host.contacts for host in cluster.hosts]
    # Without a majority the process comes up, but the cluster does not serve.
    single_start = await cluster.end_of(await cluster.start("SERVER", [cluster.names[0]]))
    assert (single_start["state"], single_start["stage"]) == ("FAILED", CLUSTER), log_text(
        single_start
    )
    assert "majority" in log_text(single_start)
    assert [len(host.servers()) for host in cluster.hosts] == [1] + [0] * 8

    by_zone = await cluster.start("ZONE", ["zone2"])
    assert (await cluster.end_of(by_zone))["state"] == "SUCCEED"
    assert serving(cluster) == [1, 4, 5, 6]
    silent = zone(cluster, "zone3") + zone(cluster, "zone1")[1:]
    assert [host.contacts - contacts[host.number - 1] for host in silent] == [0] * 5

    by_global = await cluster.end_of(await cluster.start())
    assert by_global["state"] == "SUCCEED", log_text(by_global)
    assert serving(cluster) == ALL
    evidence = by_global["additional_data"]["evidence"]
    assert all(evidence[name]["cross_checked"] for name in cluster.names)
    await cluster.expect_nothing_left()


async def test_start_one_server_does_not_contact_frozen_host(
    cluster: HostCluster,
) -> None:
    ended_host, lost_host = cluster.hosts[0], cluster.hosts[8]
    await cluster.end_server(ended_host)
    await cluster.restart_without_watch()
    lose(cluster, [lost_host], SSHD_FROZEN)
    contacts = [host.contacts for host in cluster.hosts[1:]]
    dag = await cluster.end_of(await cluster.start("SERVER", [cluster.names[0]]))
    assert dag["state"] == "SUCCEED", log_text(dag)
    await cluster.reset()  # log lines of the frozen sshd appear now
    dag = await cluster.end_of(await cluster.start("SERVER", [cluster.names[0]]))
    assert dag["state"] == "SUCCEED", log_text(dag)
    assert [host.contacts for host in cluster.hosts[1:]] == contacts
    assert serving(cluster) == ALL


async def test_start_of_zone_stopped_by_sql_keeps_processes(
    cluster: HostCluster,
) -> None:
    before = pids(cluster)
    stopped = await cluster.end_of((await cluster.client.stop("ZONE", ["zone2"]))["id"])
    assert stopped["state"] == "SUCCEED", log_text(stopped)
    with open_ledger(cluster) as ledger:
        zones = "SELECT zone FROM DBA_OB_ZONES WHERE status = 'INACTIVE'"
        assert ledger.rows(zones) == [("zone2",)]
        dag = await cluster.end_of(await cluster.start("ZONE", ["zone2"]))
        assert dag["state"] == "SUCCEED", log_text(dag)
        assert ledger.rows(zones) == []
        assert ledger.statements()[-1] == "ALTER SYSTEM START ZONE 'zone2'"
    assert pids(cluster) == before


async def test_start_with_lost_zone_leaves_other_zones_in_service(
    cluster: HostCluster, add_row: AddRow
) -> None:
    lost_hosts, other_hosts = (
        zone(cluster, "zone2"),
        zone(cluster, "zone1") + zone(cluster, "zone3"),
    )
    await cluster.end_server(other_hosts[0])
    for host in lost_hosts:
        await cluster.end_server(host)
    lose(cluster, lost_hosts, PACKETS_DROPPED)
    lost_at = datetime.now(UTC)
    dag = await cluster.end_of(await cluster.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), log_text(dag)
    tasks = [sub_task(dag, CHECK, cluster.name(host)) for host in lost_hosts]
    assert all(
        host.ip in task["task_logs"][-1] for host, task in zip(lost_hosts, tasks, strict=True)
    )
    assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
    assert serving(cluster) == [host.number for host in other_hosts]
    last = max(tasks, key=ended_at)
    noticed_s = (ended_at(last) - lost_at).total_seconds()
    add_row(Row("oceanbase 3x3: a zone's hosts lost", noticed_s, last["task_logs"][-1]))

    await cluster.reset()
    retried = await cluster.retry(dag["id"])
    assert retried["state"] == "SUCCEED", log_text(retried)
    assert serving(cluster) == ALL
    await cluster.expect_nothing_left()


async def test_start_with_lost_majority_names_it_and_retry_recovers(
    cluster: HostCluster, add_row: AddRow
) -> None:
    for host in cluster.hosts:
        await cluster.end_server(host)
    lost_hosts = zone(cluster, "zone2") + zone(cluster, "zone3")
    lose(cluster, lost_hosts, LINK_DOWN)
    lost_at = datetime.now(UTC)
    dag = await cluster.end_of(await cluster.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), log_text(dag)
    (task,) = dag["nodes"][CLUSTER - 1]["sub_tasks"]
    last = task["task_logs"][-1]
    assert "a majority of the cluster does not respond: servers of 2 of its 3 zones" in last, last
    assert all(host.ip in last for host in lost_hosts), last
    assert serving(cluster) == []
    before = pids(cluster)
    noticed_s = (ended_at(task) - lost_at).total_seconds()
    add_row(Row("oceanbase 3x3: six of nine links down", noticed_s, last))

    await cluster.reset()
    retried = await cluster.retry(dag["id"])
    assert retried["state"] == "SUCCEED", log_text(retried)
    assert serving(cluster) == ALL
    assert pids(cluster)[:3] == before[:3]
    await cluster.expect_nothing_left()


async def test_start_with_host_lost_during_launch_launches_once(
    cluster: HostCluster, add_row: AddRow
) -> None:
    host = cluster.hosts[4]
    await cluster.end_server(host)
    launches_before, expected_pids = launches(host), pids(cluster)
    is_reached = held_launch(cluster, host)
    dag_id = await cluster.start()
    await until(is_reached, "the start script")
    lose(cluster, [host], PACKETS_DROPPED)
    lost_at = datetime.now(UTC)
    dag = await cluster.end_of(dag_id)
    assert (dag["state"], dag["stage"]) == ("FAILED", START), log_text(dag)
    task = sub_task(dag, START, cluster.name(host))
    assert host.ip in task["task_logs"][-1]
    assert serving(cluster) == [number for number in ALL if number != host.number]
    noticed_s = (ended_at(task) - lost_at).total_seconds()
    add_row(Row("oceanbase 3x3: packets dropped in stage 3", noticed_s, task["task_logs"][-1]))

    await cluster.reset()  # the lost script continues, and starts the server
    retried = await cluster.retry(dag_id)
    assert retried["state"] == "SUCCEED", log_text(retried)
    assert launches(host) - launches_before == 1, log_text(retried)
    expected_pids[4] = [server.pid for server in host.servers()]
    assert pids(cluster) == expected_pids
    assert serving(cluster) == ALL
    await cluster.expect_nothing_left()


async def test_cancel_during_launch_leaves_other_servers_unchanged(
    cluster: HostCluster,
) -> None:
    host = cluster.hosts[4]
    await cluster.end_server(host)
    before = pids(cluster)
    is_reached = held_launch(cluster, host)
    dag_id = await cluster.start()
    await until(is_reached, "the start script")
    await cluster.client.operate_dag(dag_id, "CANCEL")
    dag = await cluster.end_of(dag_id)
    assert (dag["state"], dag["operator"]) == ("FAILED", "CANCEL"), log_text(dag)
    for each in cluster.hosts:  # checked immediately: the end is confirmed
        assert each.other_processes() == [], each.ip
        assert not each.is_home_locked(), each.ip
    assert pids(cluster) == before
    assert await cluster.client.list_unfinished() == []

    await cluster.reset()
    next_dag = await cluster.end_of(await cluster.start())
    assert next_dag["state"] == "SUCCEED", log_text(next_dag)
    await cluster.expect_nothing_left()


async def test_rollback_nine_hosts_ends_only_servers_it_started(
    cluster: HostCluster,
) -> None:
    started, lost_host = cluster.hosts[1], cluster.hosts[8]
    for host in (started, lost_host):
        await cluster.end_server(host)
    lose(cluster, [lost_host], LINK_DOWN)
    before = pids(cluster)
    dag = await cluster.end_of(await cluster.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), log_text(dag)
    assert len(started.servers()) == 1

    await cluster.client.operate_dag(dag["id"], "ROLLBACK")
    rolled_back = await cluster.end_of(dag["id"])
    assert (rolled_back["state"], rolled_back["operator"]) == ("SUCCEED", "ROLLBACK"), log_text(
        rolled_back
    )
    assert pids(cluster) == before
    await cluster.reset()
    next_dag = await cluster.end_of(await cluster.start())
    assert next_dag["state"] == "SUCCEED", log_text(next_dag)
    assert serving(cluster) == ALL
