"""Other faults of one host: the log has the cause, the other servers start, RETRY completes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from tests.realhosts.fault_points import FAULT_POINTS, release
from tests.realhosts.host import Host
from tests.realhosts.host_cluster import Dag, HostCluster, log_text, sub_task, until
from tests.realhosts.installation import SQL_PORT
from tests.realhosts.report import Row, ended_at, idle_share, row_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

AddRow = Callable[[Row], None]
CHECK, START, HEALTH = 2, 3, 4
BY_NAME = {point.name: point for point in FAULT_POINTS}


def expect_failed(cluster: HostCluster, dag: Dag, stage: int, *words: str) -> Dag:
    """Check that the third server failed with these words, and that the others are in service."""
    assert (dag["state"], dag["stage"]) == ("FAILED", stage), log_text(dag)
    task = sub_task(dag, stage, cluster.names[2])
    for word in words:
        assert word in task["task_logs"][-1], log_text(dag)
    for name in cluster.names[:2]:
        assert sub_task(dag, HEALTH, name)["state"] == "SUCCEED"
        assert dag["additional_data"]["evidence"][name]["verified"]
    assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
    assert idle_share(dag, cluster.names[:2]) < 0.5
    return task


async def repair(cluster: HostCluster, dag: Dag) -> None:
    """Undo the fault and RETRY; check that all is well, and that nothing is left."""
    await cluster.reset()
    retried = await cluster.retry(dag["id"])
    assert retried["state"] == "SUCCEED", log_text(retried)
    await cluster.expect_nothing_left()


async def test_start_with_changed_host_key_is_refused_before_login(
    cluster: HostCluster, add_row: AddRow
) -> None:
    host = cluster.hosts[2]
    logins = host.sshd_log.count("Accepted publickey")
    host.signal_sshd(signal.SIGKILL)
    new_key = host.make_host_key()
    host.start_sshd()
    since = datetime.now(UTC)
    dag = await cluster.end_of(await cluster.start())
    task = expect_failed(cluster, dag, CHECK, host.ip, "host key", "known_hosts")
    assert host.sshd_log.count("Accepted publickey") == logins
    add_row(row_of("host key changed", since, task, dag, cluster.names[:2]))

    host.public_key = new_key  # the operator has verified the key, and corrected the file
    cluster.write()
    await repair(cluster, dag)


async def test_start_with_foreign_process_on_port_names_it(
    cluster: HostCluster, add_row: AddRow
) -> None:
    host = cluster.hosts[2]
    await cluster.end_server(host)
    foreign = listen_on_host(host, SQL_PORT)
    cluster.undo.callback(end_listener, host, foreign)
    await until(lambda: host.is_listening(SQL_PORT), "the foreign listener")
    since = datetime.now(UTC)
    dag = await cluster.end_of(await cluster.start())
    task = expect_failed(cluster, dag, CHECK, str(SQL_PORT), "taken")
    add_row(row_of("foreign process on the port", since, task, dag, cluster.names[:2]))
    assert foreign.poll() is None
    assert host.servers() == []
    await repair(cluster, dag)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda n: n.name)
async def test_start_server_death_during_health_wait_is_noticed(
    cluster: HostCluster, number: signal.Signals, add_row: AddRow
) -> None:
    host, fault_point = cluster.hosts[2], BY_NAME["in the middle of stage 4"]
    await cluster.end_server(host)
    wait_for_point = fault_point.prepare(cluster, host)
    dag_id = await cluster.start()
    await wait_for_point()
    (server,) = host.servers()
    died_at = datetime.now(UTC)
    host.signal([server], number)
    host.signal([server], signal.SIGCONT)  # a stopped process handles no other signal
    dag = await cluster.end_of(dag_id)
    task = expect_failed(cluster, dag, HEALTH, "is gone", f"pid {server.host_pid}")
    lines = await cluster.client.get_logs(task["id"])
    (noticed,) = [line for line in lines if "searching for the cause" in line["log_content"]]
    noticed_s = (datetime.fromisoformat(noticed["create_time"]) - died_at).total_seconds()
    event = f"{number.name} during the health wait"
    add_row(Row(event, noticed_s, noticed["log_content"]))
    add_row(row_of(f"{event}, cause reported", died_at, task, dag, cluster.names[:2]))
    await repair(cluster, dag)


@asynccontextmanager
async def home_of_size(cluster: HostCluster, host: Host, size: str) -> AsyncIterator[None]:
    """Use an empty file system of this size as the server's home within the block."""
    await cluster.end_server(host)
    host.mount_home(size=size)
    try:
        yield
    finally:
        await cluster.reset()
        await cluster.end_server(host)
        host.unmount_home()


async def repair_disk(cluster: HostCluster, host: Host, dag: Dag) -> None:
    """Enlarge the same file system, and RETRY."""
    host.resize_home("20g")
    retried = await cluster.retry(dag["id"])
    assert retried["state"] == "SUCCEED", log_text(retried)
    await cluster.expect_nothing_left()


