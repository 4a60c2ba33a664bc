"""One server cannot start: the other one does, the cause is logged, and RETRY starts it alone."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.conftest import (
    ClusterTestbed,
    OpenTestbed,
    all_log_lines,
    sub_tasks,
    wait_dag,
)

GOOD, BAD = "127.0.0.1:2886", "127.0.0.1:2887"

Fix = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """A fault of a server, and the expected failure."""

    name: str
    cause: Callable[[ClusterTestbed], Fix]
    stage: int
    expected_words: tuple[str, ...]
    errcode: int | None = None


def small_log_disk(testbed: ClusterTestbed) -> Fix:
    options = testbed.cluster.server_entry(1).setdefault("start_options", {})
    options["log_disk_size"] = "1G"
    testbed.cluster.write()

    def fix() -> None:
        options["log_disk_size"] = "2G"
        testbed.cluster.write()

    return fix


def port_taken(testbed: ClusterTestbed) -> Fix:
    taken = socket.create_server(("127.0.0.1", testbed.cluster.servers[1].sql_port))
    return lambda: closing(taken).__exit__(None, None, None)


def home_missing(testbed: ClusterTestbed) -> Fix:
    home = testbed.cluster.servers[1].home
    aside = home.with_name("aside")
    home.rename(aside)
    return lambda: shutil.move(aside, home)


def host_down(testbed: ClusterTestbed) -> Fix:
    entry = testbed.cluster.server_entry(1)["ssh"]
    port = entry["port"]
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        entry["port"] = free.getsockname()[1]
    # The address is as well known as the real one: only the connection fails.
    testbed.cluster.write()

    def fix() -> None:
        entry["port"] = port
        testbed.cluster.write()

    return fix


def host_frozen(testbed: ClusterTestbed) -> Fix:
    pid = testbed.cluster.servers[1].host.pid
    os.kill(pid, signal.SIGSTOP)
    testbed.cluster.server_entry(1)["ssh"]["connect_timeout_s"] = 3
    testbed.cluster.write()
    return lambda: os.kill(pid, signal.SIGCONT)


def wrong_host_key(testbed: ClusterTestbed) -> Fix:
    entry = testbed.cluster.server_entry(1)["ssh"]
    known_hosts_file = Path(entry["known_hosts"])
    other_known_hosts_file = testbed.cluster.directory / "other_known_hosts"
    keys = dict(line.split(" ", 1) for line in known_hosts_file.read_text().splitlines())
    key_of_first = keys[f"[127.0.0.1]:{testbed.cluster.servers[0].host.port}"]
    other_known_hosts_file.write_text(f"[127.0.0.1]:{entry['port']} {key_of_first}\n")
    entry["known_hosts"] = str(other_known_hosts_file)
    testbed.cluster.write()

    def fix() -> None:
        entry["known_hosts"] = str(known_hosts_file)
        testbed.cluster.write()

    return fix


def wrong_user(testbed: ClusterTestbed) -> Fix:
    entry = testbed.cluster.server_entry(1)["ssh"]
    user = entry["user"]
    entry["user"] = "unknown-user"
    testbed.cluster.write()

    def fix() -> None:
        entry["user"] = user
        testbed.cluster.write()

    return fix


FAULTS = [
    Fault("bad option", small_log_disk, 4, ("log_disk_size", "too small", "RETRY"), -4736),
    Fault("port taken", port_taken, 2, ("port", "taken", "sql_port")),
    Fault("home missing", home_missing, 2, ("home", "does not exist", "cluster file")),
    Fault("host down", host_down, 2, ("127.0.0.1:",)),
    Fault("host frozen", host_frozen, 2, ("127.0.0.1:",)),
    Fault("wrong host key", wrong_host_key, 2, ("key", "known_hosts")),
    Fault("wrong user", wrong_user, 2, ("unknown-user",)),
]

# The quick suite has one fault of the server and one of the host; each takes about ten seconds.
QUICK_FAULTS = {"bad option", "host down"}
FAULT_CASES = [
    pytest.param(
        fault, id=fault.name, marks=[] if fault.name in QUICK_FAULTS else [pytest.mark.slow]
    )
    for fault in FAULTS
]


@pytest.mark.parametrize("fault", FAULT_CASES)
async def test_start_one_broken_server_fails_alone_and_is_retried(
    open_testbed: OpenTestbed, fault: Fault
) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        fix = fault.cause(testbed)
        await testbed.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])

        assert (dag["state"], dag["operator"]) == ("FAILED", "RUN")
        first_failed = next(
            n for n, node in enumerate(dag["nodes"], 1) if node["state"] == "FAILED"
        )
        assert (first_failed, dag["stage"]) == (fault.stage, fault.stage)
        failed = sub_tasks(dag, fault.stage)
        assert (failed[GOOD]["state"], failed[BAD]["state"]) == ("SUCCEED", "FAILED")
        for word in fault.expected_words:
            assert word in failed[BAD]["task_logs"][-1], all_log_lines(dag)
        assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
        assert dag["additional_data"]["evidence"][GOOD]["level"] == "sql"
        bad_evidence = dag["additional_data"]["evidence"].get(BAD, {})
        if "its log does not say" not in bad_evidence.get(
            "cause", ""
        ):  # seekdb loses its last lines
            assert bad_evidence.get("errcode") == fault.errcode, bad_evidence
        (good_pid,) = testbed.server_pids()

        fix()
        await client.operate_dag(dag["id"], "RETRY")
        retried = await wait_dag(client, dag["id"])
        assert retried["state"] == "SUCCEED", retried["nodes"][fault.stage - 1]
        for stage in (2, 3, 4):
            assert sub_tasks(retried, stage)[GOOD] == sub_tasks(dag, stage)[GOOD]
        assert good_pid in testbed.server_pids()
        assert len(testbed.server_pids()) == 2


async def test_start_wrong_root_password_is_named_in_log(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed:
        await testbed.start_controller()
        async with testbed.client() as client:
            assert (await wait_dag(client, (await client.start("GLOBAL"))["id"]))["state"] == (
                "SUCCEED"
            )
        await testbed.end_controller()
        testbed.cluster.password = "another"
        await testbed.start_controller()
        async with testbed.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
            assert (dag["state"], dag["stage"]) == ("FAILED", 4)
            (task,) = sub_tasks(dag, 4).values()
            assert "refuses the configured password" in task["task_logs"][-1]
            await client.operate_dag(dag["id"], "PASS")
            passed = await client.get_dag(dag["id"])
            assert (passed["state"], passed["operator"], passed["stage"]) == ("SUCCEED", "PASS", 4)
