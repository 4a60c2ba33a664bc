"""Hosts behind a bastion: one shared connection, host keys on every hop, distinct errors."""

from __future__ import annotations

import asyncio
import signal
from random import Random

import pytest

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
from dagengine.testing import eventually
from tests.support.sshd import MISSING, Sshd, SshLab, echo_hello

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


async def connection_error(pool: SshPool, address: HostAddress) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        await echo_hello(pool, address)
    return caught.value


async def start_hosts_behind(
    lab: SshLab, bastion: Sshd, count: int = 1, **fields: object
) -> list[HostAddress]:
    """Started hosts that are reached through the bastion, with a key that both let in."""
    hosts = [await lab.sshd() for _ in range(count)]
    key = await lab.key("key")
    lab.let_in(key, bastion, *hosts)
    jump = lab.address(bastion, key_file=key, **fields)
    return [lab.address(host, key_file=key, jump=jump, **fields) for host in hosts]


async def test_bastion_connection_is_shared_by_all_hosts(lab, ssh_pool):
    bastion = await lab.sshd()
    addresses = await start_hosts_behind(lab, bastion, 4)
    async with asyncio.TaskGroup() as group:
        echoes = [
            group.create_task(echo_hello(ssh_pool, address), name=f"hello {n}{address}")
            for address in addresses
            for n in range(3)
        ]
    assert {task.result() for task in echoes} == {"hello\n"}
    assert bastion.logins() == 1
    assert [sshd.logins() for sshd in lab.made] == [1, 1, 1, 1, 1]


async def test_bastion_behind_bastion_reaches_host(lab, ssh_pool):
    outer, inner, host = [await lab.sshd() for _ in range(3)]
    key = await lab.key("key")
    lab.let_in(key, outer, inner, host)
    inner_address = lab.address(inner, key_file=key, jump=lab.address(outer, key_file=key))
    assert (
        await echo_hello(ssh_pool, lab.address(host, key_file=key, jump=inner_address)) == "hello\n"
    )
    assert (outer.logins(), inner.logins(), host.logins()) == (1, 1, 1)


async def test_tunnel_through_bastion_connects(lab, ssh_pool):
    bastion = await lab.sshd()
    (address,) = await start_hosts_behind(lab, bastion)

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


async def test_host_key_is_checked_on_every_hop(lab, ssh_pool):
    bastion = await lab.sshd()
    (address,) = await start_hosts_behind(lab, bastion)
    assert address.jump is not None
    good = lab.known_hosts.read_text()
    lines = good.splitlines(keepends=True)

    lab.known_hosts.write_text(lines[0])  # the bastion's alone
    error = await connection_error(ssh_pool, address)
    assert isinstance(error, HostKeyRejected)
    assert error.host == str(address)
    assert f"the host key of {address} is unknown" in error.message

    lab.known_hosts.write_text(lines[1])  # the host's alone
    pool = SshPool(SystemClock(), Random(2))  # one that has no connection to the bastion yet
    error = await connection_error(pool, address)
    assert isinstance(error, HostKeyRejected)
    assert error.host == str(address.jump)
    assert f"the bastion of {address} cannot be used" in error.message
    assert f"the host key of {address.jump} is unknown" in error.message
    lab.known_hosts.write_text(good)
    assert await echo_hello(pool, address) == "hello\n"
    await pool.close()


async def test_login_refused_names_refusing_hop(lab, ssh_pool):
    bastion = await lab.sshd()
    host = await lab.sshd()
    key, other = await lab.key("key"), await lab.key("other")
    lab.let_in(key, bastion)
    address = lab.address(host, key_file=other, jump=lab.address(bastion, key_file=key))
    error = await connection_error(ssh_pool, address)
    assert isinstance(error, AuthenticationFailed)
    assert error.host == str(address)

    locked_out = lab.address(host, key_file=key, jump=lab.address(bastion, key_file=other))
    error = await connection_error(ssh_pool, locked_out)
    assert isinstance(error, AuthenticationFailed)
    assert error.host == str(locked_out.jump)
    assert f"the bastion of {locked_out} cannot be used" in error.message


