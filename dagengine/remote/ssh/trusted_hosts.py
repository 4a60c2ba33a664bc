"""The trusted host keys: entries of known_hosts files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncssh

from dagengine.errors import HostKeyRejected
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.client_keys import FileVersion, file_version

_DEFAULT_PORT = 22


class TrustedHosts:
    """The known_hosts files. Each is parsed once, and again after it changes."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[FileVersion, asyncssh.SSHKnownHosts]] = {}

    def of(self, address: HostAddress) -> asyncssh.SSHKnownHosts:
        """Return the keys that are trusted now; changes of the file apply immediately.

        Raises:
            HostKeyRejected: the file cannot be read.
        """
        file = known_hosts_file(address)
        if address.known_hosts is None and not file.exists():
            return asyncssh.import_known_hosts("")
        try:
            stamp = file_version(file)
            read = self._read.get(file)
            if read is None or read[0] != stamp:
                self._read[file] = read = (stamp, asyncssh.read_known_hosts(str(file)))
        except (OSError, ValueError) as error:
            raise HostKeyRejected(
                f"the file with the trusted host keys of {address} cannot be read: {file}: {error}",
                host=str(address),
                remedy="correct it or name another one in ssh.known_hosts",
            ) from error
        return read[1]


def known_hosts_file(address: HostAddress) -> Path:
    """Return the file with the trusted host keys for this address."""
    return address.known_hosts or Path("~/.ssh/known_hosts").expanduser()


class Matches(NamedTuple):
    """The entries of a known_hosts file for one host."""

    keys: Sequence[asyncssh.SSHKey]
    authorities: Sequence[asyncssh.SSHKey]
    revoked: Sequence[asyncssh.SSHKey]


def matches_of(trusted: asyncssh.SSHKnownHosts, address: HostAddress) -> Matches:
    """Return the entries that name this host."""
    port = None if address.port == _DEFAULT_PORT else address.port
    keys, authorities, revoked, *_ = asyncssh.match_known_hosts(trusted, address.host, "", port)
    return Matches(keys, authorities, revoked)


def host_key_rejected(
    address: HostAddress, trusted: asyncssh.SSHKnownHosts, why: str
) -> HostKeyRejected:
    """Build the error for a host that presented an untrusted key.

    Args:
        address: the host.
        trusted: the trusted host keys during the login.
        why: the message of the SSH library.
    """
    file = known_hosts_file(address)
    matches = matches_of(trusted, address)
    if matches.revoked and "revoked" in why:
        return HostKeyRejected(
            f"the host key of {address} is marked @revoked in {file}",
            host=str(address),
            remedy="give the host a new key, then pin it: dagengine hosts trust",
        )
    if matches.keys:
        return HostKeyRejected(
            f"the host key of {address} is not the one in {file}",
            host=str(address),
            remedy="somebody may be in between: only if the host was really set up anew, "
            f"replace it: dagengine hosts trust --replace '{address}'",
        )
    if matches.authorities:
        return HostKeyRejected(
            f"the host key of {address} is not certified by the authority in {file}: {why}",
            host=str(address),
            remedy="have the host's certificate signed anew for this name (ssh-keygen -L shows "
            "it), or pin its key: dagengine hosts trust",
        )
    return HostKeyRejected(
        f"the host key of {address} is unknown: {file} has no line for it",
        host=str(address),
        remedy="pin it: dagengine hosts trust shows its fingerprint and asks",
    )
