"""No secret shows anywhere: full runs with troubles, and every place that could tell is read.

What is read, and for what, is in shown.py.
"""

from __future__ import annotations

import json
import secrets
import subprocess

import pytest

from dagengine.client import Client, signing
from dagengine.security.replay import KEYS_BYTES
from tasks.demo.cluster import DemoCluster
from tasks.demo.hosts import DemoHosts
from tests.acceptance.conftest import World, told, wait_dag
from tests.acceptance.obd_clusters import ObdSeekdb
from tests.acceptance.shown import (
    SECRETS,
    Wire,
    backup_controller,
    call_wrongly,
    find_shown,
    look_over,
    preview_and_stop,
    read_everything,
    say_all,
)
from tests.sshd import MISSING, PROGRAMS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


def make_troubled(world: World) -> None:
    """A locked key with the wrong passphrase, and a second server that cannot boot."""
    cluster = world.cluster
    key = cluster.server_entry(0)["ssh"]["key_file"]
    command = [str(PROGRAMS["ssh-keygen"]), "-q", "-p", "-P", "", "-N", SECRETS["key passphrase"]]
    subprocess.run([*command, "-f", key], check=True)
    for number in range(2):
        cluster.server_entry(number)["ssh"]["key_passphrase_file"] = "passphrase"
    (cluster.directory / "passphrase").write_text(SECRETS["wrong passphrase"])
    cluster.server_entry(1)["start_options"] = {"memory_limit": "2G", "log_disk_size": "1G"}
    cluster.write()
    engine = cluster.engine_file
    (cluster.directory / "agent_password").write_text(SECRETS["agent password"])
    engine.write_text(
        engine.read_text().replace("api:\n", "api:\n  agent_password_file: agent_password\n", 1)
    )


def mend(world: World, *, passphrase: bool = False, options: bool = False) -> None:
    if passphrase:
        file = world.cluster.directory / "passphrase"
        file.write_text(SECRETS["key passphrase"] + "\n")
    if options:
        del world.cluster.server_entry(1)["start_options"]
        world.cluster.write()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys of every call that is signed in this process from now on."""
    made: list[bytes] = []
    token_bytes = secrets.token_bytes

    def keep(size: int) -> bytes:
        new = token_bytes(size)
        if size == KEYS_BYTES:  # an idempotency key is made in the same way, and is no secret
            made.append(new)
        return new

    monkeypatch.setattr(signing.secrets, "token_bytes", keep)
    return made


async def run_with_troubles(world: World, client: Client, url: str) -> None:
    """Refused logins, a death, two RETRYs, a success; then everything that can be read."""
    dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
    assert dag["state"] == "FAILED"
    assert "the passphrase for the key file" in json.dumps(dag)
    mend(world, passphrase=True)
    await client.operate_dag(dag["id"], "RETRY", reason="the passphrase is mended")
    dag = await wait_dag(client, dag["id"])
    assert dag["state"] == "FAILED"
    assert "root had no password; set the configured one" in json.dumps(dag)
    mend(world, options=True)
    await client.operate_dag(dag["id"], "RETRY", reason="the options are mended")
    dag = await wait_dag(client, dag["id"])
    assert dag["state"] == "SUCCEED", told(dag)
    await read_everything(client, url, dag)


async def test_no_secret_shows_in_a_log_a_row_an_answer_or_a_file(keys: list[bytes]) -> None:
    async with DemoHosts(2) as hosts:
        world = World(hosts, DemoCluster(hosts, password=SECRETS["root password"]))
        make_troubled(world)
        wire = Wire(int(world.cluster.url.rpartition(":")[2]))
        said = await look_over(world)
        await world.start_controller()
        try:
            async with wire.opened() as url:
                async with Client(url, world.cluster.password) as client:
                    await run_with_troubles(world, client, url)
                    said += await look_over(world)
                    stopped = await preview_and_stop(client)
                    await read_everything(client, url, stopped)
                said += await say_all(world, stopped["id"]) + await backup_controller(world)
                await call_wrongly(url)
        finally:
            await world.end_controller()
        shown = find_shown(world, wire, keys, said, {"passphrase", "agent_password"})

    assert b"wrongword-90ab13de" in wire.asked  # the relay does see what is sent
    assert len(keys) > 20
    assert shown == []


async def test_no_secret_of_an_obd_file_shows_anywhere_but_in_it(keys: list[bytes]) -> None:
    async with DemoHosts(1) as hosts:
        cluster = ObdSeekdb(hosts, password=SECRETS["root password"])
        cluster.entries["user"]["password"] = SECRETS["obd's password of the user"]
        other = SECRETS["obd's password of another component"]
        cluster.entries["seekdb"]["global"]["proxyro_password"] = other
        cluster.entries["obproxy-ce"] = {"global": {"obproxy_sys_password": other}}
        cluster.write()
        (cluster.directory / ".ssh" / "known_hosts").unlink()
        world = World(hosts, cluster)
        wire = Wire(int(cluster.url.rpartition(":")[2]))
        said = await look_over(world)  # it pins the host's key, too
        await world.start_controller()
        try:
            async with wire.opened() as url:
                async with Client(url, cluster.password) as client:
                    dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
                    assert dag["state"] == "SUCCEED", told(dag)
                    await read_everything(client, url, dag)
                    said += await look_over(world)
                    await read_everything(client, url, await preview_and_stop(client))
                said += await say_all(world, dag["id"]) + await backup_controller(world)
                await call_wrongly(url)
        finally:
            await world.end_controller()
        shown = find_shown(world, wire, keys, said, {"cluster.yaml"})

    assert b"stands in this file in clear" in said
    assert shown == []
