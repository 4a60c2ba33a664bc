"""Observing servers: real hosts, an unreachable one, and one that hangs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from dagengine.remote.ssh.pool import SshPool
from dagengine.testing import FakeClock
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.observation import AVAILABLE, Observation
from tasks.demo.hosts import DemoHost, DemoHosts, free_port
from tasks.flavours.select import FLAVOURS
from tasks.hosts.watch import ProcessState
from tasks.monitoring.monitor import CACHE_S, OUTDATED_S, ClusterMonitor

MonitorFactory = Callable[..., tuple[ClusterMonitor, ClusterFile]]


@pytest_asyncio.fixture
async def make_monitor(
    tmp_path: Path, ssh_hosts: DemoHosts, ssh_pool: SshPool
) -> AsyncIterator[MonitorFactory]:
    """Return a monitor of the shared hosts, each with a home that may be empty."""
    async with AsyncExitStack() as stack:

        def make(clock: FakeClock, **ports: int) -> tuple[ClusterMonitor, ClusterFile]:
            zones = {
                f"z{number}": [_entry(host, tmp_path / f"home{number}", ports.get(f"z{number}"))]
                for number, host in enumerate(ssh_hosts.hosts, 1)
            }
            for entries in zones.values():
                Path(entries[0]["home"]).mkdir(exist_ok=True)
            path = tmp_path / "cluster.yaml"
            path.write_text(
                yaml.safe_dump(
                    {
                        "name": "x",
                        "id": 1,
                        "flavour": "seekdb",
                        "root_password": "none",
                        "zones": zones,
                    }
                )
            )
            cluster = ClusterFile(path, FLAVOURS)
            monitor = ClusterMonitor(ClusterAccess(cluster, ssh_pool, clock))
            stack.push_async_callback(monitor.close)
            return monitor, cluster

        yield make


def _entry(host: DemoHost, home: Path, port: int | None) -> dict[str, Any]:
    number = int(home.name.removeprefix("home"))
    return {
        "ip": "127.0.0.1",
        "agent_port": 3000 + number,
        "sql_port": free_port(),
        "home": str(home),
        "ssh": {
            "host": host.ip,
            "port": port or host.port,
            "user": host.user,
            "key_file": str(host.key_file),
            "known_hosts": str(host.known_hosts),
        },
    }


async def test_cluster_monitor_home_without_server_is_not_running(
    make_monitor: MonitorFactory,
) -> None:
    clock = FakeClock()
    monitor, cluster = make_monitor(clock)
    assert (cluster.state_at(""), cluster.version) == ((0, None, False), "")
    answered = await monitor.refresh()
    assert [server.zone for server in answered] == ["z1", "z2", "z3"]
    for server in cluster.servers:
        seen = cluster.observation(server.name)
        assert seen is not None
        assert (seen.ob_state, seen.is_known, seen.reason) == (0, True, "the server does not run")
    assert cluster.state_at("").observed_at == clock.now()


async def test_cluster_monitor_refresh_is_cached_for_cache_s(make_monitor: MonitorFactory) -> None:
    clock = FakeClock()
    monitor, cluster = make_monitor(clock)
    await asyncio.gather(*(monitor.refresh() for _ in range(5)))
    first = [cluster.observation(server.name) for server in cluster.servers]
    clock.advance(CACHE_S - 0.1)
    await monitor.refresh()
    assert all(
        cluster.observation(s.name) is o for s, o in zip(cluster.servers, first, strict=True)
    )
    await monitor.refresh(is_now=True)
    second = [cluster.observation(server.name) for server in cluster.servers]
    assert all(new is not old for new, old in zip(second, first, strict=True))
    clock.advance(CACHE_S)
    await monitor.refresh()
    assert {cluster.observation(s.name).observed_at for s in cluster.servers} == {clock.now()}  # type: ignore[union-attr]


async def test_cluster_monitor_dead_host_is_omitted_with_reason(
    make_monitor: MonitorFactory,
) -> None:
    port = free_port()
    monitor, cluster = make_monitor(FakeClock(), z2=port)
    answered = await monitor.refresh()
    assert [server.zone for server in answered] == ["z1", "z3"]
    seen = cluster.observation("127.0.0.1:3002")
    assert seen is not None
    assert not seen.is_known
    assert re.fullmatch(rf"\S+:{port} cannot be reached over SSH: .*; check that .*", seen.reason)
    assert seen.reason.count(str(port)) == 1


async def test_cluster_monitor_hanging_host_does_not_delay_others(
    make_monitor: MonitorFactory,
) -> None:
    silent = asyncio.Event()

    async def accept_silently(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with await asyncio.start_server(accept_silently, "127.0.0.1", 0) as hanging:
        port = hanging.sockets[0].getsockname()[1]
        monitor, cluster = make_monitor(FakeClock(), z1=port)
        answered = await monitor.refresh()
        assert [server.zone for server in answered] == ["z2", "z3"]
        assert cluster.observation("127.0.0.1:3002") is not None
        first = monitor.find_current(cluster.servers[0])
        assert first is not None
        assert not first.is_known
        assert "did not respond within" in first.reason
        assert monitor.find_current(cluster.servers[1]) is cluster.observation("127.0.0.1:3002")
        silent.set()


async def test_cluster_monitor_end_of_process_outranks_running_probe(
    make_monitor: MonitorFactory,
) -> None:
    port = free_port()
    monitor, cluster = make_monitor(FakeClock(), z2=port)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(monitor.refresh(), name="refresh")
        await asyncio.wait([group.create_task(asyncio.to_thread(int), name="start of the probes")])
        monitor.record_process(cluster.servers[1], ProcessState.MISSING)
    assert [server.zone for server in reading.result()] == ["z1", "z2", "z3"]
    seen = cluster.observation("127.0.0.1:3002")
    assert seen is not None
    assert (seen.is_known, seen.reason) == (True, "the server does not run")


@pytest.mark.parametrize(
    ("reported", "is_known"), [(ProcessState.MISSING, True), (ProcessState.UNKNOWN, False)]
)
async def test_cluster_monitor_sign_of_life_corrects_state(
    make_monitor: MonitorFactory, reported: ProcessState, is_known: bool
) -> None:
    """A server that ends before its watch has seen its start changes nothing for the watch."""
    clock = FakeClock()
    monitor, cluster = make_monitor(clock)
    server = cluster.servers[0]
    monitor.record_process(server, reported)
    cluster.record_observation(server.name, Observation(clock.now(), AVAILABLE))
    monitor.record_life([server])
    assert cluster.ob_state == AVAILABLE
    clock.advance(OUTDATED_S)
    monitor.record_life([server])
    seen = cluster.observation(server.name)
    assert seen is not None
    assert (seen.ob_state, seen.is_known) == (0, is_known)


async def test_cluster_monitor_removed_server_is_not_counted(make_monitor: MonitorFactory) -> None:
    monitor, cluster = make_monitor(FakeClock())
    await monitor.refresh()
    entries = yaml.safe_load(cluster.path.read_text())
    del entries["zones"]["z3"]
    cluster.path.write_text(yaml.safe_dump(entries))
    cluster.reload()
    assert [server.zone for server in await monitor.refresh()] == ["z1", "z2"]


@pytest.mark.parametrize("times", [1, 2])
async def test_cluster_monitor_close_cancels_refresh(
    make_monitor: MonitorFactory, times: int
) -> None:
    monitor, _ = make_monitor(FakeClock())
    refreshing = asyncio.create_task(monitor.refresh(), name="refresh")
    await asyncio.sleep(0)
    for _ in range(times):
        await monitor.close()
    refreshing.cancel()
    await asyncio.wait([refreshing])
