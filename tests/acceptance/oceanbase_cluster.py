"""A cluster of stand-in observers, with a real controller and real sshds."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

from dagengine.testing import eventually
from tasks.demo.hosts import LOOPBACK, DemoHosts
from tests.acceptance.conftest import ClusterTestbed
from tests.support.leftovers import assert_nothing_left
from tests.support.standin.cluster import OceanCluster
from tests.support.standin.cluster_state import Ledger


class OceanTestbed(ClusterTestbed):
    """Nine servers in three zones by default."""

    cluster: OceanCluster

    def __init__(self, hosts: DemoHosts, cluster: OceanCluster) -> None:
        super().__init__(hosts, cluster)
        self.cluster = cluster
        self._taken = 0

    @property
    def ledger(self) -> Ledger:
        return self.cluster.ledger

    def name(self, number: int) -> str:
        """Return the name of a server in requests."""
        return self.cluster.servers[number].name

    def pid(self, number: int) -> int | None:
        """Return the pid of the observer in the home of a server; None if it does not run."""
        home = self.cluster.servers[number].home
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                called = (directory / "cmdline").read_bytes().split(b"\0")[0]
                if called.endswith(b"/observer") and (directory / "cwd").resolve() == home:
                    return int(directory.name)
            except OSError:
                continue
        return None

    def pids(self) -> list[int | None]:
        return [self.pid(number) for number in range(len(self.cluster.servers))]

    async def kill(self, *numbers: int) -> None:
        """Kill servers, and wait until the cluster notices."""
        for number in numbers:
            if (pid := self.pid(number)) is not None:
                os.kill(pid, signal.SIGKILL)
        dead = [self.cluster.members[number].rpc_port for number in numbers]

        async def are_dead() -> bool:
            alive = self.ledger.rows("SELECT svr_port FROM server WHERE alive")
            return not {port for (port,) in alive} & set(dead)

        await eventually(are_dead, what="the end of the killed stand-ins")

    def serving(self) -> list[int]:
        """Return the servers that are alive and in service."""
        members = self.cluster.members
        return [number for number in range(len(members)) if self.ledger.serves(members[number])]

    def take_statements(self) -> list[str]:
        """Return the ALTER statements since the last call."""
        statements = self.ledger.statements()
        new, self._taken = statements[self._taken :], len(statements)
        return new

    def set_sql_timeout(self, seconds: float) -> None:
        """Set the time limit of the SQL of the cluster, from the next DAG on."""
        self.cluster.entries["cluster_sql_timeout_s"] = seconds
        self.cluster.write()

    @contextmanager
    def unplugged(self, number: int) -> Iterator[None]:
        """Replace the sshd of a server by a port that does not answer."""
        entry = self.cluster.server_entry(number)["ssh"]
        port = entry["port"]
        with closing(socket.socket()) as bound:  # bound, but not listened on
            bound.bind((LOOPBACK, 0))
            entry["port"] = bound.getsockname()[1]
            self.cluster.write()
            try:
                yield
            finally:
                entry["port"] = port
                self.cluster.write()

    def watch_sshd(self, number: int) -> Callable[[], str]:
        """Record the log of the sshd of a host."""
        log = self.cluster.servers[number].host.directory / "sshd.log"
        begin = log.stat().st_size
        return lambda: log.read_bytes()[begin:].decode(errors="replace")


@asynccontextmanager
async def make_ocean_testbed(*, zones: int = 3, per_zone: int = 3) -> AsyncIterator[OceanTestbed]:
    """A bootstrapped cluster without running servers and without a controller."""
    async with DemoHosts(zones * per_zone) as hosts:
        testbed = OceanTestbed(hosts, OceanCluster(hosts, zones=zones))
        testbed.set_sql_timeout(60)
        try:
            yield testbed
        finally:
            await testbed.close()
            testbed.ledger.close()
        await assert_nothing_left(hosts)
