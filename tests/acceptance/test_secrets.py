"""No secret shows anywhere: one full run with troubles, and every place that could tell is read.

Every secret has a core that survives any quoting, so that a quoted or escaped one is found, too.
What is read: all that the controller logs, its whole store, every byte that it answers, what the
commands print, the SSH servers' logs, and every file that the run leaves on the hosts but for the
database's own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from dagengine.client import Client, signing
from dagengine.errors import ApiRefused
from dagengine.security.replay import KEYS_BYTES
from tasks.demo_cluster import DemoCluster
from tasks.demo_hosts import DemoHosts
from tests.acceptance.conftest import World, told, wait_dag
from tests.sshd import MISSING, PROGRAMS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

SECRETS = {
    "root password": "Gr'ün 芝麻 \"x\\ root-7f3a9c41",
    "agent password": "agent-58d0e2b7 'ß",
    "key passphrase": 'passphrase-c91e44a0 ü"',
    "wrong passphrase": "wrongphrase-2b6d77f3",
    "wrong password": "wrongword-90ab13de",
}
CORE = re.compile(r"[a-z]+-[0-9a-f]{8}")


class Wire:
    """What goes to the controller and comes back, recorded by a relay in between."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked = bytearray()
        self.answered = bytearray()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[str]:
        """Gives the URL to call."""
        relays: set[asyncio.Task[Any]] = set()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            relays.add(task)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            await asyncio.gather(
                self._copy(reader, far_writer, self.asked),
                self._copy(far_reader, writer, self.answered),
            )

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for task in relays:
                task.cancel()
            await asyncio.gather(*relays, return_exceptions=True)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray
    ) -> None:
        try:
            while data := await reader.read(65536):
                record += data
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


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


async def run_with_troubles(world: World, client: Client) -> None:
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
    await read_everything(client, dag)


async def read_everything(client: Client, dag: Mapping[str, Any]) -> None:
    await client.list_dags(details=True)
    await client.list_audit()
    await client.list_audit(dag["id"])
    await client.info()
    await client.status()
    for node in dag["nodes"]:
        for task in node["sub_tasks"]:
            await client.get_logs(task["id"])
            await client.list_attempts(task["id"])


async def call_wrongly(url: str) -> None:
    """Requests of every kind that is refused, each with a secret in it."""
    async with aiohttp.ClientSession() as session:
        for header in ("X-OCS-Header", "X-OCS-Agent-Header"):
            for value in (SECRETS["wrong password"], "bm90aGluZw==" * 1000):
                async with session.post(f"{url}/api/v1/ob/start", headers={header: value}) as r:
                    await r.read()
        async with session.get(f"{url}/api/v1/{SECRETS['wrong password']}") as response:
            await response.read()
    async with Client(url, SECRETS["wrong password"]) as client:
        with pytest.raises(ApiRefused):
            await client.start("GLOBAL")


async def say_all(world: World, dag_id: str) -> bytes:
    """What the commands print, with the right and with a wrong password."""
    said = b""
    for words, password in (
        (["show"], "root password"),
        (["list", "--json"], "root password"),
        (["audit", "--json"], "root password"),
        (["logs", dag_id], "root password"),
        (["list"], "wrong password"),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dagengine", *words),
            env=dict(world.cluster.environment) | {"DAGENGINE_PASSWORD": SECRETS[password]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        said += out
    return said


async def test_no_secret_shows_in_a_log_a_row_an_answer_or_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys: list[bytes] = []
    token_bytes = secrets.token_bytes

    def keep(size: int) -> bytes:
        made = token_bytes(size)
        if size == KEYS_BYTES:  # an idempotency key is made in the same way, and is no secret
            keys.append(made)
        return made

    monkeypatch.setattr(signing.secrets, "token_bytes", keep)
    async with DemoHosts(2) as hosts:
        world = World(hosts, DemoCluster(hosts, password=SECRETS["root password"]))
        make_troubled(world)
        wire = Wire(int(world.cluster.url.rpartition(":")[2]))
        await world.start_controller()
        try:
            async with wire.opened() as url:
                async with Client(url, world.cluster.password) as client:
                    await run_with_troubles(world, client)
                    dag_id = (await client.list_dags())[0]["id"]
                said = await say_all(world, dag_id)
                await call_wrongly(url)
        finally:
            await world.end_controller()
        places = {"the commands' output": said, "the answers": bytes(wire.answered)}
        places |= read_files(world)

    assert b"wrongword-90ab13de" in wire.asked  # the relay does see what is sent
    needles = needles_of(wire, keys)
    assert len(keys) > 20
    found = [
        (what, place)
        for place, content in places.items()
        for what, needle in needles
        if needle in content
    ]
    assert found == []


def needles_of(wire: Wire, keys: list[bytes]) -> list[tuple[str, bytes]]:
    """What must be found nowhere: passwords, and what a signed request is made of."""
    needles = []
    for name, secret in SECRETS.items():
        core = CORE.search(secret)
        assert core is not None
        needles.append((name, core[0].encode()))
        needles.append((f"{name}, encoded", base64.b64encode(secret.encode())[:-4]))
    for pair in keys:
        needles.append(("AES key", pair[:16]))
        needles.append(("AES key in hex", pair[:16].hex().encode()))
        needles.append(("AES keys, encoded", base64.b64encode(pair)))
    headers = set(re.findall(rb"X-OCS-(?:Agent-)?Header: *([A-Za-z0-9+/=]{40,})", wire.asked))
    assert len(headers) > 20
    needles += [("signed header", header[:40]) for header in headers if b"bm90" not in header]
    return needles


def read_files(world: World) -> dict[str, bytes]:
    """Every file of the run but those that hold the secrets and those of the database."""
    directory = world.cluster.directory
    secret_files = {"passphrase", "agent_password"}
    places = {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
        and file.name not in secret_files
        and not any(part == "seekdb" for part in file.relative_to(directory).parts)
    }
    (store,) = (file for file in directory.glob("var/*.sqlite"))
    connection = sqlite3.connect(store)
    places["the store's rows"] = "\n".join(connection.iterdump()).encode()
    connection.close()
    assert {"controller.log", "var/dagengine.sqlite", "host1/sshd.log"} <= places.keys()
    assert b"dag" in places["the store's rows"]
    return places
