"""A small real cluster on loopback: seekdb homes on demo hosts, and their controller."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import yaml

from dagengine.errors import ConfigError
from dagengine.extension import parse_host_port
from tasks.demo import messages
from tasks.demo.hosts import LOOPBACK, DemoHost, DemoHosts, free_port

PASSWORD_VARIABLE = "DAGENGINE_ROOT_PASSWORD"  # noqa: S105  # the variable's name
START_OPTIONS = {"memory_limit": "2G", "log_disk_size": "2G"}
"""Smallest values with which seekdb 1.4 starts."""

_FIRST_AGENT_PORT = 2886
_LOG_LINES = 5
_READY_BOUND_S = 30.0
_READY = b"dagengine ready on "


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A server of the demo; `name` is its name in the API."""

    name: str
    home: Path
    sql_port: int
    host: DemoHost


class DemoCluster:
    """Homes and configuration files for a controller.

    `entries` is the content of the cluster file; callers may change it and call `write`.

    Attributes:
        password: of root, random by default.
        url: address on which the controller will answer.
    """

    def __init__(self, hosts: DemoHosts, *, password: str | None = None) -> None:
        """Create the homes and files.

        Raises:
            ConfigError: pylibseekdb is not installed.
        """
        self.password = secrets.token_urlsafe(12) if password is None else password
        self.url = f"http://{LOOPBACK}:{free_port()}"
        self.directory = hosts.directory
        self.servers = tuple(self._make_server(hosts, number) for number in range(len(hosts.hosts)))
        self.entries: dict[str, Any] = self._describe()
        self.write()

    @property
    def engine_file(self) -> Path:
        return self.directory / "engine.yaml"

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment for a controller and for the commands that call it."""
        return {
            **os.environ,
            PASSWORD_VARIABLE: self.password,
            "DAGENGINE_PASSWORD": self.password,
            "DAGENGINE_URL": self.url,
        }

    def server_entry(self, number: int) -> dict[str, Any]:
        """Return a server's entry of the cluster file; change it, then call `write`."""
        entry: dict[str, Any] = self.entries["zones"][f"zone{number + 1}"][0]
        return entry

    def write(self) -> None:
        """Write the engine file and the cluster file."""
        host, port = parse_host_port(self.url.removeprefix("http://"))
        engine = {
            "api": {"host": host, "port": port},
            "store": {"path": "var/dagengine.sqlite"},
            "cluster": "cluster.yaml",
        }
        (self.directory / "cluster.yaml").write_text(yaml.safe_dump(self.entries))
        self.engine_file.write_text(yaml.safe_dump(engine))

    async def start_controller(
        self, log: IO[bytes], *, program: tuple[str, ...] = ("-m", "dagengine", "serve")
    ) -> asyncio.subprocess.Process:
        """Start a controller and wait for its ready line.

        Raises:
            ConfigError: the controller exited or printed no ready line; its log has the reason.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            "-c",
            str(self.engine_file),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        await read_ready_line(process, Path(log.name))
        return process

    def _make_server(self, hosts: DemoHosts, number: int) -> DemoServer:
        return make_server(hosts, number)

    def _describe(self) -> dict[str, Any]:
        return {
            "name": "demo",
            "id": 1,
            "flavour": "seekdb",
            "root_password_env": PASSWORD_VARIABLE,
            "defaults": {"start_options": dict(START_OPTIONS)},
            "zones": {
                f"zone{number}": [describe_server(server)]
                for number, server in enumerate(self.servers, start=1)
            },
        }


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)


def describe_end(name: str, status: int, log: Path) -> list[str]:
    """Return how a process has ended, and the end of its log, as lines of text.

    Args:
        name: of the process.
        status: exit status; negative for the signal that ended it.
        log: its log.
    """
    if status < 0:
        ended = messages.ENDED_BY_SIGNAL(name=name, signal=_name_signal(-status))
    else:
        ended = messages.ENDED_WITH_STATUS(name=name, status=status)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    if not lines:
        return [ended]
    return [messages.LAST_LOG_LINES(ended=ended), *(f"  {line}" for line in lines)]


async def read_ready_line(process: asyncio.subprocess.Process, log: Path) -> None:
    """Wait for a ready line of a controller.

    Raises:
        ConfigError: the controller exited or printed no such line; its log has the reason.
    """
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_READY_BOUND_S):
            line = await process.stdout.readline()
    except TimeoutError:
        line = b""
    if not line.startswith(_READY):
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise ConfigError(messages.CONTROLLER_NOT_READY(log=log))


def make_server(hosts: DemoHosts, number: int) -> DemoServer:
    """Create the home of a server on a host."""
    host = hosts.hosts[number]
    home = host.directory / "seekdb"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "seekdb").symlink_to(find_seekdb())
    hosts.guard.watch_home(home)
    return DemoServer(f"{LOOPBACK}:{_FIRST_AGENT_PORT + number}", home, free_port(), host)


def find_seekdb() -> Path:
    """Return the path of the server program in the wheel `pylibseekdb`.

    Raises:
        ConfigError: the wheel is not installed.
    """
    spec = find_spec("pylibseekdb")
    if spec is None or spec.origin is None:
        raise ConfigError(messages.SEEKDB_MISSING(), remedy=messages.INSTALL_SEEKDB())
    return Path(spec.origin).with_name("seekdb")


def describe_server(server: DemoServer) -> dict[str, Any]:
    """Return the entry of a server in a cluster file."""
    host = server.host
    return {
        "ip": LOOPBACK,
        "agent_port": parse_host_port(server.name)[1],
        "sql_port": server.sql_port,
        "home": str(server.home),
        "ssh": {
            "host": host.ip,
            "port": host.port,
            "user": host.user,
            "key_file": str(host.key_file),
            "known_hosts": str(host.known_hosts),
        },
    }
