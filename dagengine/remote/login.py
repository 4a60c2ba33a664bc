"""Logging in to a host, and what to tell a person when that fails."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import asyncssh

from dagengine.errors import HostKeyRejected, HostUnreachable, LoginRefused, RemoteError
from dagengine.remote.base import HostAddress

KEEPALIVE_INTERVAL_S = 10
KEEPALIVE_MISSES = 3
"""A silent connection is given up after (misses + 1) intervals; asyncssh has it off by default."""

# At INFO it writes every command line, secrets included.
logging.getLogger("asyncssh").setLevel(logging.WARNING)


async def log_in(address: HostAddress) -> asyncssh.SSHClientConnection:
    """Connect and log in with a key, checking the host's key strictly.

    Neither ~/.ssh/config nor an agent is asked: what a controller does must not depend on who
    started it from where. Only `key_file`, or else the user's default keys, are tried.

    Raises:
        HostUnreachable: nothing answered within `connect_timeout_s`, or not as SSH.
        HostKeyRejected: the host's key is not the one in `known_hosts`.
        LoginRefused: the user or the key is not accepted, or there is no usable key.
    """
    trusted = _read_known_hosts(address)
    if address.key_file is not None and not os.access(address.key_file, os.R_OK):
        raise LoginRefused(
            f"the key file {address.key_file} for {address.user}@{address} cannot be read",
            host=str(address),
            remedy="put the private key there or name another one in ssh.key_file",
        )
    try:
        async with asyncio.timeout(address.connect_timeout_s):
            return await _connect(address, trusted)
    except TimeoutError:
        raise no_answer(address) from None
    except (asyncssh.Error, asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError) as error:
        raise _translate(error, address, trusted) from error


def no_answer(address: HostAddress) -> HostUnreachable:
    """The error for a host that stays silent."""
    return HostUnreachable(
        f"{address} did not complete an SSH login within {address.connect_timeout_s:g} s",
        host=str(address),
        remedy="check that the host is up, that no firewall drops packets and that sshd answers",
    )


def known_hosts_file(address: HostAddress) -> Path:
    """The file whose host keys are trusted for this address."""
    return address.known_hosts or Path("~/.ssh/known_hosts").expanduser()


async def _connect(
    address: HostAddress, trusted: asyncssh.SSHKnownHosts
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        address.host,
        address.port,
        username=address.user,
        client_keys=() if address.key_file is None else [str(address.key_file)],
        known_hosts=trusted,
        config=None,
        agent_path=None,
        preferred_auth="publickey",
        gss_auth=False,
        gss_kex=False,
        # The cheapest of the secure ones first; all other defaults stay behind them.
        kex_algs="^curve25519-sha256",
        encryption_algs="^aes128-gcm@openssh.com",
        keepalive_interval=KEEPALIVE_INTERVAL_S,
        keepalive_count_max=KEEPALIVE_MISSES,
        send_env=[],
    )


def _read_known_hosts(address: HostAddress) -> asyncssh.SSHKnownHosts:
    """Read anew for every login, so that a mended file counts at once."""
    file = known_hosts_file(address)
    if address.known_hosts is None and not file.exists():
        return asyncssh.import_known_hosts("")
    try:
        return asyncssh.read_known_hosts(str(file))
    except (OSError, ValueError) as error:
        raise HostKeyRejected(
            f"the file with the trusted host keys of {address} cannot be read: {file}: {error}",
            host=str(address),
            remedy="correct it or name another one in ssh.known_hosts",
        ) from error


def _translate(
    error: Exception, address: HostAddress, trusted: asyncssh.SSHKnownHosts
) -> RemoteError:
    host, who = str(address), f"{address.user}@{address}"
    key = address.key_file or "the default keys in ~/.ssh"
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return _host_key_rejected(address, trusted)
        case asyncssh.KeyExchangeFailed() if "host key" in error.reason.lower():
            return _host_key_rejected(address, trusted)
        case asyncssh.PermissionDenied() | asyncssh.IllegalUserName():
            return LoginRefused(
                f"{who} was not let in with {key}",
                host=host,
                remedy=f"add its public key to {address.user}'s authorized_keys there, "
                "or correct ssh.user and ssh.key_file",
            )
        case asyncssh.KeyImportError() | asyncssh.KeyEncryptionError():
            return LoginRefused(
                f"{key} for {who} is not a usable private key: {error}",
                host=host,
                remedy="name a key without a passphrase in ssh.key_file",
            )
        case asyncssh.Error():
            detail = error.reason or type(error).__name__
        case _:
            detail = str(error) or type(error).__name__
    return HostUnreachable(
        f"{address} cannot be reached over SSH: {detail}",
        host=host,
        remedy="check that the host is up and that sshd listens on this address and port",
    )


def _host_key_rejected(address: HostAddress, trusted: asyncssh.SSHKnownHosts) -> HostKeyRejected:
    file = known_hosts_file(address)
    matches = asyncssh.match_known_hosts(
        trusted, address.host, "", None if address.port == 22 else address.port
    )
    host_keys, authorities = matches[0], matches[1]
    if host_keys or authorities:
        return HostKeyRejected(
            f"the host key of {address} is not the one in {file}",
            host=str(address),
            remedy="somebody may be in between: only if the host was really set up anew, "
            "replace its line there",
        )
    return HostKeyRejected(
        f"the host key of {address} is unknown: {file} has no line for it",
        host=str(address),
        remedy="compare the key's fingerprint with the host's own, then add it to that file",
    )
