"""`dagengine doctor` with real SSH servers and real database servers."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tasks.demo.hosts import OPENSSH
from tests.acceptance.conftest import WorldOf, told, wait_dag
from tests.acceptance.doctor import doctor, found

GOOD, BAD = "127.0.0.1:2886", "127.0.0.1:2887"

pytestmark = pytest.mark.slow


async def test_a_sound_set_up_is_told_so_before_and_while_it_runs(world_of: WorldOf) -> None:
    async with world_of(2) as world:
        before = sorted(world.cluster.directory.rglob("*"))
        status, document = await doctor(world)
        assert (status, document["healthy"]) == (0, True), document
        assert sorted(world.cluster.directory.rglob("*")) == before
        for server in (GOOD, BAD):
            assert "a server does not run" in found(document, server, "login")["said"]
            assert "version 1." in found(document, server, "login")["said"]
            assert found(document, server, "forwarding")["health"] == "ok"
        await world.start_controller()
        async with world.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
            assert dag["state"] == "SUCCEED", told(dag)
            status, document = await doctor(world)
            assert (status, document["healthy"]) == (0, True), document
            store = str(world.cluster.directory / "var" / "dagengine.sqlite")
            assert "in use by the controller" in found(document, store, "store")["said"]
            for server in (GOOD, BAD):
                assert found(document, server, "sql")["health"] == "ok"
                assert "the server runs, pid" in found(document, server, "login")["said"]
            assert await client.list_unfinished() == []


async def test_what_is_wrong_on_one_host_is_told_and_the_others_too(world_of: WorldOf) -> None:
    async with world_of(2) as world:
        with closing(socket.create_server(("127.0.0.1", world.cluster.servers[1].sql_port))):
            status, document = await doctor(world)
            assert (status, document["healthy"]) == (1, False)
            port = found(document, BAD, "ports")
            assert port["health"] == "bad"
            assert "sql_port" in port["remedy"]
            assert found(document, GOOD, "ports")["health"] == "ok"


async def test_a_host_that_cannot_be_reached_or_trusted_is_told(world_of: WorldOf) -> None:
    async with world_of(2) as world:
        entry = world.cluster.server_entry(1)["ssh"]
        known = Path(entry["known_hosts"])
        other = world.cluster.directory / "other_known_hosts"
        other.write_text("")
        entry["known_hosts"] = str(other)
        world.cluster.write()
        status, document = await doctor(world)
        assert status == 1
        assert found(document, BAD, "host key")["health"] == "bad"
        entry["known_hosts"] = str(known)
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            entry["port"] = free.getsockname()[1]
        world.cluster.write()
        _, document = await doctor(world)
        assert found(document, BAD, "reachable")["health"] == "bad"
        assert found(document, GOOD, "login")["health"] == "ok"


async def test_an_sshd_that_forwards_nothing_is_told(world_of: WorldOf) -> None:
    async with world_of(1) as world:
        if world.hosts.kind != OPENSSH:
            pytest.skip("the SSH server for machines without sshd has no such setting")
        host = world.hosts.hosts[0]
        config = host.directory / "sshd_config"
        config.write_text(
            config.read_text().replace("AllowTcpForwarding yes", "AllowTcpForwarding no")
        )
        os.kill(host.pid, signal.SIGHUP)
        for _ in range(50):  # sshd executes itself again, and listens anew
            _, document = await doctor(world)
            if any(e["check"] == "forwarding" for e in document["found"]):
                forwarding = found(document, GOOD, "forwarding")
                if forwarding["health"] == "warn":
                    break
        assert "AllowTcpForwarding" in forwarding["remedy"]


async def test_doctor_warns_of_open_files_and_root_without_password(
    world_of: WorldOf,
) -> None:
    async with world_of(1) as world:
        key = world.hosts.hosts[0].key_file
        key.chmod(0o644)
        del world.cluster.entries["root_password_env"]
        world.cluster.entries["root_password"] = "none"
        world.cluster.write()
        status, document = await doctor(world)
        assert status == 0
        assert found(document, str(key), "SSH key")["remedy"] == f"chmod 600 {key}"
        file = str(world.cluster.directory / "cluster.yaml")
        assert found(document, file, "root password")["health"] == "warn"


async def test_doctor_names_empty_password_variable(world_of: WorldOf) -> None:
    async with world_of(1) as world:
        world.cluster.password = ""
        status, document = await doctor(world)
        assert (status, document["healthy"]) == (1, False)
        password = found(document, "DAGENGINE_ROOT_PASSWORD", "root password")
        assert password["health"] == "bad"
        assert "DAGENGINE_ROOT_PASSWORD, which is empty" in password["said"]
        assert "`root_password: none`" in password["remedy"]


async def test_an_unusable_cluster_file_is_wrong_configuration(world_of: WorldOf) -> None:
    async with world_of(1) as world:
        (world.cluster.directory / "cluster.yaml").write_text("name: x\n")
        status, document = await doctor(world)
        assert status == 2
        assert document["healthy"] is False
