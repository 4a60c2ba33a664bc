"""Access to a server's SQL: checks between greeting and proof, and kept connections."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from dagengine.mysql import Connection
from dagengine.remote.command import Command
from dagengine.testing import FakeClock, eventually
from dagengine.testing.local_runner import LocalRunner, LocalRunnerPool
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.observation import AVAILABLE, NOT_CONNECTED
from tasks.cluster.root_password import RootLogins
from tasks.cluster.servers import Server
from tasks.demo.hosts import free_port
from tasks.flavours.select import FLAVOURS
from tasks.hosts.identity import ProcessIdentity
from tasks.hosts.watch import ProcessState
from tasks.monitoring.monitor import CACHE_S, ClusterMonitor
from tasks.sql.access import SqlPeerRefused, SqlSession, open_sql, read_sql_facts
from tasks.sql.connection import SqlNotReady, query_value, query_version
from tests.support.factories import make_server
from tests.support.hostile_cluster import NOBODY
from tests.support.sql_listener import FRIENDLY, ListenerProcess, Recording

PASSWORD = "S3cret-pw"
NO_LOGIN = Recording((b"",))


class CountingRunner(LocalRunner):
    """Counts the identifications; `before` runs ahead of one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.identifications = 0
        self.before: dict[int, object] = {}

    async def run(self, command: Command, *, timeout_s: float):  # type: ignore[no-untyped-def]
        if "dagengine-sql" in command.argv:
            self.identifications += 1
            action = self.before.get(self.identifications)
            if callable(action):
                action()
        return await super().run(command, timeout_s=timeout_s)


