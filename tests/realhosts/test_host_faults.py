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
BY_NAME = {moment.name: moment for moment in FAULT_POINTS}


def expect_failed(world: HostCluster, dag: Dag, stage: int, *words: str) -> Dag:
    """Check that the third server failed with these words, and that the others are in service."""
    assert (dag["state"], dag["stage"]) == ("FAILED", stage), log_text(dag)
    task = sub_task(dag, stage, world.names[2])
    for word in words:
        assert word in task["task_logs"][-1], log_text(dag)
    for name in world.names[:2]:
        assert sub_task(dag, HEALTH, name)["state"] == "SUCCEED"
        assert dag["additional_data"]["evidence"][name]["verified"]
    assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
    assert idle_share(dag, world.names[:2]) < 0.5
    return task


async def repair(world: HostCluster, dag: Dag) -> None:
    """Undo the fault and RETRY; check that all is well, and that nothing is left."""
    await world.reset()
    retried = await world.retry(dag["id"])
    assert retried["state"] == "SUCCEED", log_text(retried)
    await world.expect_nothing_left()


async def test_start_with_changed_host_key_is_refused_before_login(
    world: HostCluster, add_row: AddRow
) -> None:
    host = world.hosts[2]
    logins = host.sshd_log.count("Accepted publickey")
    host.signal_sshd(signal.SIGKILL)
    new_key = host.make_host_key()
    host.start_sshd()
    since = datetime.now(UTC)
    dag = await world.end_of(await world.start())
    task = expect_failed(world, dag, CHECK, host.ip, "host key", "known_hosts")
    assert host.sshd_log.count("Accepted publickey") == logins
    add_row(row_of("host key changed", since, task, dag, world.names[:2]))

    host.public_key = new_key  # the operator has verified the key, and corrected the file
    world.write()
    await repair(world, dag)


async def test_start_with_foreign_process_on_port_names_it(
    world: HostCluster, add_row: AddRow
) -> None:
    host = world.hosts[2]
    await world.end_server(host)
    foreign = listen_there(host, SQL_PORT)
    world.undo.callback(end_there, host, foreign)
    await until(lambda: host.is_listening(SQL_PORT), "the foreign listener")
    since = datetime.now(UTC)
    dag = await world.end_of(await world.start())
    task = expect_failed(world, dag, CHECK, str(SQL_PORT), "taken")
    add_row(row_of("foreign process on the port", since, task, dag, world.names[:2]))
    assert foreign.poll() is None
    assert host.servers() == []
    await repair(world, dag)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda n: n.name)
async def test_start_server_death_during_health_wait_is_noticed(
    world: HostCluster, number: signal.Signals, add_row: AddRow
) -> None:
    host, moment = world.hosts[2], BY_NAME["in the middle of stage 4"]
    await world.end_server(host)
    wait_for_point = moment.prepare(world, host)
    dag_id = await world.start()
    await wait_for_point()
    (server,) = host.servers()
    died_at = datetime.now(UTC)
    host.signal([server], number)
    host.signal([server], signal.SIGCONT)  # a stopped process handles no other signal
    dag = await world.end_of(dag_id)
    task = expect_failed(world, dag, HEALTH, "is gone", f"pid {server.pid_there}")
    lines = await world.client.get_logs(task["id"])
    (noticed,) = [line for line in lines if "looking for the cause" in line["log_content"]]
    noticed_s = (datetime.fromisoformat(noticed["create_time"]) - died_at).total_seconds()
    what = f"{number.name} during the health wait"
    add_row(Row(what, noticed_s, noticed["log_content"]))
    add_row(row_of(f"{what}, cause told", died_at, task, dag, world.names[:2]))
    await repair(world, dag)


@asynccontextmanager
async def home_of_size(world: HostCluster, host: Host, size: str) -> AsyncIterator[None]:
    """Use an empty file system of this size as the server's home within the block."""
    await world.end_server(host)
    host.mount_home(size=size)
    try:
        yield
    finally:
        await world.reset()
        await world.end_server(host)
        host.unmount_home()


async def repair_disk(world: HostCluster, host: Host, dag: Dag) -> None:
    """Enlarge the same file system, and RETRY."""
    host.resize_home("20g")
    retried = await world.retry(dag["id"])
    assert retried["state"] == "SUCCEED", log_text(retried)
    await world.expect_nothing_left()


