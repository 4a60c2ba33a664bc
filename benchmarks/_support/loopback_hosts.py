"""Many hosts on loopback addresses: real sshds, and on each host a fake server of minimal cost.

A fake server is a shell that waits for a line; one process answers the SQL of all of them
(`fake_sql_server`). Logins use each server's unix socket, because the controller rejects an SQL
port that another process owns. The benchmark thus measures the access to the hosts, not the
servers.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import yaml

from tasks.demo.hosts import free_port
from tasks.demo.reaper import ProcessReaper

PASSWORD = "x"  # the fake servers accept any password
_ADDRESSES_PER_SSHD = 16  # the maximum of ListenAddress lines that sshd accepts
_READY_LIMIT_S = 60.0
_POLL_S = 0.05

_SSHD_CONFIG = """\
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

# It receives the arguments of the real server: --base-dir HOME --port PORT …
_SERVER_SCRIPT = """\
#!/bin/sh
mkdir -p "$2/store/redo/sys/log_stream" "$2/log" "$2/run"
echo "start $4 $2" >"{fifo}"
exec </dev/null >/dev/null 2>&1
setsid "{directory}/seekdb" -c 'read -r line <"$2/hold"' seekdb --base-dir "$2" &
"""


@dataclass(frozen=True, slots=True)
class LoopbackHost:
    """A host and its fake server.

    Attributes:
        port: of its sshd.
    """

    ip: str
    port: int
    home: Path
    sql_port: int


class LoopbackHosts:
    """A group of hosts on loopback addresses; created by `open_loopback_hosts`."""

    def __init__(self, reaper: ProcessReaper, count: int) -> None:
        self.reaper = reaper
        self.directory = reaper.directory
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        port = free_port()
        self.hosts = tuple(self._create_host(number, port) for number in range(count))

    @property
    def key(self) -> Path:
        return self.directory / "client_key"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def split(self, size: int) -> Iterator[Sequence[LoopbackHost]]:
        """Yield the hosts in groups of `size`."""
        for first in range(0, len(self.hosts), size):
            yield self.hosts[first : first + size]

    def reset(self) -> None:
        """End all servers and empty the homes, as before a first start."""
        for host in self.hosts:
            if (host.home / "store").exists():
                with (host.home / "hold").open("r+b", buffering=0) as hold:
                    hold.write(b"end\n")
            for name in ("store", "run"):
                shutil.rmtree(host.home / name, ignore_errors=True)
            # The next controller may have another store.
            (host.home / ".dagengine-fence").unlink(missing_ok=True)
        with (self.directory / "fifo").open("r+b", buffering=0) as fifo:
            fifo.write(b"reset\n")

    def write_files(self, url: str) -> Path:
        """Write the configuration of a controller at this URL; return the engine file's path."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        engine = {
            "api": {"host": host, "port": int(port)},
            "store": {"path": f"var{port}/dagengine.sqlite"},
            "cluster": "cluster.yaml",
        }
        (self.directory / "cluster.yaml").write_text(yaml.safe_dump(self._cluster_settings()))
        (self.directory / "engine.yaml").write_text(yaml.safe_dump(engine))
        return self.directory / "engine.yaml"

    def _create_host(self, number: int, port: int) -> LoopbackHost:
        home = self.directory / "homes" / f"{number}"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "seekdb").symlink_to(self.directory / "server")
        os.mkfifo(home / "hold")
        self.reaper.watch_home(home)
        return LoopbackHost(
            f"127.1.{number // 200}.{number % 200 + 1}", port, home, 10_000 + number
        )

    def _cluster_settings(self) -> dict[str, Any]:
        return {
            "name": "bench",
            "id": 1,
            "flavour": "seekdb",
            "root_password_env": "DAGENGINE_ROOT_PASSWORD",
            "ssh": {
                "user": self.user,
                "port": self.hosts[0].port,
                "key_file": str(self.key),
                "known_hosts": str(self.known_hosts),
                # All hosts share the cores of this machine, so each one is slow.
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
async def open_loopback_hosts(count: int) -> AsyncIterator[LoopbackHosts]:
    """Provide `count` hosts on loopback addresses, and remove them at the end."""
    reaper = ProcessReaper("dagengine-bench-hosts-")
    processes: list[asyncio.subprocess.Process] = []
    try:
        _create_files(reaper.directory)
        loopback = LoopbackHosts(reaper, count)
        processes.append(await _start_sql_server(loopback))
        processes += [
            await _start_sshd(loopback, hosts) for hosts in loopback.split(_ADDRESSES_PER_SSHD)
        ]
        await _wait_for_sshds(loopback)
        _write_known_hosts(loopback)
        yield loopback
    finally:
        await asyncio.to_thread(reaper.close)
        for process in processes:
            await process.wait()


def _create_files(directory: Path) -> None:
    for name in ("client_key", "host_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    os.mkfifo(directory / "fifo")
    server = directory / "server"
    server.write_text(_SERVER_SCRIPT.format(fifo=directory / "fifo", directory=directory))
    server.chmod(0o755)
    # A copy, so that it is the executable of its processes: a name alone identifies no server.
    shutil.copy(Path("/bin/sh").resolve(), directory / "seekdb")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _write_known_hosts(loopback: LoopbackHosts) -> None:
    key = (loopback.directory / "host_key.pub").read_text()
    names = (f"[{host.ip}]:{host.port}" for host in loopback.hosts)
    loopback.known_hosts.write_text("".join(f"{name} {key}" for name in names))


async def _start_sshd(
    loopback: LoopbackHosts, hosts: Sequence[LoopbackHost]
) -> asyncio.subprocess.Process:
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if sshd is None:
        raise SystemExit("sshd not found; install the OpenSSH server")
    command = (str(Path(sshd).absolute()), "-D", "-e", "-f")  # noqa: ASYNC240  # not measured
    config = loopback.directory / f"sshd_config_{hosts[0].ip}"
    addresses = "".join(f"ListenAddress {host.ip}:{host.port}\n" for host in hosts)
    config.write_text(addresses + _SSHD_CONFIG.format(directory=loopback.directory))
    process = await asyncio.create_subprocess_exec(
        *(*command, str(config)),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    loopback.reaper.watch_process(process.pid)
    return process


async def _wait_for_sshds(loopback: LoopbackHosts) -> None:
    async with asyncio.timeout(_READY_LIMIT_S):
        for host in loopback.hosts:
            while True:
                try:
                    _, writer = await asyncio.open_connection(host.ip, host.port)
                except OSError:
                    await asyncio.sleep(_POLL_S)
                else:
                    writer.close()
                    break


async def _start_sql_server(loopback: LoopbackHosts) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "_support.fake_sql_server", str(loopback.directory / "fifo")),
        cwd=Path(__file__).parents[1],
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    loopback.reaper.watch_process(process.pid)
    assert process.stdout is not None
    await process.stdout.readline()
    return process


class Hosts(Protocol):
    """Hosts of a controller."""

    @property
    def reaper(self) -> ProcessReaper: ...

    def write_files(self, url: str) -> Path: ...


async def start_controller(hosts: Hosts, log: IO[bytes]) -> tuple[asyncio.subprocess.Process, str]:
    """Start a new controller for the hosts; return its process and its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dagengine", "serve", "-c", str(hosts.write_files(url))),
        env={**os.environ, "DAGENGINE_ROOT_PASSWORD": PASSWORD},
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )
    hosts.reaper.watch_process(process.pid)
    assert process.stdout is not None
    if not (await process.stdout.readline()).startswith(b"dagengine ready"):
        raise SystemExit(f"the controller did not start; its log is {log.name}")
    return process, url