class SqlLab:
    """A server that listens, and processes that may take its port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        (self.home / "bin").mkdir(parents=True)
        self.processes: list[ListenerProcess] = []
        self.server = make_server(home=str(self.home), sql_port=free_port(), ip="127.0.0.1")
        self.runner = CountingRunner()
        self.process = self.start_server()

    def start_server(self) -> ListenerProcess:
        """Start a server process in the home; it listens and answers."""
        process = self._start(self.home / "bin/seekdb", self.home)
        process.listen(FRIENDLY, self.server.sql_port)
        return process

    def start_attacker(self, uid: int | None = None) -> ListenerProcess:
        return self._start(None, self.directory, uid=uid)

    def close(self) -> None:
        for process in self.processes:
            process.end()

    async def identity(self) -> ProcessIdentity:
        process = (await read_sql_facts(self.server, LocalRunner())).process
        assert process is not None
        return process

    def _start(
        self, program: Path | None, directory: Path, *, uid: int | None = None
    ) -> ListenerProcess:
        process = ListenerProcess(program, directory, uid=uid)
        self.processes.append(process)
        return process


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SqlLab]:
    opened = SqlLab(tmp_path)
    yield opened
    opened.close()


async def log_in(lab: SqlLab, server: Server | None = None) -> str:
    target = server or lab.server
    async with open_sql(target, lab.runner, PASSWORD, logins=RootLogins()) as connection:
        return await query_version(connection)


# --- races ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["ssh", "direct"])
async def test_login_identifies_twice_and_sends_one_proof(lab: SqlLab, via: str) -> None:
    assert await log_in(lab, replace(lab.server, sql_via=via)) == "1"
    assert lab.runner.identifications == 2
    assert len(lab.process.take_recording().connections) == 1


@pytest.mark.parametrize("via", ["ssh", "direct"])
@pytest.mark.parametrize(
    "uid",
    [
        None,
        pytest.param(
            NOBODY,
            marks=[
                pytest.mark.root,
                pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
            ],
        ),
    ],
)
async def test_login_port_taken_after_greeting_is_refused(
    lab: SqlLab, uid: int | None, via: str
) -> None:
    attacker = lab.start_attacker(uid)

    def swap() -> None:
        lab.process.close_port()
        attacker.listen("clear by switch", lab.server.sql_port)

    lab.runner.before[2] = swap  # the greeting of the server has arrived
    with pytest.raises(SqlPeerRefused, match=f"pid {attacker.pid}"):
        await log_in(lab, replace(lab.server, sql_via=via))
    assert lab.process.take_recording() == NO_LOGIN
    assert attacker.take_recording() == Recording(())


async def test_login_port_taken_before_greeting_is_refused(lab: SqlLab) -> None:
    attacker = lab.start_attacker()
    tunnel = lab.runner.tunnel

    @asynccontextmanager
    async def swapping(host: str, port: int) -> AsyncIterator[Path]:
        lab.process.close_port()
        attacker.listen("clear by switch", lab.server.sql_port)
        async with tunnel(host, port) as path:
            yield path

    lab.runner.tunnel = swapping  # type: ignore[method-assign]
    with pytest.raises(SqlPeerRefused, match=f"pid {attacker.pid}"):
        await log_in(lab)
    assert attacker.take_recording() == NO_LOGIN  # it greeted, and received nothing


async def test_login_server_gone_and_port_taken_is_refused(lab: SqlLab) -> None:
    attacker = lab.start_attacker()

    def swap() -> None:
        lab.process.end()
        attacker.listen("clear by switch", lab.server.sql_port)

    lab.runner.before[2] = swap
    with pytest.raises(SqlPeerRefused, match=r"the server of \S+ was not identified"):
        await log_in(lab)
    assert attacker.take_recording() == Recording(())


async def test_login_port_taken_by_other_server_process_is_refused(lab: SqlLab) -> None:
    second: list[ListenerProcess] = []

    def restart() -> None:
        lab.process.end()
        second.append(lab.start_server())

    lab.runner.before[2] = restart
    with pytest.raises(SqlPeerRefused, match="another server process has taken the SQL port"):
        await log_in(lab)
    assert second[0].take_recording() == Recording(())


async def test_login_port_shared_with_other_process_is_refused(lab: SqlLab) -> None:
    """The server listens on one address of the port and the attacker on another."""
    attacker = lab.start_attacker()
    attacker.listen("clear by switch", lab.server.sql_port, address="127.0.0.2")
    with pytest.raises(SqlPeerRefused, match=f"pid {attacker.pid}"):
        await log_in(lab)
    assert lab.process.take_recording() == Recording(())


async def test_login_nothing_listens_is_not_ready(lab: SqlLab) -> None:
    lab.process.close_port()
    with pytest.raises(SqlNotReady, match="nothing listens") as caught:
        await log_in(lab)
    assert not isinstance(caught.value, SqlPeerRefused)


# --- connections that are kept -------------------------------------------------------------------


def open_session(lab: SqlLab) -> SqlSession:
    return SqlSession(lab.server, lab.runner, RootLogins())


async def use(session: SqlSession, process: ProcessIdentity, password: str) -> Connection:
    connection = await session.connect(process, password)
    assert await query_value(connection, "select 1") == "1"
    return connection


async def test_session_used_twice_logs_in_once(lab: SqlLab) -> None:
    session, process = open_session(lab), await lab.identity()
    first = await use(session, process, PASSWORD)
    assert await use(session, process, PASSWORD) is first
    assert lab.runner.identifications == 2  # before the connection, and before the login
    assert len(lab.process.take_recording().connections) == 1
    await session.close()


async def test_session_other_password_logs_in_again(lab: SqlLab) -> None:
    session, process = open_session(lab), await lab.identity()
    first = await use(session, process, PASSWORD)
    assert await use(session, process, "another") is not first
    assert not first.is_open
    assert len(lab.process.take_recording().connections) == 2
    await session.close()


async def test_session_restarted_server_is_identified_again(lab: SqlLab) -> None:
    session = open_session(lab)
    await use(session, await lab.identity(), PASSWORD)
    lab.process.end()
    second = lab.start_server()
    await use(session, await lab.identity(), PASSWORD)
    assert lab.runner.identifications == 4
    assert len(second.take_recording().connections) == 1
    await session.close()


async def test_session_lost_connection_is_opened_again(lab: SqlLab) -> None:
    session, process = open_session(lab), await lab.identity()
    first = await use(session, process, PASSWORD)
    lab.process.close_port()
    lab.process.listen(FRIENDLY, lab.server.sql_port)
    with pytest.raises(SqlNotReady):
        await query_value(first, "select 1")  # returns once the end has arrived
    await use(session, process, PASSWORD)
    await session.close()


async def test_session_port_taken_later_is_refused(lab: SqlLab) -> None:
    session, process = open_session(lab), await lab.identity()
    await use(session, process, PASSWORD)
    attacker = lab.start_attacker()
    lab.process.close_port()
    attacker.listen("clear by switch", lab.server.sql_port)
    await session.close()
    with pytest.raises(SqlPeerRefused, match=f"pid {attacker.pid}"):
        await session.connect(process, PASSWORD)
    assert attacker.take_recording() == Recording(())


@dataclass(frozen=True)
class Monitored:
    """A monitor of the server of the lab."""

    monitor: ClusterMonitor
    access: ClusterAccess
    clock: FakeClock


def set_limits(monkeypatch: pytest.MonkeyPatch, limit_s: float) -> None:
    """Set the limits of the monitor on a probe of one server and of all servers."""
    for limit in ("WITHIN_S", "_CALL_S"):
        monkeypatch.setattr(f"tasks.monitoring.monitor.{limit}", limit_s)


@pytest_asyncio.fixture
async def monitored(
    lab: SqlLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Monitored]:
    """Return a monitor of the server of the lab, without limits that a busy machine exceeds."""
    monkeypatch.setenv("DAGENGINE_ROOT_PASSWORD", PASSWORD)
    set_limits(monkeypatch, 60.0)
    file = tmp_path / "cluster.yaml"
    server = lab.server
    file.write_text(
        f"name: x\nid: 1\nflavour: seekdb\nroot_password_env: DAGENGINE_ROOT_PASSWORD\n"
        f"zones: {{z1: [{{ip: 127.0.0.1, sql_port: {server.sql_port}, home: {server.home}}}]}}\n"
    )
    clock = FakeClock()
    access = ClusterAccess(ClusterFile(file, FLAVOURS), LocalRunnerPool(), clock)
    monitor = ClusterMonitor(access)
    yield Monitored(monitor, access, clock)
    await monitor.close()


async def test_cluster_monitor_logs_in_once_per_server_process(
    lab: SqlLab, monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor, cluster, clock = monitored.monitor, monitored.access.cluster, monitored.clock
    name = cluster.servers[0].name

    async def refresh_state() -> int:
        clock.advance(CACHE_S)
        await monitor.refresh()
        seen = cluster.observation(name)
        assert seen is not None
        return seen.ob_state

    assert [await refresh_state(), await refresh_state(), await refresh_state()] == [3, 3, 3]
    assert len(lab.process.take_recording().connections) == 1
    lab.process.end()
    second = lab.start_server()
    assert [await refresh_state(), await refresh_state()] == [3, 3]
    assert len(second.take_recording().connections) == 1
    monkeypatch.setenv("DAGENGINE_ROOT_PASSWORD", "another")
    assert [await refresh_state(), await refresh_state()] == [3, 3]
    assert len(second.take_recording().connections) == 2  # the first one was kept until now


async def test_cluster_monitor_life_notices_server_without_sql(
    lab: SqlLab, monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor, cluster = monitored.monitor, monitored.access.cluster
    server = cluster.servers[0]
    await monitor.refresh()
    monitor.record_process(server, ProcessState.RUNNING)
    pid = lab.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        set_limits(monkeypatch, 2.0)
        monitor.record_life([server])  # its state is younger than the interval of full probes

        async def is_without_sql() -> bool:
            seen = cluster.observation(server.name)
            return seen is not None and seen.ob_state < AVAILABLE

        await eventually(is_without_sql, timeout_s=20, what="the state of a frozen server")
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_cluster_monitor_life_opens_closed_connection(
    lab: SqlLab, monitored: Monitored
) -> None:
    monitor, cluster = monitored.monitor, monitored.access.cluster
    server = cluster.servers[0]
    await monitor.refresh()
    assert len(lab.process.take_recording().connections) == 1
    monitor.record_process(server, ProcessState.RUNNING)
    lab.process.close_port()
    lab.process.listen(FRIENDLY, lab.server.sql_port)

    async def has_new_connection() -> bool:
        monitor.record_life([server])
        return len(lab.process.take_recording().connections) > 0

    await eventually(has_new_connection, timeout_s=20, what="a connection after a lost one")
    assert cluster.ob_state == AVAILABLE


async def test_cluster_monitor_followed_start_is_not_probed(
    lab: SqlLab, monitored: Monitored
) -> None:
    monitor, cluster = monitored.monitor, monitored.access.cluster
    server = cluster.servers[0]
    with monitored.access.starts.follow(server.name):
        monitor.record_process(server, ProcessState.RUNNING)
        seen = cluster.observation(server.name)
        assert seen is not None
        assert (seen.ob_state, seen.reason) == (NOT_CONNECTED, "its start is in progress")
    assert lab.process.take_recording().connections == ()

    async def is_available() -> bool:
        return cluster.ob_state == AVAILABLE

    await eventually(is_available, timeout_s=20, what="a probe after the step")