async def test_bastion_down_and_host_down_raise_different_errors(lab, ssh_pool):
    bastion = await lab.sshd()
    (address,) = await start_hosts_behind(lab, bastion)
    await lab.made[1].stop()
    error = await connection_error(ssh_pool, address)
    assert isinstance(error, HostUnreachable)
    assert f"the bastion {address.jump} cannot connect to {address}" in error.message
    assert "refused" in error.message
    assert bastion.logins() == 1  # and the connection is kept
    await connection_error(ssh_pool, address)
    assert bastion.logins() == 1

    await bastion.stop()

    async def is_named() -> bool:
        error = await connection_error(ssh_pool, address)
        return (
            isinstance(error, HostUnreachable)
            and f"{address.jump} cannot be reached" in error.message
        )

    # Before the client has noticed the end of its connection, the error names the host.
    await eventually(is_named, what="an error that names the bastion")


async def test_bastion_without_forwarding_is_named(lab, ssh_pool):
    bastion = await lab.sshd("AllowTcpForwarding no")
    (address,) = await start_hosts_behind(lab, bastion)
    error = await connection_error(ssh_pool, address)
    assert f"the bastion {address.jump} does not forward connections to {address}" in error.message
    assert "AllowTcpForwarding" in error.remedy


async def test_bastion_without_commands_still_forwards(lab, ssh_pool):
    bastion = await lab.sshd("ForceCommand /bin/false", "PermitTTY no", "MaxSessions 0")
    (address,) = await start_hosts_behind(lab, bastion)
    assert await echo_hello(ssh_pool, address) == "hello\n"


async def test_bastion_killed_connection_is_replaced(lab, ssh_pool):
    bastion = await lab.sshd()
    addresses = await start_hosts_behind(lab, bastion, 2)
    for address in addresses:
        await echo_hello(ssh_pool, address)
    bastion.signal(signal.SIGKILL, listener=False)
    async with asyncio.TaskGroup() as group:
        for address in addresses:
            group.create_task(echo_after_loss(ssh_pool, address), name=f"again {address}")
    assert bastion.logins() == 2


async def echo_after_loss(pool: SshPool, address: HostAddress) -> None:
    """A command that runs while the connection breaks fails; the next one succeeds."""
    try:
        assert await echo_hello(pool, address) == "hello\n"
    except ConnectionLost:
        assert await echo_hello(pool, address) == "hello\n"


async def test_bastion_frozen_is_named_and_connection_replaced(lab, ssh_pool):
    bastion = await lab.sshd()
    (address,) = await start_hosts_behind(lab, bastion, connect_timeout_s=1.0)
    assert address.jump is not None
    await ssh_pool.runner(address.jump).run(Command(("true",)), timeout_s=30)
    bastion.signal(signal.SIGSTOP, listener=False)
    error = await connection_error(ssh_pool, address)
    assert isinstance(error, HostUnreachable)
    assert f"the bastion {address.jump} of {address} no longer responds" in error.message
    assert await echo_hello(ssh_pool, address) == "hello\n"
    bastion.signal(signal.SIGCONT, listener=False)


async def test_bastion_is_kept_when_host_drops_packets(lab, ssh_pool):
    """A listener whose queue is full: connecting to it gets no answer at all."""
    bastion = await lab.sshd()
    (address,) = await start_hosts_behind(lab, bastion, connect_timeout_s=1.0)
    host = lab.made[1]
    host.signal(signal.SIGSTOP)
    error = await connection_error(ssh_pool, address)
    host.signal(signal.SIGCONT)
    host_and_bastion = f"{address} (through the bastion {address.jump})"
    assert f"{host_and_bastion} did not complete an SSH login within 1 s" in error.message
    assert await echo_hello(ssh_pool, address) == "hello\n"
    assert bastion.logins() == 1
