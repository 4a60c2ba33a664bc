"""A real cluster with one controller, or with a second one that forwards all requests to it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from obshell import ClientSet
from obshell.auth import PasswordAuth

from dagengine.client import Client
from dagengine.store.mysql.migrate import migrate_store
from dagengine.store.mysql.settings import parse_store_url
from dagengine.testing import eventually
from tasks.demo.cluster import DemoCluster, read_ready_line
from tasks.demo.fleet import DemoStore, is_owner
from tasks.demo.hosts import LOOPBACK, DemoHosts, free_port

GATED = Path(__file__).with_name("gated_controller.py")
FORWARDING = Path(__file__).with_name("forwarding_controller.py")
_NOT_OWNER = 503


class ClusterTestbed:
    """Hosts, a cluster on them, and at most one controller at a time."""

    def __init__(self, hosts: DemoHosts, cluster: DemoCluster) -> None:
        self.hosts = hosts
        self.cluster = cluster
        self.first: Any = None  #: the DAG that brought the cluster up, where a module shares one
        self._controller: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        """Return everything that the controllers of this testbed wrote to stderr."""
        return self.cluster.directory / "controller.log"

    @property
    def pid(self) -> int:
        assert self._controller is not None
        return self._controller.pid

    async def start_controller(self, **hold: str) -> None:
        """Run a controller; with arguments, one that can be held (see gated_controller.py)."""
        program = (str(GATED), json.dumps(hold)) if hold else ("-m", "dagengine", "serve")
        with self.log.open("ab") as log:
            self._controller = await self.cluster.start_controller(log, program=program)
        self.hosts.guard.watch_process(self._controller.pid)

    async def end_controller(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        assert self._controller is not None
        controller, self._controller = self._controller, None
        controller.send_signal(number)
        async with asyncio.timeout(30):
            return await controller.wait()

    async def check(self) -> None:
        """Check the controllers at the end of a test."""

    async def close(self) -> None:
        if self._controller is not None:
            await self.end_controller(signal.SIGKILL)

    def client(self) -> Client:
        """This project's client."""
        return Client(self.cluster.url, self.cluster.password)

    def sdk(self, password: str | None = None) -> Any:
        """The official client's v1 API. Its calls block: use `asyncio.to_thread`."""
        host, _, port = self.cluster.url.removeprefix("http://").rpartition(":")
        auth = PasswordAuth(self.cluster.password if password is None else password)
        return ClientSet(host, int(port), auth).v1

    def server_pids(self) -> list[int]:
        """Return the servers that run in the homes, determined without the product."""
        homes = {server.home for server in self.cluster.servers}
        pids = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                argv = (directory / "cmdline").read_bytes().split(b"\0")
                home = Path(argv[argv.index(b"--base-dir") + 1].decode())
                is_daemon = (directory / "cwd").resolve() in homes and argv[0].endswith(b"seekdb")
            except (OSError, ValueError, IndexError):
                continue
            if home in homes and is_daemon:
                pids.append(int(directory.name))
        return sorted(pids)


class ForwardingTestbed(ClusterTestbed):
    """A testbed whose clients have the address of a controller that does not own the cluster.

    The owner is the controller that `start_controller` starts and `end_controller` ends. The other
    one is never the owner; it runs until the end.
    """

    def __init__(self, hosts: DemoHosts, cluster: DemoCluster) -> None:
        super().__init__(hosts, cluster)
        self._store = DemoStore(hosts)
        self._owner_url = f"http://{LOOPBACK}:{free_port()}"
        self._front: asyncio.subprocess.Process | None = None

    async def start_controller(self, **hold: str) -> None:
        if not self._store.home.exists():
            await self._store.start()
            place = self._store.url, self._store.password_file
            await migrate_store(parse_store_url(place[0], password_file=place[1]))
        if self._front is None:
            self._front = await self._run("front", self.cluster.url, (str(FORWARDING),))
        program = (str(GATED), json.dumps(hold)) if hold else ("-m", "dagengine", "serve")
        self._controller = await self._run("owner", self._owner_url, program)

        async def is_taken() -> bool:
            return await is_owner(self._owner_url)

        await eventually(is_taken, timeout_s=30, what="the take-over by the controller")

    async def end_controller(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Also end the other controller, unless the owner is killed: it has the same settings."""
        if number is signal.SIGTERM and self._front is not None:
            front, self._front = self._front, None
            front.terminate()
            await front.wait()
        return await super().end_controller(number)

    async def check(self) -> None:
        """Check that the controller that the clients called did not own the cluster."""
        if self._front is None:
            return
        assert self._front.returncode is None
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.cluster.url}/owner") as response,
        ):
            assert response.status == _NOT_OWNER

    async def close(self) -> None:
        await super().close()
        if self._front is not None:
            self._front.kill()
            await self._front.wait()

    async def _run(
        self, name: str, url: str, program: tuple[str, ...]
    ) -> asyncio.subprocess.Process:
        file = self.cluster.directory / f"{name}.yaml"
        address = self.cluster.url.removeprefix("http://")
        api = {
            "host": LOOPBACK,
            "port": int(url.rpartition(":")[2]),
            "advertise": address,
            "socket": str(file.with_suffix(".sock")),
            "key_file": "service.key.pem",
        }
        store = {"url": self._store.url, "password_file": str(self._store.password_file)}
        file.write_text(yaml.safe_dump({"api": api, "store": store, "cluster": "cluster.yaml"}))
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *program, "-c", str(file)),
                env=self.cluster.environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self.hosts.guard.watch_process(process.pid)
        await read_ready_line(process, self.log)
        return process
