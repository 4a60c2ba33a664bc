"""`dagengine doctor` with real SSH servers and real database servers."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tasks.demo.hosts import OPENSSH
from tests.acceptance.conftest import OpenTestbed, all_log_lines, only_owner, wait_dag
from tests.acceptance.doctor_command import doctor, find_entry

GOOD, BAD = "127.0.0.1:2886", "127.0.0.1:2887"

pytestmark = [pytest.mark.slow, only_owner]


async def test_doctor_valid_setup_is_healthy_before_and_after_start(
    open_testbed: OpenTestbed,
) -> None:
    async with open_testbed(2) as testbed:
        before = sorted(testbed.cluster.directory.rglob("*"))
        status, document = await doctor(testbed)
        assert (status, document["healthy"]) == (0, True), document
        assert sorted(testbed.cluster.directory.rglob("*")) == before
        for server in (GOOD, BAD):
            assert "a server does not run" in find_entry(document, server, "login")["said"]
            assert "version 1." in find_entry(document, server, "login")["said"]
            assert find_entry(document, server, "forwarding")["health"] == "ok"
        await testbed.start_controller()
        async with testbed.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
            assert dag["state"] == "SUCCEED", all_log_lines(dag)
            status, document = await doctor(testbed)
            assert (status, document["healthy"]) == (0, True), document
            store = str(testbed.cluster.directory / "var" / "dagengine.sqlite")
            assert "in use by the controller" in find_entry(document, store, "store")["said"]
            for server in (GOOD, BAD):
                assert find_entry(document, server, "sql")["health"] == "ok"
                assert "the server runs, pid" in find_entry(document, server, "login")["said"]
            assert await client.list_unfinished() == []


async def test_doctor_port_taken_fails_for_that_server_only(open_testbed: OpenTestbed) -> None:
    async with open_testbed(2) as testbed:
        with closing(socket.create_server(("127.0.0.1", testbed.cluster.servers[1].sql_port))):
            status, document = await doctor(testbed)
            assert (status, document["healthy"]) == (1, False)
            port = find_entry(document, BAD, "ports")
            assert port["health"] == "bad"
            assert "sql_port" in port["remedy"]
            assert find_entry(document, GOOD, "ports")["health"] == "ok"


async def test_doctor_unknown_host_key_or_closed_port_fails(open_testbed: OpenTestbed) -> None:
    async with open_testbed(2) as testbed:
        entry = testbed.cluster.server_entry(1)["ssh"]
        known = Path(entry["known_hosts"])
        empty_known_hosts = testbed.cluster.directory / "other_known_hosts"
        empty_known_hosts.write_text("")
        entry["known_hosts"] = str(empty_known_hosts)
        testbed.cluster.write()
        status, document = await doctor(testbed)
        assert status == 1
        assert find_entry(document, BAD, "host key")["health"] == "bad"
        entry["known_hosts"] = str(known)
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            entry["port"] = free.getsockname()[1]
        testbed.cluster.write()
        _, document = await doctor(testbed)
        assert find_entry(document, BAD, "reachable")["health"] == "bad"
        assert find_entry(document, GOOD, "login")["health"] == "ok"


async def test_doctor_sshd_without_tcp_forwarding_is_bad(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed:
        if testbed.hosts.kind != OPENSSH:
            pytest.skip("the SSH server for machines without sshd has no such setting")
        host = testbed.hosts.hosts[0]
        config = host.directory / "sshd_config"
        config.write_text(
            config.read_text().replace("AllowTcpForwarding yes", "AllowTcpForwarding no")
        )
        os.kill(host.pid, signal.SIGHUP)
        for _ in range(50):  # sshd executes itself again and opens new listening sockets
            _, document = await doctor(testbed)
            if any(e["check"] == "forwarding" for e in document["found"]):
                forwarding = find_entry(document, GOOD, "forwarding")
                if forwarding["health"] == "bad":
                    break
        assert "AllowTcpForwarding" in forwarding["remedy"]


async def test_doctor_warns_of_open_files_and_root_without_password(
    open_testbed: OpenTestbed,
) -> None:
    async with open_testbed(1) as testbed:
        key = testbed.hosts.hosts[0].key_file
        key.chmod(0o644)
        del testbed.cluster.entries["root_password_env"]
        testbed.cluster.entries["root_password"] = "none"
        testbed.cluster.write()
        status, document = await doctor(testbed)
        assert status == 0
        assert find_entry(document, str(key), "SSH key")["remedy"] == f"chmod 600 {key}"
        file = str(testbed.cluster.directory / "cluster.yaml")
        assert find_entry(document, file, "root password")["health"] == "warn"


async def test_doctor_names_empty_password_variable(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed:
        testbed.cluster.password = ""
        status, document = await doctor(testbed)
        assert (status, document["healthy"]) == (1, False)
        password = find_entry(document, "DAGENGINE_ROOT_PASSWORD", "root password")
        assert password["health"] == "bad"
        assert "DAGENGINE_ROOT_PASSWORD, which is empty" in password["said"]
        assert "`root_password: none`" in password["remedy"]


async def test_doctor_unusable_cluster_file_exits_2(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed:
        (testbed.cluster.directory / "cluster.yaml").write_text("name: x\n")
        status, document = await doctor(testbed)
        assert status == 2
        assert document["healthy"] is False
