"""Outputs of a run, and the secrets that none of them may contain.

Every secret has a core that survives any quoting, so that a quoted or escaped one is found, too.
What is read: all that the controller logs, its whole store and a backup of it, every byte that it
answers, what the commands print, the SSH servers' logs, and every file that the run leaves on the
hosts but for the database's own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dagengine.client import Client
from dagengine.errors import ApiRefused
from tests.acceptance.conftest import ClusterTestbed, wait_dag

SECRETS = {
    "root password": "Gr'ün 芝麻 \"x\\ root-7f3a9c41",
    "agent password": "agent-58d0e2b7 'ß",
    "key passphrase": 'passphrase-c91e44a0 ü"',
    "wrong passphrase": "wrongphrase-2b6d77f3",
    "wrong password": "wrongword-90ab13de",
    "obd's password of the user": "obduser-4e8c20f6 'ä",
    "obd's password of another component": "obdproxy-a7d15b39",
}
CORE = re.compile(r"[a-z]+-[0-9a-f]{8}")


class TrafficRecorder:
    """A relay that records the requests to the controller and its responses."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.sent_bytes = bytearray()
        self.received_bytes = bytearray()

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
                self._copy(reader, far_writer, self.sent_bytes),
                self._copy(far_reader, writer, self.received_bytes),
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


async def read_everything(client: Client, url: str, dag: Mapping[str, Any]) -> None:
    """Call every read route for a DAG and the controller."""
    await client.list_dags(details=True)
    await client.list_audit()
    await client.list_audit(dag["id"])
    await client.info()
    await client.status()
    for node in dag["nodes"]:
        for task in node["sub_tasks"]:
            await client.get_logs(task["id"])
            await client.list_attempts(task["id"])
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        assert b"dagengine_" in await response.read()


async def preview_and_stop(client: Client) -> Mapping[str, Any]:
    """Both dry runs, a stop that is refused, and one that ends every server."""
    await client.start("GLOBAL", dry_run=True)
    await client.stop("GLOBAL", terminate=True, dry_run=True)
    with pytest.raises(ApiRefused):
        await client.stop("GLOBAL")
    dag = await wait_dag(client, (await client.stop("GLOBAL", terminate=True))["id"])
    assert dag["state"] == "SUCCEED", json.dumps(dag)
    return dag


async def send_refused_requests(url: str) -> None:
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


async def run_command(
    testbed: ClusterTestbed, *argv: str, password: str = "root password"
) -> bytes:
    """Return the output of a command on stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dagengine", *argv),
        env=dict(testbed.cluster.environment) | {"DAGENGINE_PASSWORD": SECRETS[password]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out


async def run_client_commands(testbed: ClusterTestbed, dag_id: str) -> bytes:
    """Return the output of the client commands, with the right and a wrong password."""
    outputs = [
        await run_command(testbed, *argv)
        for argv in (
            ["show"],
            ["status", "--json"],
            ["show", dag_id],
            ["list", "--json"],
            ["audit", "--json"],
            ["attempts", dag_id],
            ["logs", dag_id],
            ["start", "--dry-run"],
            ["stop", "--force", "--dry-run"],
        )
    ]
    return b"".join([*outputs, await run_command(testbed, "list", password="wrong password")])


async def run_file_commands(testbed: ClusterTestbed) -> bytes:
    """Return the output of the commands that read files: `doctor`, `hosts trust`."""
    config = ("-c", str(testbed.cluster.engine_file))
    outputs = [
        await run_command(testbed, "doctor", *config),
        await run_command(testbed, "doctor", "--all", *config),
        await run_command(testbed, "doctor", "--json", *config),
        await run_command(testbed, "hosts", "trust", "--yes", *config),
        await run_command(testbed, "hosts", "trust", "--json", "--yes", *config),
    ]
    assert all(outputs)
    return b"".join(outputs)


async def backup_controller(testbed: ClusterTestbed) -> bytes:
    """Make a backup beside the store; return the output of the command."""
    file = testbed.cluster.directory / "backup.sqlite"
    outputs = await run_command(
        testbed, "backup", str(file), "-c", str(testbed.cluster.engine_file)
    )
    assert file.exists(), outputs
    return outputs


def find_leaks(
    testbed: ClusterTestbed,
    recorder: TrafficRecorder,
    keys: list[bytes],
    outputs: bytes,
    secret_files: set[str],
) -> list[tuple[str, str]]:
    """Return (secret, place) of each leak.

    Args:
        testbed: of a completed run.
        wire: all calls went over.
        keys: of the calls that were signed in this process.
        outputs: what commands have printed.
        secret_files: names of files that are there to hold secrets.
    """
    places = {"the commands' output": outputs, "the answers": bytes(recorder.received_bytes)}
    places |= _read_files(testbed.cluster.directory, secret_files)
    needles = _needles_of(recorder, keys)
    return [
        (what, place)
        for place, content in places.items()
        for what, needle in needles
        if needle in content
    ]


def _needles_of(recorder: TrafficRecorder, keys: list[bytes]) -> list[tuple[str, bytes]]:
    """All secrets: passwords, and the parts of a signed request."""
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
    headers = set(
        re.findall(rb"X-OCS-(?:Agent-)?Header: *([A-Za-z0-9+/=]{40,})", recorder.sent_bytes)
    )
    assert len(headers) > 20
    needles += [("signed header", header[:40]) for header in headers if b"bm90" not in header]
    return needles


def _read_files(directory: Path, secret_files: set[str]) -> dict[str, bytes]:
    """Return all files of the run except those of secrets and of the database."""
    places = {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
        and file.name not in secret_files
        and not any(part == "seekdb" for part in file.relative_to(directory).parts)
    }
    for store in ("var/dagengine.sqlite", "backup.sqlite"):
        with closing(sqlite3.connect(directory / store)) as connection:
            rows = "\n".join(connection.iterdump()).encode()
        assert b"dag" in rows
        places[f"the rows of {store}"] = rows
    assert {"controller.log", "var/dagengine.sqlite", "host1/sshd.log"} <= places.keys()
    return places
