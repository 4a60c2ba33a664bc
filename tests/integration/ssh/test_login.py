"""Logins with passphrases, agents, certificates, hashed names and bastions."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
import pytest_asyncio

from dagengine.errors import (
    AuthenticationFailed,
    HostKeyRejected,
    HostUnreachable,
)
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.host_keys import HostKeys
from dagengine.remote.ssh.pool import SshPool
from tests.support.sshd import MISSING, Sshd, SshLab, echo_hello, open_lab, run, user_name

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

PASSPHRASE = "open, 芝麻!"
VARIABLE = "TEST_KEY_PASSPHRASE"


@pytest_asyncio.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SshLab]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    async with open_lab(tmp_path) as lab:
        yield lab


async def auth_error_text(pool: SshPool, address: HostAddress) -> str:
    with pytest.raises(AuthenticationFailed) as caught:
        await echo_hello(pool, address)
    assert PASSPHRASE not in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


# --- a key with a passphrase ------------------------------------------------------------------


async def test_key_passphrase_is_read_from_variable_or_file(lab, ssh_pool, monkeypatch):
    host = await lab.sshd()
    key = await lab.key("locked", "-N", PASSPHRASE)
    lab.let_in(key, host)
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    by_variable = lab.address(host, key_file=key, key_passphrase_env=VARIABLE)
    assert await echo_hello(ssh_pool, by_variable) == "hello\n"

    file = lab.directory / "passphrase"
    file.write_text(f"{PASSPHRASE}\r\nsecond line\n")
    by_file = lab.address(host, key_file=key, key_passphrase_file=file)
    assert await echo_hello(ssh_pool, by_file) == "hello\n"


async def test_client_keys_locked_key_is_opened_once(lab, ssh_pool, monkeypatch):
    hosts = [await lab.sshd() for _ in range(3)]
    key = await lab.key("locked", "-N", PASSPHRASE)
    lab.let_in(key, *hosts)
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    opened = []
    read_private_key = asyncssh.read_private_key

    def record_read(file, *passphrase):
        opened.append(Path(file))
        return read_private_key(file, *passphrase)

    monkeypatch.setattr(asyncssh, "read_private_key", record_read)
    async with asyncio.TaskGroup() as group:
        for host in hosts:
            address = lab.address(host, key_file=key, key_passphrase_env=VARIABLE)
            group.create_task(echo_hello(ssh_pool, address), name=f"hello {address}")
    assert opened == [key]


async def test_client_keys_replaced_key_is_read_again(lab, ssh_pool):
    host = await lab.sshd()
    key = await lab.key("key")
    address = lab.address(host, key_file=key)
    assert "was rejected" in await auth_error_text(ssh_pool, address)
    other = await lab.key("other")
    lab.let_in(other, host)
    other.replace(key)
    assert await echo_hello(ssh_pool, address) == "hello\n"


async def test_key_passphrase_error_is_named_without_value(lab, ssh_pool, monkeypatch):
    host = await lab.sshd()
    key = await lab.key("locked", "-N", PASSPHRASE)
    lab.let_in(key, host)
    message = await auth_error_text(ssh_pool, lab.address(host, key_file=key))
    assert f"{key} for {user_name()}@{host.ip}:{host.port} is locked with a passphrase" in message
    assert "ssh.key_passphrase_env" in message
    by_variable = lab.address(host, key_file=key, key_passphrase_env=VARIABLE)
    assert f"the variable {VARIABLE} is not set" in await auth_error_text(ssh_pool, by_variable)
    monkeypatch.setenv(VARIABLE, f"{PASSPHRASE} ")
    assert f"passphrase for the key file {key}" in await auth_error_text(ssh_pool, by_variable)

    file = lab.directory / "passphrase"
    by_file = lab.address(host, key_file=key, key_passphrase_file=file)
    assert f"cannot read {file}" in await auth_error_text(ssh_pool, by_file)
    file.write_bytes(b"\n")
    assert f"first line of {file} is empty" in await auth_error_text(ssh_pool, by_file)
    file.write_bytes(PASSPHRASE.encode("utf-16"))
    assert f"{file} is not UTF-8" in await auth_error_text(ssh_pool, by_file)


async def test_key_passphrase_for_unlocked_key_is_ignored(lab, ssh_pool, monkeypatch):
    host = await lab.sshd()
    key = await lab.key("key")
    lab.let_in(key, host)
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    address = lab.address(host, key_file=key, key_passphrase_env=VARIABLE)
    assert await echo_hello(ssh_pool, address) == "hello\n"


# --- an agent ---------------------------------------------------------------------------------


async def test_ssh_agent_signs_with_its_keys(lab, ssh_pool, monkeypatch):
    host = await lab.sshd()
    key = await lab.key("key")
    lab.let_in(key, host)
    socket = await lab.agent(key)
    key.unlink()
    assert await echo_hello(ssh_pool, lab.address(host, agent=socket)) == "hello\n"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    assert await echo_hello(ssh_pool, lab.address(host, agent=True)) == "hello\n"


async def test_ssh_agent_key_file_selects_key(lab, ssh_pool):
    host = await lab.sshd("MaxAuthTries 2")
    keys = [await lab.key(f"key{n}") for n in range(8)]
    lab.let_in(keys[-1], host)
    socket = await lab.agent(*keys)
    for key in keys:
        key.unlink()
    assert await echo_hello(ssh_pool, lab.address(host, agent=socket, key_file=keys[-1])) == (
        "hello\n"
    )
    public = Path(f"{keys[-1]}.pub")
    assert await echo_hello(ssh_pool, lab.address(host, agent=socket, key_file=public)) == "hello\n"


async def test_ssh_agent_is_used_only_when_configured(lab, ssh_pool, monkeypatch):
    host = await lab.sshd()
    held, other = await lab.key("held"), await lab.key("other")
    lab.let_in(held, host)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(await lab.agent(held)))
    message = await auth_error_text(ssh_pool, lab.address(host, key_file=other))
    assert f"was rejected with {other}" in message


async def test_ssh_agent_errors_are_named(lab, ssh_pool, monkeypatch):
    host = await lab.sshd()
    key, absent = await lab.key("key"), await lab.key("absent")
    assert "SSH_AUTH_SOCK is not set" in await auth_error_text(
        ssh_pool, lab.address(host, agent=True)
    )
    nowhere = lab.directory / "nowhere"
    message = await auth_error_text(ssh_pool, lab.address(host, agent=nowhere))
    assert f"the ssh agent at {nowhere} does not respond" in message
    socket = await lab.agent()
    assert "does not hold a key" in await auth_error_text(ssh_pool, lab.address(host, agent=socket))
    await run("ssh-add", "-q", str(key), SSH_AUTH_SOCK=str(socket))
    message = await auth_error_text(ssh_pool, lab.address(host, agent=socket, key_file=absent))
    assert f"does not hold the key {absent}" in message
    message = await auth_error_text(ssh_pool, lab.address(host, agent=socket, key_file=nowhere))
    assert f"neither {nowhere} nor {nowhere}.pub is a public key" in message
    message = await auth_error_text(ssh_pool, lab.address(host, agent=socket))
    assert "was rejected with any key of the ssh agent" in message


# --- certificates -----------------------------------------------------------------------------


async def sign(lab: SshLab, authority: Path, key: Path, *options: str) -> None:
    await run("ssh-keygen", "-q", "-s", str(authority), "-I", "id", *options, f"{key}.pub")


async def test_user_certificate_beside_key_is_used(lab, ssh_pool):
    authority, key = await lab.key("authority"), await lab.key("key")
    host = await lab.sshd(f"TrustedUserCAKeys {authority}.pub")
    address = lab.address(host, key_file=key)
    await auth_error_text(ssh_pool, address)
    await sign(lab, authority, key, "-n", user_name())
    assert await echo_hello(ssh_pool, address) == "hello\n"
    assert "Accepted certificate" in host.log() or "CA ED25519" in host.log()


async def test_user_certificate_works_with_agent_key(lab, ssh_pool):
    authority, key = await lab.key("authority"), await lab.key("key")
    host = await lab.sshd(f"TrustedUserCAKeys {authority}.pub")
    socket = await lab.agent(key)
    await sign(lab, authority, key, "-n", user_name())
    key.unlink()
    assert await echo_hello(ssh_pool, lab.address(host, agent=socket, key_file=key)) == "hello\n"


async def test_user_certificate_expired_is_refused_and_named(lab, ssh_pool):
    authority, key = await lab.key("authority"), await lab.key("key")
    host = await lab.sshd(f"TrustedUserCAKeys {authority}.pub")
    await sign(lab, authority, key, "-n", user_name(), "-V", "20200101:20200102")
    message = await auth_error_text(ssh_pool, lab.address(host, key_file=key))
    assert f"the certificate {key}-cert.pub" in message
    assert "may have expired" in message
    Path(f"{key}-cert.pub").write_text("nonsense")
    message = await auth_error_text(ssh_pool, lab.address(host, key_file=key))
    assert f"the certificate {key}-cert.pub" in message
    assert "cannot be used" in message


async def start_certified_sshd(lab: SshLab, authority: Path, *options: str) -> Sshd:
    """An sshd with a host certificate, trusted by nothing but its authority."""
    host = await lab.sshd(known=False)
    await host.stop()
    await sign(lab, authority, host.directory / "host_key", "-h", *options)
    host.lines = (f"HostCertificate {host.directory}/host_key-cert.pub",)
    await host.start()
    public = Path(f"{authority}.pub").read_text()
    lab.known_hosts.write_text(f"@cert-authority [127.0.0.*]:* {public}")
    return host


async def test_host_certificate_of_trusted_authority_is_accepted(lab, ssh_pool):
    authority, key = await lab.key("authority"), await lab.key("key")
    host = await start_certified_sshd(lab, authority, "-n", "127.0.0.1")
    lab.let_in(key, host)
    assert await echo_hello(ssh_pool, lab.address(host, key_file=key)) == "hello\n"


@pytest.mark.parametrize(
    "options", [("-n", "elsewhere"), ("-n", "127.0.0.1", "-V", "20200101:20200102")]
)
async def test_host_certificate_of_other_name_or_time_is_refused(lab, ssh_pool, options):
    authority, key = await lab.key("authority"), await lab.key("key")
    host = await start_certified_sshd(lab, authority, *options)
    lab.let_in(key, host)
    with pytest.raises(HostKeyRejected, match="not certified by the authority"):
        await echo_hello(ssh_pool, lab.address(host, key_file=key))


# --- known_hosts ------------------------------------------------------------------------------


async def test_known_hosts_hashed_names_are_matched(lab, ssh_pool):
    host, other = await lab.sshd(), await lab.sshd(known=False)
    key = await lab.key("key")
    lab.let_in(key, host, other)
    await run("ssh-keygen", "-q", "-H", "-f", str(lab.known_hosts))
    assert host.ip not in lab.known_hosts.read_text()
    assert await echo_hello(ssh_pool, lab.address(host, key_file=key)) == "hello\n"
    with pytest.raises(HostKeyRejected, match=f"{other.port} is unknown"):
        await echo_hello(ssh_pool, lab.address(other, key_file=key))


async def test_known_hosts_change_applies_at_once(lab, ssh_pool):
    host, key = await lab.sshd(known=False), await lab.key("key")
    lab.let_in(key, host)
    address = lab.address(host, key_file=key)
    with pytest.raises(HostKeyRejected, match="dagengine hosts trust"):
        await echo_hello(ssh_pool, address)
    lab.trust(host)
    assert await echo_hello(ssh_pool, address) == "hello\n"


async def test_known_hosts_revoked_or_changed_key_is_refused(lab, ssh_pool):
    host, key, other = await lab.sshd(), await lab.key("key"), await lab.key("other")
    lab.let_in(key, host)
    good = lab.known_hosts.read_text()
    lab.known_hosts.write_text(f"{good}@revoked {good}")
    with pytest.raises(HostKeyRejected, match="is marked @revoked in"):
        await echo_hello(ssh_pool, lab.address(host, key_file=key))
    lab.known_hosts.write_text(f"{host.name} {Path(f'{other}.pub').read_text()}")
    with pytest.raises(HostKeyRejected, match="is not the one in"):
        await echo_hello(ssh_pool, lab.address(host, key_file=key))


# --- the user of the controller -----------------------------------------------------------------


async def test_login_ignores_certificates_in_home(lab, ssh_pool, monkeypatch):
    """A controller's behaviour must not depend on who started it."""
    host = await lab.sshd()
    key = await lab.key("key")
    lab.let_in(key, host)
    home = lab.directory / "home"
    (home / ".ssh" / "crt").mkdir(parents=True)
    (home / ".ssh" / "ca-bundle.crt").write_text("no certificate\n")
    monkeypatch.setenv("HOME", str(home))
    assert await echo_hello(ssh_pool, lab.address(host, key_file=key)) == "hello\n"


async def test_user_without_name_is_explained(lab, ssh_pool, monkeypatch):
    """As in a container that runs as a uid without an entry in /etc/passwd."""
    host = await lab.sshd()
    key = await lab.key("key")
    lab.let_in(key, host)
    address = lab.address(host, key_file=key)
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    with pytest.raises(HostUnreachable, match=f"uid {os.getuid()}, has no name") as caught:
        await echo_hello(ssh_pool, address)
    assert "set USER in the environment" in caught.value.remedy
    with pytest.raises(HostUnreachable, match="has no name"):
        await HostKeys(ssh_pool).look(address)


async def test_default_known_hosts_without_home_is_explained(lab, ssh_pool, monkeypatch):
    host = await lab.sshd()
    key = await lab.key("key")
    lab.let_in(key, host)
    address = replace(lab.address(host, key_file=key), known_hosts=None)
    monkeypatch.setenv("USER", "root")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    with pytest.raises(HostKeyRejected, match=r"home directory in ~/\.ssh/known_hosts") as caught:
        await echo_hello(ssh_pool, address)
    assert "set HOME" in caught.value.remedy
