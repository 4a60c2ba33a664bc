"""A small service on loopback: controllers, the seekdb server that is their store, and clusters."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dagengine.errors import ConfigError, DagengineError
from dagengine.extension import parse_host_port
from dagengine.mysql import MysqlError, open_connection, quote_text
from tasks.demo import messages
from tasks.demo.cluster import (
    PASSWORD_VARIABLE,
    DemoServer,
    describe_server,
    find_seekdb,
    make_server,
    read_ready_line,
)
from tasks.demo.hosts import LOOPBACK, DemoHosts, free_port

DATABASE = "dagengine"
_STORE_SIZES = {"memory_limit": "1G", "datafile_size": "2G", "log_disk_size": "2G"}
_STORE_BOUND_S = 120.0
_POLL_S = 0.2
_SERVER_OPTIONS = {"memory_limit": "2G", "log_disk_size": "2G"}


@dataclass(frozen=True, slots=True)
class FleetCluster:
    """A cluster of the service.

    Attributes:
        name: its name.
        file: its cluster file, which all controllers read.
        address: the address in its ids.
        servers: its servers.
    """

    name: str
    file: Path
    address: str
    servers: Sequence[DemoServer]


class FleetController:
    """One controller of the service, and its files.

    Attributes:
        name: for people.
        urls: URL of each cluster's listener, by the cluster's name.
        process: the running process; None before `start`.
    """

    def __init__(self, directory: Path, name: str, clusters: Sequence[FleetCluster]) -> None:
        self.name = name
        self.urls = {each.name: f"http://{LOOPBACK}:{free_port()}" for each in clusters}
        self.process: asyncio.subprocess.Process | None = None
        self.log = directory / f"{name}.log"
        self.engine_file = directory / f"{name}.yaml"
        self.service_socket = directory / f"{name}.sock"

    def describe(self, clusters: Sequence[FleetCluster], store: DemoStore) -> dict[str, Any]:
        """Return the content of the engine file."""
        return {
            "api": {"host": LOOPBACK, "key_file": "service.key.pem"},
            "service": {"socket": str(self.service_socket)},
            "store": {"url": store.url, "password_file": str(store.password_file)},
            "clusters": {
                each.name: {
                    "file": each.file.name,
                    "port": parse_host_port(self.urls[each.name].removeprefix("http://"))[1],
                    "advertise": each.address,
                    "socket": str(self.engine_file.with_name(f"{self.name}.{each.name}.sock")),
                }
                for each in clusters
            },
        }

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process is not None and self.process.returncode is None


class DemoStore:
    """One seekdb server as the shared store of the controllers."""

    def __init__(self, hosts: DemoHosts) -> None:
        self.home = hosts.directory / "store"
        self.port = free_port()
        self.password = secrets.token_urlsafe(12)
        self.password_file = hosts.directory / "store.password"
        self._hosts = hosts

    @property
    def url(self) -> str:
        """The URL for engine files."""
        return f"mysql://root@{LOOPBACK}:{self.port}/{DATABASE}"

    async def start(self) -> None:
        """Start the server, create the database, and set the password of root.

        Raises:
            ConfigError: the server did not answer.
        """
        self.home.mkdir()
        self._hosts.guard.watch_home(self.home)
        sizes = [part for size in _STORE_SIZES.items() for part in ("--parameter", "=".join(size))]
        process = await asyncio.create_subprocess_exec(
            *(str(find_seekdb()), "--base-dir", str(self.home), "--port", str(self.port), *sizes),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await process.wait()
        try:
            async with asyncio.timeout(_STORE_BOUND_S):
                while not await self._create():  # noqa: ASYNC110  # another process
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise ConfigError(messages.STORE_NOT_READY(home=self.home)) from None
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(self.password)

    async def _create(self) -> bool:
        """Create the database and set the password; return False while the server is not ready."""
        with suppress(MysqlError):
            async with open_connection((LOOPBACK, self.port), user="root", password="") as session:
                await session.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
                password = quote_text(self.password)
                await session.query(f"ALTER USER root IDENTIFIED BY {password}")
                return True
        return False


class DemoFleet:
    """Controllers, clusters and a store; everything is registered with the reaper of the hosts.

    Each host has the servers of one cluster.

    Attributes:
        password: of root in every cluster.
    """

    def __init__(self, hosts: DemoHosts, *, controllers: int = 3) -> None:
        """Write all files.

        Raises:
            ConfigError: pylibseekdb is not installed.
        """
        self.directory = hosts.directory
        self.password = secrets.token_urlsafe(12)
        self.store = DemoStore(hosts)
        self.clusters = tuple(self._make_cluster(hosts, n) for n in range(len(hosts.hosts)))
        self.controllers = tuple(
            FleetController(self.directory, f"controller{n + 1}", self.clusters)
            for n in range(controllers)
        )
        for controller in self.controllers:
            content = controller.describe(self.clusters, self.store)
            controller.engine_file.write_text(yaml.safe_dump(content))
        self._hosts = hosts

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment for controllers and for commands that call them."""
        return {
            **os.environ,
            PASSWORD_VARIABLE: self.password,
            "DAGENGINE_PASSWORD": self.password,
        }

    async def start_controller(self, controller: FleetController) -> None:
        """Start a controller and wait for its ready lines.

        Raises:
            ConfigError: it exited or printed no ready line; its log has the reason.
        """
        with controller.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dagengine", "serve", "-c", str(controller.engine_file)),
                env=self.environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._hosts.guard.watch_process(process.pid)
        controller.process = process
        for _ in self.clusters:
            await read_ready_line(process, controller.log)

    async def run(self, *arguments: str) -> Any:
        """Run a command of dagengine with `--json`; return the document that it prints.

        Raises:
            DagengineError: it failed; the message has its last line.
        """
        return json.loads(await self.read_text(*arguments))

    async def read_text(self, *arguments: str) -> str:
        """Run a command of dagengine as a user would; return what it prints.

        Raises:
            DagengineError: it failed; the message has its last line.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dagengine", *arguments),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._hosts.guard.watch_process(process.pid)
        printed, errors = await process.communicate()
        if process.returncode:
            reason = (errors.strip() or printed.strip()).decode(errors="replace")
            raise DagengineError(
                messages.COMMAND_FAILED(command=" ".join(arguments), reason=reason)
            )
        return printed.decode()

    async def find_owner(self, cluster: str) -> FleetController | None:
        """Return the controller that owns a cluster, by `GET /owner` of each; None for none."""
        for controller in self.controllers:
            if controller.is_running and await is_owner(controller.urls[cluster]):
                return controller
        return None

    async def wait_for_owner(self, cluster: str, *, bound_s: float = 30.0) -> FleetController:
        """Return the owner of a cluster once there is one.

        Raises:
            ConfigError: no controller owns it within the bound, in seconds.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(bound_s):
                while (owner := await self.find_owner(cluster)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S / 4)
                return owner
        raise ConfigError(messages.NO_OWNER(cluster=cluster))

    async def stop(self) -> None:
        """End all controllers: SIGTERM, and after some seconds SIGKILL."""
        for controller in self.controllers:
            if controller.is_running:
                assert controller.process is not None
                controller.process.terminate()
        for controller in self.controllers:
            if (process := controller.process) is not None:
                try:
                    async with asyncio.timeout(10.0):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()

    def _make_cluster(self, hosts: DemoHosts, number: int) -> FleetCluster:
        name = f"cluster{number + 1}"
        servers = (make_server(hosts, number),)
        file = self.directory / f"{name}.cluster.yaml"
        content = {
            "name": name,
            "id": number + 1,
            "flavour": "seekdb",
            "root_password_env": PASSWORD_VARIABLE,
            "defaults": {"start_options": dict(_SERVER_OPTIONS)},
            "zones": {"zone1": [describe_server(each) for each in servers]},
        }
        file.write_text(yaml.safe_dump(content))
        return FleetCluster(name, file, f"{LOOPBACK}:{4000 + number}", servers)


async def is_owner(url: str) -> bool:
    """Return whether the controller at a URL owns the cluster of that listener."""
    host, port = parse_host_port(url.removeprefix("http://"))
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET /owner HTTP/1.0\r\nHost: localhost\r\n\r\n")
                return b" 200 " in (await reader.readline())
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
