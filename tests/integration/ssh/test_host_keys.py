"""Host keys as OpenSSH checks them: odd known_hosts files, certificates, algorithms."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path

import pytest

from dagengine.errors import AuthenticationFailed, HostKeyRejected, HostUnreachable, RemoteError
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.pool import SshPool
from tests.support.sshd import MISSING, Sshd, SshLab, echo_hello, run, user_name

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


async def login_error(pool: SshPool, address: HostAddress) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        await echo_hello(pool, address)
    return caught.value


async def openssh_status(lab: SshLab, host: Sshd, key: Path) -> int:
    """Return the exit status of a login with OpenSSH's own client."""
    options = (
        f"UserKnownHostsFile={lab.known_hosts}",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
    )
    process = await asyncio.create_subprocess_exec(
        *("ssh", "-F", "none", *(word for option in options for word in ("-o", option))),
        *("-i", str(key), "-p", str(host.port), f"{user_name()}@{host.ip}", "true"),
        stderr=asyncio.subprocess.PIPE,
    )
    await process.communicate()
    assert process.returncode is not None
    return process.returncode


@pytest.mark.skipif(shutil.which("ssh") is None, reason="not installed: ssh")
async def test_known_hosts_odd_lines_are_skipped_as_by_ssh(lab, ssh_pool):
    host, key = await lab.sshd(), await lab.key("key")
    lab.let_in(key, host)
    entry = lab.known_hosts.read_bytes()
    public = host.host_key.read_bytes()
    odd = b"# caf\xe9\n=======\nold-host\n@trusted * " + public + b"@cert-authority\n|1|abc\n"
    address = lab.address(host, key_file=key)
    lab.known_hosts.write_bytes(b"\xff\xfe\0\0 nothing\n" + odd + b"\0" * 64)
    assert await openssh_status(lab, host, key) != 0
    assert "is unknown" in (await login_error(ssh_pool, address)).message
    lab.known_hosts.write_bytes(odd + entry.rstrip() + b" m\xfcller@pc\n" + b"\0" * 64)
    assert await openssh_status(lab, host, key) == 0
    assert await echo_hello(ssh_pool, address) == "hello\n"


# --- certificates -----------------------------------------------------------------------------


async def certified_host(lab: SshLab, *options: str, lines: tuple[str, ...] = ()) -> Sshd:
    """A host with a certificate that these options of ssh-keygen describe."""
    authority, host = await lab.key("authority"), await lab.sshd(*lines)
    sign = ("-q", "-s", str(authority), "-I", "id", "-h", *options)
    await run("ssh-keygen", *sign, str(host.host_key))
    await host.stop()
    host.lines = (*host.lines, f"HostCertificate {host.directory}/host_key-cert.pub")
    await host.start()
    with lab.known_hosts.open("a") as file:
        file.write(f"@cert-authority * {Path(f'{authority}.pub').read_text()}")
    return host


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-n", "other.example.org"), id="another name"),
        pytest.param(("-n", "127.0.0.1", "-V", "20200101:20200102"), id="expired"),
        pytest.param(("-n", "127.0.0.1", "-V", "20980101:20990101"), id="not yet valid"),
    ],
)
async def test_host_certificate_unusable_pinned_key_is_used(lab, ssh_pool, caplog, options):
    host, key = await certified_host(lab, *options), await lab.key("key")
    lab.let_in(key, host)
    address = lab.address(host, key_file=key)
    assert await openssh_status(lab, host, key) == 0
    assert await echo_hello(ssh_pool, address) == "hello\n"
    assert "its pinned key is used" in caplog.text

    lab.known_hosts.write_text(lab.known_hosts.read_text().split("\n", 1)[1])  # not pinned
    other = dataclasses.replace(address, command_timeout_s=29)  # has its own connection
    error = await login_error(ssh_pool, other)
    assert isinstance(error, HostKeyRejected)
    assert "is not certified by the authority" in error.message


async def test_host_certificate_unusable_other_pinned_key_is_rejected(lab, ssh_pool):
    host, key = await certified_host(lab, "-n", "other.example.org"), await lab.key("key")
    lab.let_in(key, host)
    _, authority = lab.known_hosts.read_text().split("\n", 1)
    lab.known_hosts.write_text(f"{host.name} {Path(f'{key}.pub').read_text()}{authority}")
    assert await openssh_status(lab, host, key) != 0
    error = await login_error(ssh_pool, lab.address(host, key_file=key))
    assert isinstance(error, HostKeyRejected)
    assert f"the host key of 127.0.0.1:{host.port} is not the one in" in error.message


# --- no common algorithm ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "keyword"),
    [
        pytest.param(("Ciphers aes128-cbc",), "Ciphers", id="cipher"),
        pytest.param(
            ("KexAlgorithms diffie-hellman-group1-sha1",), "KexAlgorithms", id="key exchange"
        ),
        pytest.param(("Ciphers aes256-ctr", "MACs hmac-md5-96"), "MACs", id="MAC"),
        pytest.param(("HostKey {rsa}", "HostKeyAlgorithms rsa-sha2-512"), "HostKeyAlg", id="key"),
    ],
)
async def test_login_without_common_algorithm_names_keyword(lab, ssh_pool, lines, keyword):
    rsa, key = await lab.key("rsa", "-t", "rsa"), await lab.key("key")
    host = await lab.sshd(*(line.format(rsa=rsa) for line in lines))
    lab.let_in(key, host)
    error = await login_error(ssh_pool, lab.address(host, key_file=key))
    expected = HostKeyRejected if keyword == "HostKeyAlg" else HostUnreachable
    assert isinstance(error, expected)
    assert keyword in error.remedy
    assert "that the host is up" not in error.remedy


async def test_login_without_common_algorithm_behind_bastion(lab, ssh_pool):
    bastion, host = await lab.sshd(), await lab.sshd("Ciphers aes128-cbc")
    key = await lab.key("key")
    lab.let_in(key, bastion, host)
    jump = lab.address(bastion, key_file=key)
    error = await login_error(ssh_pool, lab.address(host, key_file=key, jump=jump))
    assert "to Ciphers in its sshd_config" in error.remedy
    assert error.host == f"127.0.0.1:{host.port}"


async def test_login_with_excluded_key_type_names_keyword(lab, ssh_pool):
    host, key = await lab.sshd("PubkeyAcceptedAlgorithms rsa-sha2-512"), await lab.key("key")
    lab.let_in(key, host)
    error = await login_error(ssh_pool, lab.address(host, key_file=key))
    assert isinstance(error, AuthenticationFailed)
    assert "PubkeyAcceptedAlgorithms" in error.remedy
