"""Hosts behind a bastion: one connection to it for all, keys checked on every hop, own errors."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from dagengine.errors import (
    AuthenticationFailed,
    ConnectionLost,
    HostKeyRejected,
    HostUnreachable,
    RemoteError,
)
from dagengine.remote.command import Command
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.pool import SshPool
from dagengine.runtime.clock import SystemClock
from tests.sshd import MISSING, Sshd, SshLab, open_lab

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest_asyncio.fixture
async def lab(tmp_path: Path) -> AsyncIterator[SshLab]:
    async with open_lab(tmp_path) as lab:
        yield lab


async def say_hello(pool: SshPool, address: HostAddress) -> str:
    result = await pool.runner(address).run(Command(("echo", "hello")), timeout_s=30)
    return result.stdout


async def trouble(pool: SshPool, address: HostAddress) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        await say_hello(pool, address)
    return caught.value


async def behind(lab: SshLab, bastion: Sshd, count: int = 1, **fields: object) -> list[HostAddress]:
    """Started hosts that are reached through the bastion, with a key that both let in."""
    hosts = [await lab.sshd() for _ in range(count)]
    key = await lab.key("key")
    lab.let_in(key, bastion, *hosts)
    jump = lab.address(bastion, key_file=key, **fields)
    return [lab.address(host, key_file=key, jump=jump, **fields) for host in hosts]


async def test_all_hosts_behind_a_bastion_share_one_connection_to_it(lab, ssh_pool):
    bastion = await lab.sshd()
    addresses = await behind(lab, bastion, 4)
    async with asyncio.TaskGroup() as group:
        said = [
            group.create_task(say_hello(ssh_pool, address), name=f"hello {n}{address}")
            for address in addresses
            for n in range(3)
        ]
    assert {task.result() for task in said} == {"hello\n"}
    assert bastion.logins() == 1
    assert [sshd.logins() for sshd in lab.made] == [1, 1, 1, 1, 1]


async def test_the_way_to_a_host_may_lead_over_two_bastions(lab, ssh_pool):
    outer, inner, host = [await lab.sshd() for _ in range(3)]
    key = await lab.key("key")
    lab.let_in(key, outer, inner, host)
    way = lab.address(inner, key_file=key, jump=lab.address(outer, key_file=key))
    assert await say_hello(ssh_pool, lab.address(host, key_file=key, jump=way)) == "hello\n"
    assert (outer.logins(), inner.logins(), host.logins()) == (1, 1, 1)


async def test_a_tunnel_goes_through_the_bastion(lab, ssh_pool):
    bastion = await lab.sshd()
    (address,) = await behind(lab, bastion)

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hi")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with ssh_pool.runner(address).tunnel("127.0.0.1", port) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            assert await reader.read() == b"hi"
            writer.close()


async def test_the_host_key_is_checked_on_every_hop(lab, ssh_pool):
    bastion = await lab.sshd()
    (address,) = await behind(lab, bastion)
    assert address.jump is not None
    good = lab.known_hosts.read_text()
    lines = good.splitlines(keepends=True)

    lab.known_hosts.write_text(lines[0])  # the bastion's alone
    error = await trouble(ssh_pool, address)
    assert isinstance(error, HostKeyRejected)
    assert error.host == str(address)
    assert f"the host key of {address} is unknown" in error.message

    lab.known_hosts.write_text(lines[1])  # the host's alone
    pool = SshPool(SystemClock(), Random(2))  # one that has no connection to the bastion yet
    error = await trouble(pool, address)
    assert isinstance(error, HostKeyRejected)
    assert error.host == str(address.jump)
    assert f"the bastion of {address} cannot be used" in error.message
    assert f"the host key of {address.jump} is unknown" in error.message
    lab.known_hosts.write_text(good)
    assert await say_hello(pool, address) == "hello\n"
    await pool.close()


async def test_a_refused_login_names_the_hop_that_refused(lab, ssh_pool):
    bastion = await lab.sshd()
    host = await lab.sshd()
    key, other = await lab.key("key"), await lab.key("other")
    lab.let_in(key, bastion)
    address = lab.address(host, key_file=other, jump=lab.address(bastion, key_file=key))
    error = await trouble(ssh_pool, address)
    assert isinstance(error, AuthenticationFailed)
    assert error.host == str(address)

    locked_out = lab.address(host, key_file=key, jump=lab.address(bastion, key_file=other))
    error = await trouble(ssh_pool, locked_out)
    assert isinstance(error, AuthenticationFailed)
    assert error.host == str(locked_out.jump)
    assert f"the bastion of {locked_out} cannot be used" in error.message


async def test_a_bastion_that_is_down_and_a_host_that_is_down_behind_it_differ(lab, ssh_pool):
    bastion = await lab.sshd()
    (address,) = await behind(lab, bastion)
    await lab.made[1].stop()
    error = await trouble(ssh_pool, address)
    assert isinstance(error, HostUnreachable)
    assert f"the bastion {address.jump} cannot connect to {address}" in error.message
    assert "refused" in error.message
    assert bastion.logins() == 1  # and it is kept: it did its part
    await trouble(ssh_pool, address)
    assert bastion.logins() == 1

    await bastion.stop()
    error = await trouble(ssh_pool, address)
    assert isinstance(error, HostUnreachable)
    assert f"{address.jump} cannot be reached" in error.message


async def test_a_bastion_that_forwards_nothing_is_told_as_such(lab, ssh_pool):
    bastion = await lab.sshd("AllowTcpForwarding no")
    (address,) = await behind(lab, bastion)
    error = await trouble(ssh_pool, address)
    assert f"the bastion {address.jump} does not forward connections to {address}" in error.message
    assert "AllowTcpForwarding" in error.remedy


async def test_a_bastion_that_runs_no_command_serves_all_the_same(lab, ssh_pool):
    bastion = await lab.sshd("ForceCommand /bin/false", "PermitTTY no", "MaxSessions 0")
    (address,) = await behind(lab, bastion)
    assert await say_hello(ssh_pool, address) == "hello\n"


async def test_after_the_bastion_broke_and_came_back_everything_goes_on(lab, ssh_pool):
    bastion = await lab.sshd()
    addresses = await behind(lab, bastion, 2)
    for address in addresses:
        await say_hello(ssh_pool, address)
    bastion.signal(signal.SIGKILL, listener=False)
    async with asyncio.TaskGroup() as group:
        for address in addresses:
            group.create_task(say_again(ssh_pool, address), name=f"again {address}")
    assert bastion.logins() == 2


async def say_again(pool: SshPool, address: HostAddress) -> None:
    """A command that was under way as the connection broke is lost; the next one is not."""
    try:
        assert await say_hello(pool, address) == "hello\n"
    except ConnectionLost:
        assert await say_hello(pool, address) == "hello\n"


async def test_a_frozen_bastion_is_named_and_not_asked_again_over_the_same_connection(
    lab, ssh_pool
):
    bastion = await lab.sshd()
    (address,) = await behind(lab, bastion, connect_timeout_s=1.0)
    assert address.jump is not None
    await ssh_pool.runner(address.jump).run(Command(("true",)), timeout_s=30)
    bastion.signal(signal.SIGSTOP, listener=False)
    error = await trouble(ssh_pool, address)
    assert isinstance(error, HostUnreachable)
    assert f"the bastion {address.jump} of {address} no longer responds" in error.message
    assert await say_hello(ssh_pool, address) == "hello\n"
    bastion.signal(signal.SIGCONT, listener=False)


async def test_a_host_that_swallows_packets_behind_a_bastion_keeps_the_bastion(lab, ssh_pool):
    """A listener whose queue is full: connecting to it gets no answer at all."""
    bastion = await lab.sshd()
    (address,) = await behind(lab, bastion, connect_timeout_s=1.0)
    host = lab.made[1]
    host.signal(signal.SIGSTOP)
    error = await trouble(ssh_pool, address)
    host.signal(signal.SIGCONT)
    host_and_bastion = f"{address} (through the bastion {address.jump})"
    assert f"{host_and_bastion} did not complete an SSH login within 1 s" in error.message
    assert await say_hello(ssh_pool, address) == "hello\n"
    assert bastion.logins() == 1