async def test_start_disk_full_during_start_is_named_as_cause(
    world: HostCluster, add_row: AddRow
) -> None:
    host = world.hosts[2]
    async with home_of_size(world, host, "20g"):
        barrier = host.barrier("launch")
        world.undo.callback(barrier.open)
        dag_id = await world.start()
        await until(lambda: barrier.is_reached, "the launch")
        host.resize_home("40m")  # there was enough space at the check
        full_at = datetime.now(UTC)
        barrier.open()
        dag = await world.end_of(dag_id)
        task = expect_failed(world, dag, HEALTH, "disk is full", "free")
        add_row(row_of("disk fills up during the start", full_at, task, dag, world.names[:2]))
        await repair_disk(world, host, dag)
        assert any(name.startswith("failed-start-") for name in host.home_entries())


async def test_start_with_too_small_disk_is_reported_by_check(
    world: HostCluster, add_row: AddRow
) -> None:
    host = world.hosts[2]
    async with home_of_size(world, host, "200m"):
        since = datetime.now(UTC)
        dag = await world.end_of(await world.start())
        assert dag["state"] == "FAILED"
        check_log = "\n".join(sub_task(dag, CHECK, world.names[2])["task_logs"])
        assert "bytes are free" in check_log, log_text(dag)
        task = sub_task(dag, dag["stage"], world.names[2])
        add_row(row_of("disk too small", since, task, dag, world.names[:2]))
        await repair_disk(world, host, dag)


async def test_rollback_ends_only_servers_it_started(
    world: HostCluster,
) -> None:
    first, second, third = world.hosts
    await world.end_server(second)
    await world.end_server(third)
    (ran_before,) = first.servers()
    third.signal_sshd(signal.SIGKILL)
    world.undo.callback(third.start_sshd)
    dag = await world.end_of(await world.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK)
    assert [len(host.servers()) for host in world.hosts] == [1, 1, 0]

    await world.client.operate_dag(dag["id"], "ROLLBACK")
    rolled_back = await world.end_of(dag["id"])
    assert (rolled_back["state"], rolled_back["operator"]) == ("SUCCEED", "ROLLBACK"), log_text(
        rolled_back
    )
    assert first.servers() == [ran_before]
    assert second.servers() == []
    assert (
        "not started by this task" in sub_task(rolled_back, START, world.names[0])["task_logs"][-1]
    )
    assert [host.other_processes() for host in world.hosts] == [[], [], []]


async def test_rollback_with_lost_host_fails_until_host_returns(
    world: HostCluster, add_row: AddRow
) -> None:
    host, moment = world.hosts[2], BY_NAME["in the middle of stage 4"]
    await world.end_server(host)
    wait_for_point = moment.prepare(world, host)
    dag_id = await world.start()
    await wait_for_point()
    world.network.set_link(host.number, up=False)
    world.undo.callback(world.network.set_link, host.number, up=True)
    release(world)
    dag = await world.end_of(dag_id)
    assert (dag["state"], dag["stage"]) == ("FAILED", HEALTH)
    asked_at = datetime.now(UTC)
    await world.client.operate_dag(dag_id, "ROLLBACK")
    stuck = await world.end_of(dag_id)
    assert (stuck["state"], stuck["operator"]) == ("FAILED", "ROLLBACK")
    task = sub_task(stuck, START, world.names[2])
    assert host.ip in task["task_logs"][-1]
    assert task["task_logs"][-1].endswith("then ROLLBACK again")
    noticed_s = (ended_at(task) - asked_at).total_seconds()
    add_row(Row("ROLLBACK, link down", noticed_s, task["task_logs"][-1]))

    await world.reset()
    await world.client.operate_dag(dag_id, "ROLLBACK")
    rolled_back = await world.end_of(dag_id)
    assert (rolled_back["state"], rolled_back["operator"]) == ("SUCCEED", "ROLLBACK"), log_text(
        rolled_back
    )
    assert [len(each.servers()) for each in world.hosts] == [1, 1, 0]


def listen_there(host: Host, port: int) -> subprocess.Popen[bytes]:
    """Start a foreign program that listens on a port of the host."""
    listen = f"import socket; s = socket.create_server(('', {port})); s.accept()"
    namespaces = host.entering("--net", "--pid")
    return subprocess.Popen([*namespaces, sys.executable, "-I", "-c", listen])


def end_there(host: Host, process: subprocess.Popen[bytes]) -> None:
    host.signal(host.other_processes(), signal.SIGKILL)
    process.wait()
