"""Hosts with one server each, their network, and a controller whose steps can be held."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import asyncssh
import yaml

from dagengine import AuditRecord
from dagengine.client import Client
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.identity import renew_epoch
from dagengine.testing import eventually
from tasks.demo.reaper import ProcessReaper
from tests.realhosts.host import Host
from tests.realhosts.installation import SEEKDB, SQL_PORT, Installation
from tests.realhosts.network import Network

ZONES = 3
MOST_HOSTS = 9
PORTS = {"hosts", *(f"port{number}" for number in range(1, MOST_HOSTS + 1))}
"""Names of links in the controller's network, which this machine's network does not use."""

URL = "http://127.0.0.1:2886"
_CONTROLLER = Path(__file__).with_name("held_controller.py")
_READY_BOUND_S = 240.0  # detects a hang; not a measure of speed
_WAIT_BOUND_S = 300.0
_PROBE_INTERVAL_S = 0.1  # a query of all states costs some CPU

Dag = dict[str, Any]


class HostCluster:
    """Hosts, network and controller of a test. `undo` holds the repairs of the present faults.

    Attributes:
        hosts: ordered by zone: those of zone1, then zone2, then zone3.
        entries: content of the cluster file; call `write` after a change.
        client: client of the controller.
    """

    def __init__(
        self,
        directory: Path,
        network: Network,
        guard: ProcessReaper,
        installation: Installation,
        per_zone: int,
    ) -> None:
        self.directory = directory
        self.per_zone = per_zone
        self.installation = installation
        self.network = network
        self.password = secrets.token_urlsafe(12)
        self.undo = ExitStack()
        self.client = Client(URL, self.password)
        self.holds = directory / "holds"
        self._guard = guard
        self._controller: asyncio.subprocess.Process | None = None
        self.hosts: tuple[Host, ...] = ()
        self.entries: dict[str, Any] = {}

    @property
    def log(self) -> Path:
        """Return the file with the controllers' stderr."""
        return self.directory / "controller.log"

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the servers, as in the API."""
        return tuple(f"{host.ip}:2886" for host in self.hosts)

    def name(self, host: Host) -> str:
        return f"{host.ip}:2886"

    def make_hosts(self) -> None:
        """Create the hosts, and the files that name them."""
        self.holds.mkdir()
        (self.directory / "ledger").mkdir()
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(self.directory / "client_key"))
        (self.directory / "client_key").chmod(0o600)
        public = key.export_public_key().decode()

        def make(number: int) -> Host:
            zone = f"zone{(number - 1) // self.per_zone + 1}"
            host = Host(number, zone, self.directory, self.network, public, self.installation)
            self._guard.watch_process(host.keeper_pid)
            return host

        count = ZONES * self.per_zone
        with ThreadPoolExecutor(count) as pool:
            futures = [pool.submit(make, number) for number in range(1, count + 1)]
        self.hosts = tuple(future.result() for future in futures if future.exception() is None)
        for future in futures:
            future.result()
        self.entries = self._describe()
        self.write()

    def write(self) -> None:
        """Write the files that the controller and its SSH client read."""
        key_lines = (f"{host.ip} {host.public_key}\n" for host in self.hosts)
        (self.directory / "known_hosts").write_text("".join(key_lines))
        (self.directory / "cluster.yaml").write_text(yaml.safe_dump(self.entries))
        engine = {"store": {"path": "var/dagengine.sqlite"}, "cluster": "cluster.yaml"}
        (self.directory / "engine.yaml").write_text(yaml.safe_dump(engine))

    def entry(self, host: Host) -> dict[str, Any]:
        """Return the entry of a host's server in the cluster file."""
        entry: dict[str, Any] = next(
            entry for entry in self.entries["zones"][host.zone] if entry["ip"] == host.ip
        )
        return entry

    async def restart_without_watch(self) -> None:
        """Restart the controller without the watch of hosts: then only DAGs contact them.

        Every access to a host is a new connection in sshd's log. The next reset restores the file.
        """
        await self.end_controller()

        async def are_hosts_quiet() -> bool:  # so that the log has all of its connections
            return not any(host.has_ssh_sessions() for host in self.hosts)

        await eventually(are_hosts_quiet, timeout_s=30, what="the end of all SSH sessions")
        self.entries["ssh"]["max_sessions"] = 3  # too few for a watch
        self.write()
        self.undo.callback(self._allow_watch)
        await self.start_controller()

    def _allow_watch(self) -> None:
        del self.entries["ssh"]["max_sessions"]
        self.write()

    async def start_controller(self) -> None:
        """Start a controller and wait until it is ready."""
        engine_file = self.directory / "engine.yaml"
        self._controller = await self._start_program(engine_file, self.holds, URL)

    async def _start_program(
        self, engine_file: Path, holds: Path, url: str
    ) -> asyncio.subprocess.Process:
        with self.log.open("ab") as log:
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, str(_CONTROLLER), str(holds), "-c", str(engine_file)),
                env={**os.environ, "DAGENGINE_ROOT_PASSWORD": self.password},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._guard.watch_process(program.pid)
        assert program.stdout is not None
        async with asyncio.timeout(_READY_BOUND_S):
            line = await program.stdout.readline()
        assert line == f"dagengine ready on {url}\n".encode(), self.log.read_text()[-2000:]
        return program

    @asynccontextmanager
    async def second_controller(self) -> AsyncIterator[Client]:
        """Run a second controller on a copy of the store with a new epoch; yield its client.

        The first one may have been stopped by a signal: only the files are read.
        """
        port = 2887
        directory = self.directory / "second"
        (directory / "holds").mkdir(parents=True)
        config = {
            "api": {"port": port},
            "store": {"path": "dagengine.sqlite"},
            "cluster": "../cluster.yaml",
        }
        (directory / "engine.yaml").write_text(yaml.safe_dump(config))
        copy = directory / "dagengine.sqlite"
        backup_store(self.directory / "var" / "dagengine.sqlite", copy)
        renew_epoch(copy, AuditRecord(0, datetime.now(UTC), 0, None, "NEW_EPOCH", "test", ""))
        url = f"http://127.0.0.1:{port}"
        program = await self._start_program(directory / "engine.yaml", directory / "holds", url)
        try:
            async with Client(url, self.password) as client:
                yield client
        finally:
            program.terminate()
            async with asyncio.timeout(_READY_BOUND_S):
                await program.wait()

    def signal_controller(self, number: signal.Signals) -> None:
        """Send a signal to the controller, which must run."""
        assert self._controller is not None
        self._controller.send_signal(number)

    async def end_controller(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._controller is not None:
            controller, self._controller = self._controller, None
            controller.send_signal(number)
            async with asyncio.timeout(_READY_BOUND_S):
                await controller.wait()

    async def start(self, scope: str = "GLOBAL", targets: list[str] | None = None) -> str:
        """Request a start; return the DAG's id."""
        return str((await self.client.start(scope, targets))["id"])

    async def end_of(self, dag_id: str, client: Client | None = None) -> Dag:
        """Follow a DAG to its end; `client` is that of another controller."""
        snapshots: list[Dag] = []

        async def has_ended() -> bool:
            snapshots.append(await (client or self.client).get_dag(dag_id))
            return snapshots[-1]["state"] in ("SUCCEED", "FAILED")

        what = f"the end of DAG {dag_id}"
        await eventually(has_ended, timeout_s=_WAIT_BOUND_S, every_s=_PROBE_INTERVAL_S, what=what)
        return snapshots[-1]

    async def retry(self, dag_id: str) -> Dag:
        await self.client.operate_dag(dag_id, "RETRY")
        return await self.end_of(dag_id)

    async def end_server(self, host: Host) -> None:
        """Kill a host's server, and wait until nothing holds its port."""
        host.signal(host.servers(), signal.SIGKILL)
        await until(lambda: not host.servers() and not host.is_listening(SQL_PORT), "its end")

    async def reset(self) -> None:
        """Undo all faults and holds, and wait until no command runs on any host."""
        for hold in self.holds.iterdir():
            hold.unlink()
        self.undo.close()
        for host in self.hosts:
            await until(
                lambda host=host: not host.other_processes(), f"an end of work on {host.ip}"
            )

    async def restore(self) -> None:
        """Restore the state after a test: no faults, no unfinished DAGs, every server up."""
        await self.reset()
        for dag in await self.client.list_unfinished():
            await self.client.operate_dag(dag["id"], "CANCEL")
            await self.end_of(dag["id"])
        if any(len(host.servers()) != 1 for host in self.hosts):
            assert (await self.end_of(await self.start()))["state"] == "SUCCEED"

    async def expect_nothing_left(self) -> None:
        """Check that no command, lock or temporary file is left, and one server per host."""
        for host in self.hosts:
            await self.expect_no_command_left(host)
            assert len(host.servers()) == 1, host.ip

    async def expect_no_command_left(self, host: Host) -> None:
        """Check that no command, lock or temporary file is left on a host."""
        await until(lambda: not host.other_processes(), f"an end of work on {host.ip}")
        assert not host.is_home_locked(), host.ip
        # The watch of the host has one for a moment while it searches.
        await until(lambda: not host.temporary_files(), f"no temporary file on {host.ip}")

    def _describe(self) -> dict[str, Any]:
        return {
            "name": "real",
            "id": 1,
            "flavour": self.installation.flavour,
            "root_password_env": "DAGENGINE_ROOT_PASSWORD",
            "ssh": {
                "user": self.installation.user,
                "key_file": "client_key",
                "known_hosts": "known_hosts",
                # Short, for a fast suite; docs/operations/failure_modes.md has the defaults.
                "connect_timeout_s": 2,
                "command_timeout_s": 8,
                "keepalive_interval_s": 1,
                "keepalive_misses": 2,
            },
            "defaults": {"home": self.installation.home, **self.installation.settings},
            "zones": {
                zone: [{"ip": host.ip} for host in hosts]
                for zone, hosts in groupby(self.hosts, key=lambda host: host.zone)
            },
        }

    def close_hosts(self) -> None:
        for host in self.hosts:
            host.close()


@asynccontextmanager
async def open_host_cluster(
    installation: Installation = SEEKDB, *, per_zone: int = 1
) -> AsyncIterator[HostCluster]:
    """Create a host cluster, and move this thread to its controller's network; remove all at exit.

    Args:
        installation: the server on every host.
        per_zone: hosts in each of the three zones, 1..3.
    """
    guard = ProcessReaper("dagengine-hosts-")
    network = Network()
    cluster = HostCluster(guard.directory, network, guard, installation, per_zone)
    try:
        with network.entered():
            cluster.make_hosts()
            await cluster.start_controller()
            async with cluster.client:
                yield cluster
    finally:
        cluster.undo.close()
        await cluster.end_controller(signal.SIGKILL)
        cluster.close_hosts()
        network.close()
        await asyncio.to_thread(guard.close)


def find_leftovers(directory: Path, pid_namespaces: Collection[int]) -> list[str]:
    """Return the processes, mounts, links and files of a closed host cluster."""
    leftovers = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_on_host = (entry / "ns" / "pid").stat().st_ino in pid_namespaces
        except OSError:
            continue
        if is_on_host:
            leftovers.append(f"process {entry.name}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    leftovers += [f"mount {line}" for line in mounts if str(directory) in line]
    links = [entry.name for entry in Path("/sys/class/net").iterdir()]
    leftovers += [f"link {name}" for name in links if name in PORTS]
    return leftovers + ([f"files in {directory}"] if directory.exists() else [])


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition that is visible from outside."""

    async def check() -> bool:
        return holds()

    await eventually(check, timeout_s=_WAIT_BOUND_S, every_s=_PROBE_INTERVAL_S, what=what)


def sub_task(dag: Dag, stage: int, server: str) -> dict[str, Any]:
    """Return a server's sub-task of a stage."""
    for task in dag["nodes"][stage - 1]["sub_tasks"]:
        agent: Mapping[str, Any] = task["execute_agent"]
        if f"{agent['ip']}:{agent['port']}" == server:
            result: dict[str, Any] = task
            return result
    raise AssertionError(f"stage {stage} has no sub-task of {server}")


def log_text(dag: Dag) -> str:
    """Return all log lines of a DAG, for the message of a failed test."""
    return "\n".join(
        line for n in dag["nodes"] for t in n["sub_tasks"] for line in t["task_logs"] or []
    )