async def test_start_disk_full_during_start_is_named_as_cause(
    cluster: HostCluster, add_row: AddRow
) -> None:
    host = cluster.hosts[2]
    async with home_of_size(cluster, host, "20g"):
        barrier = host.barrier("launch")
        cluster.undo.callback(barrier.open)
        dag_id = await cluster.start()
        await until(lambda: barrier.is_reached, "the launch")
        host.resize_home("40m")  # there was enough space at the check
        full_at = datetime.now(UTC)
        barrier.open()
        dag = await cluster.end_of(dag_id)
        task = expect_failed(cluster, dag, HEALTH, "disk is full", "free")
        add_row(row_of("disk fills up during the start", full_at, task, dag, cluster.names[:2]))
        await repair_disk(cluster, host, dag)
        assert any(name.startswith("failed-start-") for name in host.home_entries())


async def test_start_with_too_small_disk_is_reported_by_check(
    cluster: HostCluster, add_row: AddRow
) -> None:
    host = cluster.hosts[2]
    async with home_of_size(cluster, host, "200m"):
        since = datetime.now(UTC)
        dag = await cluster.end_of(await cluster.start())
        assert dag["state"] == "FAILED"
        check_log = "\n".join(sub_task(dag, CHECK, cluster.names[2])["task_logs"])
        assert "bytes are free" in check_log, log_text(dag)
        task = sub_task(dag, dag["stage"], cluster.names[2])
        add_row(row_of("disk too small", since, task, dag, cluster.names[:2]))
        await repair_disk(cluster, host, dag)


async def test_rollback_ends_only_servers_it_started(
    cluster: HostCluster,
) -> None:
    first, second, third = cluster.hosts
    await cluster.end_server(second)
    await cluster.end_server(third)
    (ran_before,) = first.servers()
    third.signal_sshd(signal.SIGKILL)
    cluster.undo.callback(third.start_sshd)
    dag = await cluster.end_of(await cluster.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK)
    assert [len(host.servers()) for host in cluster.hosts] == [1, 1, 0]

    await cluster.client.operate_dag(dag["id"], "ROLLBACK")
    rolled_back = await cluster.end_of(dag["id"])
    assert (rolled_back["state"], rolled_back["operator"]) == ("SUCCEED", "ROLLBACK"), log_text(
        rolled_back
    )
    assert first.servers() == [ran_before]
    assert second.servers() == []
    assert (
        "not started by this task"
        in sub_task(rolled_back, START, cluster.names[0])["task_logs"][-1]
    )
    assert [host.other_processes() for host in cluster.hosts] == [[], [], []]


async def test_rollback_with_lost_host_fails_until_host_returns(
    cluster: HostCluster, add_row: AddRow
) -> None:
    host, fault_point = cluster.hosts[2], BY_NAME["in the middle of stage 4"]
    await cluster.end_server(host)
    wait_for_point = fault_point.prepare(cluster, host)
    dag_id = await cluster.start()
    await wait_for_point()
    cluster.network.set_link(host.number, up=False)
    cluster.undo.callback(cluster.network.set_link, host.number, up=True)
    release(cluster)
    dag = await cluster.end_of(dag_id)
    assert (dag["state"], dag["stage"]) == ("FAILED", HEALTH)
    requested_at = datetime.now(UTC)
    await cluster.client.operate_dag(dag_id, "ROLLBACK")
    failed_rollback = await cluster.end_of(dag_id)
    assert (failed_rollback["state"], failed_rollback["operator"]) == ("FAILED", "ROLLBACK")
    task = sub_task(failed_rollback, START, cluster.names[2])
    assert host.ip in task["task_logs"][-1]
    assert task["task_logs"][-1].endswith("then ROLLBACK again")
    noticed_s = (ended_at(task) - requested_at).total_seconds()
    add_row(Row("ROLLBACK, link down", noticed_s, task["task_logs"][-1]))

    await cluster.reset()
    await cluster.client.operate_dag(dag_id, "ROLLBACK")
    rolled_back = await cluster.end_of(dag_id)
    assert (rolled_back["state"], rolled_back["operator"]) == ("SUCCEED", "ROLLBACK"), log_text(
        rolled_back
    )
    assert [len(each.servers()) for each in cluster.hosts] == [1, 1, 0]


def listen_on_host(host: Host, port: int) -> subprocess.Popen[bytes]:
    """Start a foreign program that listens on a port of the host."""
    listen = f"import socket; s = socket.create_server(('', {port})); s.accept()"
    namespaces = host.entering("--net", "--pid")
    return subprocess.Popen([*namespaces, sys.executable, "-I", "-c", listen])


def end_listener(host: Host, process: subprocess.Popen[bytes]) -> None:
    host.signal(host.other_processes(), signal.SIGKILL)
    process.wait()
