"""Many hosts on loopback: real sshds, and on each host a server that costs almost nothing.

A host's server is a shell that waits for a line; one process serves the SQL of the whole fleet
(`tiny_sql`). Logins take each server's unix socket: the controller refuses the SQL port, because
the server itself does not listen on it. The benchmark therefore measures the access to the hosts, not the servers.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from tasks.demo.hosts import free_port
from tasks.demo.reaper import ProcessReaper

PASSWORD = "fleet"  # of fake servers on loopback
_ADDRESSES_EACH = 16  # maximum number of addresses of one sshd
_READY_BOUND_S = 60.0
_POLL_S = 0.05

_SSHD = """\
HostKey "{directory}/host_key"
AuthorizedKeysFile "{directory}/client_key.pub"
PidFile none
UsePAM no
SetEnv HOME={directory}
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 1000
PrintMotd no
PrintLastLog no
LogLevel ERROR
"""

# Called with the real server's arguments: --base-dir HOME --port PORT …
_SERVER = """\
#!/bin/sh
mkdir -p "$2/store/redo/sys/log_stream" "$2/log" "$2/run"
echo "start $4 $2" >"{fifo}"
exec </dev/null >/dev/null 2>&1
setsid "{directory}/seekdb" -c 'read -r line <"$2/hold"' seekdb --base-dir "$2" &
"""


@dataclass(frozen=True, slots=True)
class FleetHost:
    """One host."""

    ip: str
    port: int
    home: Path
    sql_port: int


class Fleet:
    """The hosts of a fleet; created by `open_fleet`."""

    def __init__(self, guard: ProcessReaper, count: int) -> None:
        self.guard = guard
        self.directory = guard.directory
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.sshds: list[asyncio.subprocess.Process] = []
        port = free_port()
        self.hosts = tuple(self._make_host(number, port) for number in range(count))

    @property
    def key(self) -> Path:
        return self.directory / "client_key"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def reset(self) -> None:
        """Reset the homes to the state before any server was started."""
        for host in self.hosts:
            if (host.home / "store").exists():
                with (host.home / "hold").open("r+b", buffering=0) as hold:
                    hold.write(b"end\n")
            shutil.rmtree(host.home / "store", ignore_errors=True)
        with (self.directory / "fifo").open("r+b", buffering=0) as fifo:
            fifo.write(b"reset\n")

    def write_files(self, url: str) -> Path:
        """Write the files of a controller and return the path of the engine file."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        engine = {
            "api": {"host": host, "port": int(port)},
            "store": {"path": f"var{port}/dagengine.sqlite"},
            "cluster": "cluster.yaml",
        }
        (self.directory / "cluster.yaml").write_text(yaml.safe_dump(self._describe()))
        (self.directory / "engine.yaml").write_text(yaml.safe_dump(engine))
        return self.directory / "engine.yaml"

    def _make_host(self, number: int, port: int) -> FleetHost:
        home = self.directory / "homes" / f"{number}"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "seekdb").symlink_to(self.directory / "server")
        os.mkfifo(home / "hold")
        self.guard.watch_home(home)
        return FleetHost(f"127.1.{number // 200}.{number % 200 + 1}", port, home, 10_000 + number)

    def _describe(self) -> dict[str, Any]:
        return {
            "name": "fleet",
            "id": 1,
            "flavour": "seekdb",
            "root_password_env": "DAGENGINE_ROOT_PASSWORD",
            "ssh": {
                "user": self.user,
                "port": self.hosts[0].port,
                "key_file": str(self.key),
                "known_hosts": str(self.known_hosts),
                # All hosts share this machine's cores, so each of them is slow.
                "connect_timeout_s": 200,
                "command_timeout_s": 400,
            },
            "zones": {
                "zone1": [
                    {"ip": host.ip, "sql_port": host.sql_port, "home": str(host.home)}
                    for host in self.hosts
                ]
            },
        }


@asynccontextmanager
async def open_fleet(count: int) -> AsyncIterator[Fleet]:
    """Provide a fleet of `count` hosts, and remove it at the end."""
    guard = ProcessReaper("dagengine-fleet-")
    children: list[asyncio.subprocess.Process] = []
    try:
        _make_files(guard.directory)
        fleet = Fleet(guard, count)
        children.append(await _start_sql(fleet))
        children += [await _start_sshd(fleet, begin) for begin in range(0, count, _ADDRESSES_EACH)]
        await _await_sshds(fleet)
        _write_known_hosts(fleet)
        yield fleet
    finally:
        await asyncio.to_thread(guard.close)
        for child in children:
            await child.wait()


def _make_files(directory: Path) -> None:
    for name in ("client_key", "host_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    os.mkfifo(directory / "fifo")
    server = directory / "server"
    server.write_text(_SERVER.format(fifo=directory / "fifo", directory=directory))
    server.chmod(0o755)
    (directory / "seekdb").symlink_to("/bin/sh")  # this process name identifies a server
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _write_known_hosts(fleet: Fleet) -> None:
    key = (fleet.directory / "host_key.pub").read_text()
    names = (f"[{host.ip}]:{host.port}" for host in fleet.hosts)
    fleet.known_hosts.write_text("".join(f"{name} {key}" for name in names))


async def _start_sshd(fleet: Fleet, begin: int) -> asyncio.subprocess.Process:
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if sshd is None:
        raise SystemExit("this benchmark needs OpenSSH's sshd")
    command = (str(Path(sshd).absolute()), "-D", "-e", "-f")  # noqa: ASYNC240  # not measured
    config = fleet.directory / f"sshd_config{begin}"
    hosts: Sequence[FleetHost] = fleet.hosts[begin : begin + _ADDRESSES_EACH]
    listens = "".join(f"ListenAddress {host.ip}:{host.port}\n" for host in hosts)
    config.write_text(listens + _SSHD.format(directory=fleet.directory))
    process = await asyncio.create_subprocess_exec(
        *(*command, str(config)),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    fleet.guard.watch_process(process.pid)
    return process


async def _await_sshds(fleet: Fleet) -> None:
    async with asyncio.timeout(_READY_BOUND_S):
        for host in fleet.hosts[::_ADDRESSES_EACH]:
            while True:
                try:
                    _, writer = await asyncio.open_connection(host.ip, host.port)
                except OSError:
                    await asyncio.sleep(_POLL_S)
                else:
                    writer.close()
                    break


async def _start_sql(fleet: Fleet) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "_shared.tiny_sql", str(fleet.directory / "fifo")),
        cwd=Path(__file__).parents[1],
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    fleet.guard.watch_process(process.pid)
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def start_controller(fleet: Fleet, log: IO[bytes]) -> tuple[asyncio.subprocess.Process, str]:
    """Start a new controller for the fleet; return its process and its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dagengine", "serve", "-c", str(fleet.write_files(url))),
        env={**os.environ, "DAGENGINE_ROOT_PASSWORD": PASSWORD},
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )
    fleet.guard.watch_process(process.pid)
    assert process.stdout is not None
    if not (await process.stdout.readline()).startswith(b"dagengine ready"):
        raise SystemExit(f"the controller did not come up; its log is {log.name}")
    return process, url
