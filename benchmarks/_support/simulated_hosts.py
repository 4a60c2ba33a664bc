"""Simulated hosts on loopback addresses, whose servers run all the time: for the cost of watching.

One process has the SSH servers of all hosts. It answers the scripts of the cluster monitor itself,
with what they print on a host with a running server, and forwards the server's unix socket to the
same fake SQL server as `loopback_hosts`. Real hosts need more CPU time than the controller that is
measured: on one machine, they would measure its overload.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import yaml

from _support.fake_sql_server import handle_connection
from tasks.demo.hosts import free_port
from tasks.demo.reaper import ProcessReaper
from tasks.hosts.commands import LIFE_S

_GROUP = "\x1edagengine-group:0\n"  # announced by each command: it has no group to end
_UPTIME_S, _TICKS = 100.0, 100


class SimulatedHosts:
    """The files of a controller of simulated hosts; created by `open_simulated_hosts`."""

    def __init__(self, reaper: ProcessReaper, count: int) -> None:
        self.reaper = reaper
        self.directory = directory = reaper.directory
        self.ips = tuple(f"127.1.{number // 200}.{number % 200 + 1}" for number in range(count))
        self.ssh_port = free_port()
        for name in ("client_key", "host_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
            subprocess.run(command, check=True)
        key = (directory / "host_key.pub").read_text()
        names = (f"[{ip}]:{self.ssh_port}" for ip in self.ips)
        (directory / "known_hosts").write_text("".join(f"{name} {key}" for name in names))
        for ip in self.ips:
            (directory / ip / "run").mkdir(parents=True)

    def write_files(self, url: str) -> Path:
        """Write the configuration of a controller at this URL; return the engine file's path."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        servers = [{"ip": ip, "home": str(self.directory / ip)} for ip in self.ips]
        cluster = {
            "name": "bench",
            "id": 1,
            "flavour": "seekdb",
            "root_password_env": "DAGENGINE_ROOT_PASSWORD",
            "ssh": {
                "user": "simulated",
                "port": self.ssh_port,
                "key_file": str(self.directory / "client_key"),
                "known_hosts": str(self.directory / "known_hosts"),
            },
            "zones": {"zone1": servers},
        }
        engine = {
            "api": {"host": host, "port": int(port)},
            "store": {"path": "dagengine.sqlite"},
            "cluster": "cluster.yaml",
        }
        (self.directory / "cluster.yaml").write_text(yaml.safe_dump(cluster))
        (self.directory / "engine.yaml").write_text(yaml.safe_dump(engine))
        return self.directory / "engine.yaml"


@asynccontextmanager
async def open_simulated_hosts(count: int) -> AsyncIterator[SimulatedHosts]:
    """Provide `count` hosts with a running server each, and remove them at the end."""
    reaper = ProcessReaper("dagengine-bench-hosts-")
    try:
        hosts = SimulatedHosts(reaper, count)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "_support.simulated_hosts", str(hosts.directory)),
            *(str(hosts.ssh_port), *hosts.ips),
            cwd=Path(__file__).parents[1],
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        reaper.watch_process(process.pid)
        assert process.stdout is not None
        await process.stdout.readline()
        yield hosts
    finally:
        await asyncio.to_thread(reaper.close)


class _Server(asyncssh.SSHServer):
    def unix_connection_requested(self, dest_path: str) -> bool:
        """Forward to the fake SQL server."""
        return True


async def _serve(directory: Path, port: int, *ips: str) -> None:
    for ip in ips:
        await asyncio.start_unix_server(handle_connection, directory / ip / "run/sql.sock")
        await asyncssh.listen(
            ip,
            port,
            server_factory=_Server,
            server_host_keys=[str(directory / "host_key")],
            authorized_client_keys=str(directory / "client_key.pub"),
            process_factory=_answer,
            config=None,
            gss_host=None,
        )
    print("serving", flush=True)
    await asyncio.Event().wait()


async def _answer(process: asyncssh.SSHServerProcess[str]) -> None:
    """Answer as the script in the command does on a host whose server runs."""
    command = process.command or ""
    process.stdout.write(_GROUP)
    if "dagengine-watch" in command:
        process.stdout.write("server=0 1 1\n")
        while not process.stdout.is_closing():
            process.stdout.write("life=yes\n")
            await process.stdin.readline()
            await asyncio.sleep(LIFE_S)
        return
    facts = ["boot=simulated", f"uid={os.geteuid()}", "pid=1", "started=1"]
    facts += [f"owner={os.geteuid()}", "by="]
    if "dagengine-process" in command:
        facts += [f"uptime={_UPTIME_S}", f"ticks={_TICKS}"]
    elif "dagengine-sql" in command:
        facts += [f"directory={os.geteuid()} 700"] * 2 + ["socket_file=yes"]
    else:
        facts = []
    process.stdout.write("\n".join([*facts, "end=yes", ""]))
    process.exit(0 if facts else 1)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
