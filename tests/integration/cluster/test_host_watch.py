"""Watching hosts over real SSH connections: ends of processes, lost connections, sessions."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
import yaml

from dagengine import Clock, SystemClock
from dagengine.remote import Command, SshPool
from dagengine.testing import FakeClock, eventually
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.observation import AVAILABLE, NOT_CONNECTED, NOT_RUNNING
from tasks.flavours.select import FLAVOURS
from tasks.hosts.commands import watch_command
from tasks.monitoring.monitor import OUTDATED_S, ClusterMonitor
from tests.support.factories import make_server
from tests.support.fake_servers import run_server
from tests.support.sshd import MISSING, Sshd, SshLab, open_lab, user_name

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

VISIBLE_S = 2.0  # limit for the end of a process to be visible
CLOCK = SystemClock()
NAME = "127.0.0.1:2886"
WATCHED = """
import asyncio, random, sys
from pathlib import Path
from dagengine import SystemClock
from dagengine.remote import HostAddress, SshPool
from tasks.hosts.commands import watch_command
from tests.support.factories import make_server

async def main(port, user, key, known_hosts, home):
    pool = SshPool(SystemClock(), random.Random(1))
    address = HostAddress(
        "127.0.0.1", int(port), user, key_file=Path(key), known_hosts=Path(known_hosts)
    )
    command = watch_command([make_server(home=home)])
    async with pool.runner(address).stream(command, timeout_s=30) as lines:
        print(await lines.read_line(), flush=True)
        await lines.read_line()
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


class Host:
    """A host with one home, and a cluster file for it."""

    def __init__(self, lab: SshLab, sshd: Sshd, key: Path, directory: Path) -> None:
        self.lab, self.sshd, self.key, self.directory = lab, sshd, key, directory
        self.home = directory / "watched home"
        self.home.mkdir()

    def cluster(self, *, port: int | None = None, **ssh: Any) -> ClusterFile:
        path = self.directory / "cluster.yaml"
        address = {
            "host": "127.0.0.1",
            "port": port or self.sshd.port,
            "user": user_name(),
            "key_file": str(self.key),
            "known_hosts": str(self.lab.known_hosts),
        }
        entry = {"ip": "127.0.0.1", "home": str(self.home), "ssh": address | ssh}
        content = {"name": "x", "id": 1, "flavour": "seekdb", "root_password": "none"}
        path.write_text(yaml.safe_dump({**content, "zones": {"z1": [entry]}}))
        return ClusterFile(path, FLAVOURS)

    def watch_pids(self) -> list[int]:
        """Return the processes of watches of this home."""
        pids = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"dagengine-watch" in words and str(self.home).encode() in words:
                pids.append(int(process.name))
        return pids

    async def wait_for_end_of_watch(self, timeout_s: float) -> None:
        await eventually(_async(lambda: not self.watch_pids()), timeout_s=timeout_s)


def _async(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return condition()

    return check


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with open_lab(tmp_path) as lab:
        sshd, key = await lab.sshd("MaxSessions 10"), await lab.key("key")
        lab.let_in(key, sshd)
        yield Host(lab, sshd, key, tmp_path)


@asynccontextmanager
async def watched(cluster: ClusterFile, clock: Clock = CLOCK) -> AsyncIterator[SshPool]:
    """Watch the hosts of a cluster as a controller does."""
    pool = SshPool(CLOCK, Random(1))
    try:
        async with ClusterMonitor(ClusterAccess(cluster, pool, clock)).watching():
            yield pool
    finally:
        await pool.close()


async def wait_for_state(
    cluster: ClusterFile, ob_state: int, *, is_known: bool = True, timeout_s: float = 10.0
) -> float:
    """Wait for a state of the cluster; return how long it took, in seconds."""
    started_s = time.monotonic()
    await eventually(
        _async(lambda: cluster.state_at(NAME)[::2] == (ob_state, is_known)),
        timeout_s=timeout_s,
    )
    return time.monotonic() - started_s


async def test_host_watch_killed_server_is_visible_at_once(host: Host) -> None:
    cluster = host.cluster()
    assert not cluster.state_at(NAME).is_known
    with run_server(host.home) as process:
        async with watched(cluster) as pool:
            await wait_for_state(cluster, NOT_CONNECTED)
            access = ClusterAccess(cluster, pool, CLOCK)
            access.record(cluster.servers[0], AVAILABLE)
            process.kill()
            process.wait()
            assert await wait_for_state(cluster, NOT_RUNNING) < VISIBLE_S
            observation = cluster.observation(NAME)
            assert observation is not None
            assert observation.reason == "the server does not run"
        await host.wait_for_end_of_watch(5)


async def test_host_watch_dead_host_is_unknown(host: Host) -> None:
    cluster = host.cluster()
    with run_server(host.home):
        async with watched(cluster):
            await wait_for_state(cluster, NOT_CONNECTED)
            await host.sshd.stop()
            await wait_for_state(cluster, NOT_RUNNING, is_known=False)
            observation = cluster.observation(NAME)
            assert observation is not None
            assert "is not watched: " in observation.reason
        await host.wait_for_end_of_watch(5)


async def test_host_watch_too_few_sessions_outdates_state(host: Host) -> None:
    cluster, clock = host.cluster(max_sessions=3), FakeClock()
    async with watched(cluster, clock) as pool:
        await eventually(_async(lambda: cluster.observation(NAME) is not None))
        access = ClusterAccess(cluster, pool, clock)
        access.record(cluster.servers[0], AVAILABLE)
        assert cluster.state_at(NAME)[::2] == (AVAILABLE, True)
        clock.advance(OUTDATED_S)
        await wait_for_state(cluster, NOT_RUNNING, is_known=False)
        observation = cluster.observation(NAME)
        assert observation is not None
        assert "needs at least 4" in observation.reason
    assert host.sshd.logins() == 0


async def test_host_watch_and_commands_share_one_connection(host: Host) -> None:
    cluster = host.cluster()
    async with watched(cluster) as pool:
        await wait_for_state(cluster, NOT_RUNNING)
        runner = pool.runner(cluster.servers[0].address)
        sleeping = (runner.run(Command(("sleep", "0.2")), timeout_s=30) for _ in range(20))
        results = await asyncio.gather(*sleeping)
        assert {result.exit_status for result in results} == {0}
        assert (host.sshd.logins(), "no more sessions" in host.sshd.log()) == (1, False)
        assert len([pid for pid in host.watch_pids() if os.getsid(pid) == pid]) == 1


async def test_host_watch_of_killed_controller_ends(host: Host) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WATCHED, str(host.sshd.port), user_name(), str(host.key)),
        *(str(host.lab.known_hosts), str(host.home)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"server=0 none\n"
    assert host.watch_pids()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await host.wait_for_end_of_watch(5)


async def test_host_watch_of_cut_connection_ends(host: Host, ssh_pool: SshPool) -> None:
    """The host does not learn that the connection was cut: its sshd and its TCP know nothing."""
    command = watch_command([make_server(home=str(host.home))], silence_s=2)
    address = host.lab.address(host.sshd, key_file=host.key)
    async with ssh_pool.runner(address).stream(command, timeout_s=30) as lines:
        assert await lines.read_line() == "server=0 none"
        assert await lines.read_line() == "life=yes"  # it is not answered
        await host.wait_for_end_of_watch(10)
