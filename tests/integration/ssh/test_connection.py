"""Connections that break, freeze or are slow are detected in time and replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random

import psutil
import pytest
import pytest_asyncio

from dagengine.errors import CommandTimedOut, ConnectionLost, HostUnreachable
from dagengine.remote.command import Command, script
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.pool import SshPool
from dagengine.remote.tunnel_socket import private_socket_path
from dagengine.runtime.clock import SystemClock
from dagengine.testing import eventually
from tasks.demo.hosts import DemoHosts, free_port
from tests.support.leftovers import find_leftovers
from tests.support.sshd import MISSING, Sshd, SshLab

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest_asyncio.fixture
async def own_ssh_hosts() -> AsyncIterator[DemoHosts]:
    async with DemoHosts(1) as hosts:
        yield hosts


async def runner_for(lab: SshLab, pool, *lines: str, **fields: object):
    """A host, and a runner that is let in there."""
    host, key = await lab.sshd(*lines), await lab.key("key")
    lab.let_in(key, host)
    return host, pool.runner(lab.address(host, key_file=key, **fields))


async def read_pid(file: Path) -> int:
    """The pid that a command wrote as it began."""

    async def is_written() -> bool:
        return file.exists() and file.read_text().endswith("\n")

    await eventually(is_written, what=f"a pid in {file.name}")
    return int(file.read_text())


def pid_command(file: Path) -> Command:
    return script('echo $$ >"$1"; exec sleep 1000', "busy", str(file))


async def test_keepalive_silent_connection_fails_command(lab, ssh_pool):
    host, runner = await runner_for(lab, ssh_pool, keepalive_interval_s=0.2, keepalive_misses=2)
    assert runner.address.death_bound_s == pytest.approx(0.6)
    pid_file = lab.directory / "pid"
    running = asyncio.create_task(runner.run(pid_command(pid_file), timeout_s=600), name="busy")
    pid = await read_pid(pid_file)
    host.signal(signal.SIGSTOP, listener=False)
    async with asyncio.timeout(60):  # far below the command's own bound
        with pytest.raises(ConnectionLost, match="broke while busy"):
            await running
    psutil.Process(pid).kill()


async def test_keepalive_quiet_command_is_not_interrupted(lab, ssh_pool):
    _, runner = await runner_for(lab, ssh_pool, keepalive_interval_s=0.1, keepalive_misses=1)
    result = await runner.run(script("sleep 1; echo done", "quiet"), timeout_s=60)
    assert result.stdout == "done\n"


async def test_keepalive_frozen_idle_connection_is_replaced(lab, ssh_pool):
    host, runner = await runner_for(lab, ssh_pool, keepalive_interval_s=0.2, keepalive_misses=1)
    await runner.run(Command(("true",)), timeout_s=30)
    host.signal(signal.SIGSTOP, listener=False)
    link = ssh_pool.link(runner.address)

    async def is_given_up() -> bool:
        return not link.is_open

    await eventually(is_given_up)
    assert (await runner.run(Command(("echo", "new")), timeout_s=30)).stdout == "new\n"
    assert host.logins() == 2


@pytest.mark.slow
async def test_close_waits_for_frozen_connections_at_once(lab, ssh_pool):
    host, runner = await runner_for(lab, ssh_pool)
    link = ssh_pool.link(runner.address)
    connections = []
    for _ in range(8):
        connections.append(await link.take())
        link.retire(connections[-1])
    host.signal(signal.SIGSTOP, listener=False)
    async with asyncio.timeout(12):  # one after the other would take 16 s
        await link.close()
    assert all(connection.is_closed() for connection in connections)


async def test_connection_broken_loses_command_and_is_replaced(lab, ssh_pool):
    host, runner = await runner_for(lab, ssh_pool)
    pid_file = lab.directory / "pid"
    running = asyncio.create_task(runner.run(pid_command(pid_file), timeout_s=600), name="busy")
    pid = await read_pid(pid_file)
    host.signal(signal.SIGKILL, listener=False)
    with pytest.raises(ConnectionLost) as lost:
        await running
    assert "check the host before repeating it" in lost.value.remedy
    assert psutil.pid_exists(pid)  # so no command is repeated silently
    psutil.Process(pid).kill()
    assert (await runner.run(Command(("echo", "new")), timeout_s=30)).stdout == "new\n"


async def test_connection_after_sshd_restart_serves_next_command(lab, ssh_pool):
    host, runner = await runner_for(lab, ssh_pool)
    await runner.run(Command(("true",)), timeout_s=30)
    await host.stop()
    await host.start()
    assert (await runner.run(Command(("echo", "new")), timeout_s=30)).stdout == "new\n"


async def test_connect_silent_sshd_times_out(lab, ssh_pool):
    host, runner = await runner_for(lab, ssh_pool, connect_timeout_s=0.5)
    host.signal(signal.SIGSTOP)
    async with asyncio.timeout(30):
        with pytest.raises(HostUnreachable, match=r"within 0\.5 s") as caught:
            await runner.run(Command(("true",)), timeout_s=600)
    assert "no firewall drops packets" in caught.value.remedy
    host.signal(signal.SIGCONT)


async def single_session_runner(lab: SshLab, pool, **fields: object):
    return await runner_for(lab, pool, "MaxSessions 1", **fields)


async def test_max_sessions_one_serializes_commands(lab, ssh_pool):
    host, runner = await single_session_runner(lab, ssh_pool, max_sessions=1)
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(runner.run(Command(("echo", str(n))), timeout_s=60), name=f"echo {n}")
            for n in range(5)
        ]
    assert [task.result().stdout for task in running] == [f"{n}\n" for n in range(5)]
    assert host.logins() == 1


async def test_max_sessions_short_commands_share_one_connection(lab, ssh_pool):
    """sshd counts a session that ends and one that begins at once as two."""
    host, runner = await runner_for(lab, ssh_pool)
    async with asyncio.TaskGroup() as group:
        for n in range(60):
            group.create_task(runner.run(Command(("true",)), timeout_s=60), name=f"true {n}")
    assert (host.logins(), "no more sessions" in host.log()) == (1, False)


async def test_max_sessions_bursts_of_commands_are_never_refused(lab, ssh_pool):
    """Fewer commands than slots end together, and as many as slots begin at that moment."""
    host, runner = await runner_for(lab, ssh_pool)
    for _ in range(8):
        for count in (runner.address.command_sessions - 1, runner.address.command_sessions):
            sleeping = (runner.run(Command(("sleep", "0.05")), timeout_s=60) for _ in range(count))
            await asyncio.gather(*sleeping)
    assert (host.logins(), "no more sessions" in host.log()) == (1, False)


async def test_max_sessions_stream_left_early_counts_until_its_end(lab, ssh_pool):
    host, runner = await single_session_runner(lab, ssh_pool, max_sessions=1)
    async with runner.stream(Command(("sh", "-c", "echo x; sleep 1")), timeout_s=30) as lines:
        assert await lines.read_line() == "x"
    assert (await runner.run(Command(("echo", "y")), timeout_s=30)).stdout == "y\n"
    assert (host.logins(), "no more sessions" in host.log()) == (1, False)


@pytest.mark.slow
async def test_max_sessions_command_that_stays_costs_connection(lab, ssh_pool):
    """A command that ignores the end of its stream does not occupy the only session for good."""
    host, runner = await single_session_runner(lab, ssh_pool, max_sessions=1)
    async with runner.stream(Command(("sh", "-c", "echo x; sleep 30")), timeout_s=30) as lines:
        assert await lines.read_line() == "x"
    assert (await runner.run(Command(("echo", "y")), timeout_s=30)).stdout == "y\n"
    assert (host.logins(), "no more sessions" in host.log()) == (2, False)


async def test_max_sessions_one_ends_command_over_new_connection(lab, ssh_pool):
    host, runner = await single_session_runner(lab, ssh_pool, max_sessions=1)
    pid_file = lab.directory / "pid"
    with pytest.raises(CommandTimedOut) as caught:
        await runner.run(pid_command(pid_file), timeout_s=1.5)
    assert caught.value.confirmed_ended
    assert not is_alive(await read_pid(pid_file))
    assert host.logins() == 2


async def test_max_sessions_exhausted_commands_are_still_ended(lab, ssh_pool):
    _, runner = await single_session_runner(lab, ssh_pool)
    pid_file = lab.directory / "pid"
    holding = asyncio.create_task(runner.run(pid_command(pid_file), timeout_s=60), name="holding")
    await read_pid(pid_file)
    # The second command gets a connection of its own: now both are full.
    second_file = lab.directory / "second"
    second = asyncio.create_task(runner.run(pid_command(second_file), timeout_s=60), name="second")
    await read_pid(second_file)
    for task in (holding, second):
        task.cancel()
    await asyncio.gather(holding, second, return_exceptions=True)
    for file in (pid_file, second_file):
        pid = await read_pid(file)

        async def is_ended(pid: int = pid) -> bool:
            return not is_alive(pid)

        # Each end needs a login of its own, for which a busy machine takes its time.
        await eventually(is_ended, timeout_s=30, what=f"the end of {pid}")


async def test_max_sessions_zero_names_configuration_key(lab, ssh_pool):
    _, runner = await runner_for(lab, ssh_pool, "MaxSessions 0")
    with pytest.raises(HostUnreachable, match="does not open a session") as caught:
        await runner.run(Command(("true",)), timeout_s=30)
    assert "ssh.max_sessions" in caught.value.remedy


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_death_bound_s_is_interval_times_misses_plus_one(tmp_path):
    address = SshLab(tmp_path).address(Sshd(tmp_path, "127.0.0.1", 22))
    assert replace(address, keepalive_interval_s=4.0).death_bound_s == 12
    assert address.death_bound_s == 3 * (5 + 0.5)  # such long timers are late by up to 0.5 s


# --- what is left behind ------------------------------------------------------------------------


async def test_find_leftovers_reports_process_lock_and_file(own_ssh_hosts):
    """The check at the end of other tests detects a leftover."""
    host = own_ssh_hosts.hosts[0]
    home = host.directory / "home"
    home.mkdir()
    assert find_leftovers(own_ssh_hosts.directory) == []
    holds = 'exec 9<"$1"; flock 9; : >"$TMPDIR/tmp.x"; echo $$ >"$1/pid"; sleep 1000'
    pool = SshPool(SystemClock(), Random(1))
    address = HostAddress(
        host.ip, host.port, host.user, key_file=host.key_file, known_hosts=host.known_hosts
    )
    runner = pool.runner(address)
    running = asyncio.create_task(
        runner.run(script(holds, "dagengine-busy", str(home)), timeout_s=60), name="busy"
    )
    await read_pid(home / "pid")
    report = " ".join(find_leftovers(own_ssh_hosts.directory))
    for kind in ("process", "dagengine-busy", f"lock on {home}", "file", "tmp.x"):
        assert kind in report
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [what.split()[0] for what in find_leftovers(own_ssh_hosts.directory)] == ["file"]
    await pool.close()


def test_private_socket_path_removes_stale_directory(monkeypatch):
    exited = subprocess.Popen(["true"])
    exited.wait()
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setattr("tempfile.tempdir", directory)
        stale, ours = (Path(directory, f"dagengine-{pid}-abc") for pid in (exited.pid, os.getpid()))
        stale.mkdir()
        ours.mkdir()
        with private_socket_path() as path:
            assert path.parent.parent == Path(directory)
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert (stale.exists(), ours.exists()) == (False, True)
        assert not path.parent.exists()


# --- many hosts at once -------------------------------------------------------------------------


async def test_ssh_pool_silent_hosts_do_not_block_other_logins(lab, ssh_pool):
    """More connections than concurrent logins."""
    _, runner = await runner_for(lab, ssh_pool)

    async def accept_silently(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ends.append(writer)

    open_ends: list[asyncio.StreamWriter] = []
    port = free_port()
    addresses = [f"127.0.0.{n}" for n in range(2, 66)]
    server = await asyncio.start_server(accept_silently, addresses, port)
    silent_addresses = [HostAddress(ip, port, known_hosts=lab.known_hosts) for ip in addresses]
    blocked = [
        asyncio.create_task(
            ssh_pool.runner(address).run(Command(("true",)), timeout_s=600), name=str(address)
        )
        for address in silent_addresses
    ]

    async def all_wait() -> bool:
        return len(open_ends) == len(silent_addresses)

    await eventually(all_wait)
    done = await runner.run(Command(("echo", "served")), timeout_s=60)
    assert done.stdout == "served\n"
    assert not any(task.done() for task in blocked)
    for task in blocked:
        task.cancel()
    await asyncio.gather(*blocked, return_exceptions=True)
    for writer in open_ends:
        writer.close()
    server.close()


async def test_ssh_pool_login_burst_respects_max_startups(lab, ssh_pool):
    """MaxStartups 10 drops connections while ten others are not logged in yet."""
    host, key = await lab.sshd("MaxStartups 10"), await lab.key("key")
    lab.let_in(key, host)
    async with asyncio.TaskGroup() as group:
        for n in range(24):
            # Addresses that differ have connections of their own.
            address = lab.address(host, key_file=key, command_timeout_s=30 + n)
            run = ssh_pool.runner(address).run(Command(("true",)), timeout_s=120)
            group.create_task(run, name=f"true {n}")
    assert host.logins() == 24


async def test_connect_closed_port_and_unknown_name_differ(lab, ssh_pool):
    host, runner = await runner_for(lab, ssh_pool)
    await host.stop()
    with pytest.raises(HostUnreachable, match="cannot be reached over SSH"):
        await runner.run(Command(("true",)), timeout_s=30)
    nowhere = HostAddress("no-such-host.invalid", known_hosts=lab.known_hosts)
    with pytest.raises(HostUnreachable, match=r"no-such-host\.invalid:22 cannot be reached"):
        await ssh_pool.runner(nowhere).run(Command(("true",)), timeout_s=30)
