"""Real sshd, seekdb and controller processes, and the official client."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from obshell import ClientSet
from obshell.auth import PasswordAuth

from dagengine.client import Client
from dagengine.testing import eventually
from tasks.demo.cluster import DemoCluster
from tasks.demo.hosts import DemoHosts
from tests.support.leftovers import assert_nothing_left

GATED = Path(__file__).with_name("gated_controller.py")


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


OpenTestbed = Callable[[int], AbstractAsyncContextManager[ClusterTestbed]]


@asynccontextmanager
async def make_testbed(count: int) -> AsyncIterator[ClusterTestbed]:
    """Open a testbed for one test, and check that nothing is left on its hosts."""
    async with DemoHosts(count) as hosts:
        testbed = ClusterTestbed(hosts, DemoCluster(hosts))
        try:
            yield testbed
        finally:
            await testbed.close()
        await assert_nothing_left(hosts)


@pytest.fixture
def open_testbed() -> OpenTestbed:
    return make_testbed


def sub_tasks(dag: dict[str, Any], stage: int) -> dict[str, dict[str, Any]]:
    """Return the sub-tasks of a stage by server."""
    tasks = dag["nodes"][stage - 1]["sub_tasks"]
    return {f"{t['execute_agent']['ip']}:{t['execute_agent']['port']}": t for t in tasks}


def all_log_lines(dag: dict[str, Any]) -> str:
    """All log lines of a DAG, for the message of a failed test."""
    return "\n".join(
        line for n in dag["nodes"] for t in n["sub_tasks"] for line in t["task_logs"] or []
    )


async def wait_dag(client: Client, dag_id: str) -> dict[str, Any]:
    """Follow a DAG to its end."""
    polled: list[dict[str, Any]] = []

    async def has_ended() -> bool:
        polled.append(await client.get_dag(dag_id))
        return polled[-1]["state"] in ("SUCCEED", "FAILED")

    await eventually(has_ended, timeout_s=120, what=f"the end of DAG {dag_id}")
    return polled[-1]
