"""Host keys: read from a host without trusting it, and pinned after confirmation by a user."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

import asyncssh

from dagengine.errors import ConfigError, HostUnreachable
from dagengine.remote import messages
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.algorithms import KEX_ALGORITHMS
from dagengine.remote.ssh.connector import (
    NO_USER_FILES,
    ensure_user_has_name,
    explain_failure,
    find_algorithm_mismatch,
    no_answer,
)
from dagengine.remote.ssh.known_hosts import (
    Matches,
    TrustedHosts,
    known_hosts_file,
    matches_of,
    name_in_file,
    new_salt,
    pinned_algorithms,
    read_text,
    replace_file,
    with_pin,
)
from dagengine.remote.ssh.pool import SshPool

# Shortest first, which is also the preference of OpenSSH's client.
_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


class Trust(StrEnum):
    """The status of a key in the known_hosts file."""

    NEW = "new"  # the file has no entry for the host
    KNOWN = "known"  # the key is pinned
    CERTIFIED = "certified"  # signed by a trusted authority
    CHANGED = "changed"  # the host has a different pinned key
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A key presented by a host.

    Attributes:
        address: the host.
        trust: the status of the key.
        algorithm: such as `ssh-ed25519`.
        fingerprint: `SHA256:…`, as printed by ssh-keygen -l.
        public_key: in OpenSSH's format.
        pinned: fingerprints of the keys pinned for the host.
    """

    address: HostAddress
    trust: Trust
    algorithm: str
    fingerprint: str
    public_key: str
    pinned: tuple[str, ...] = ()


class HostKeys:
    """Reads the keys of hosts and pins them in the known_hosts files of their addresses."""

    def __init__(self, pool: SshPool) -> None:
        """Create a reader for the keys of hosts.

        Args:
            pool: logs in to the bastions in front of the hosts.
        """
        self._pool = pool
        self._trusted = TrustedHosts(is_logged=False)  # its users call `find_skipped_lines`

    async def look(self, address: HostAddress) -> HostKey:
        """Return the key that a host presents; logs in only to the bastions in front of it.

        Raises:
            HostUnreachable: the host presents no key within `connect_timeout_s`.
            HostKeyRejected, AuthenticationFailed: raised for a bastion; or known_hosts is
                unreadable.
        """
        link = self._pool.link(address)
        bastion = await link.acquire_bastion()
        try:
            return await self._look(address, bastion)
        finally:
            link.release_bastion(bastion)

    def pin(self, key: HostKey) -> tuple[str, ...]:
        """Trust this key of its host from now on; replace other keys pinned for its name.

        Returns:
            Fingerprints that remain trusted for the host through a line with a pattern.

        Raises:
            ConfigError: the known_hosts file cannot be read or written.
        """
        file = known_hosts_file(key.address)
        name = name_in_file(key.address.host, key.address.port)
        try:
            text = with_pin(read_text(file), name, key.public_key, salt=new_salt())
            replace_file(file, text)
        except OSError as exc:
            raise ConfigError(
                messages.PIN_FAILED(address=key.address, file=file, reason=exc),
                remedy=messages.CORRECT_KNOWN_HOSTS(),
            ) from exc
        other_keys = matches_of(self._trusted.of(key.address), key.address).keys
        fingerprints = (other_key.get_fingerprint() for other_key in other_keys)
        return tuple(other for other in fingerprints if other != key.fingerprint)

    async def close(self) -> None:
        """Close the connections to the bastions."""
        await self._pool.close()

    async def _look(
        self, address: HostAddress, bastion: asyncssh.SSHClientConnection | None
    ) -> HostKey:
        ensure_user_has_name(address)
        trusted = self._trusted.of(address)
        matches = matches_of(trusted, address)
        algorithms = [*pinned_algorithms(matches), *_ALGORITHMS]
        try:
            async with asyncio.timeout(address.connect_timeout_s):
                key = await _ask_key(address, bastion, list(dict.fromkeys(algorithms)))
                is_certified = bool(matches.authorities) and await _is_certified(
                    address, bastion, trusted
                )
        except TimeoutError:
            raise no_answer(address) from None
        except (asyncssh.Error, OSError) as error:
            mismatch = await find_algorithm_mismatch(
                address, asyncssh.import_known_hosts(""), bastion
            )
            raise mismatch or explain_failure(error, address, trusted) from error
        return HostKey(
            address,
            _judge(key, matches, is_certified=is_certified),
            key.get_algorithm(),
            key.get_fingerprint(),
            key.export_public_key().decode().strip(),
            tuple(pinned.get_fingerprint() for pinned in matches.keys),
        )


def _judge(key: asyncssh.SSHKey, matches: Matches, *, is_certified: bool) -> Trust:
    if key in matches.revoked:
        return Trust.REVOKED
    if key in matches.keys:
        return Trust.KNOWN
    if is_certified:
        return Trust.CERTIFIED
    return Trust.CHANGED if matches.keys else Trust.NEW


async def _ask_key(
    address: HostAddress, bastion: asyncssh.SSHClientConnection | None, algorithms: list[str]
) -> asyncssh.SSHKey:
    key = await asyncssh.get_server_host_key(
        address.host,
        address.port,
        tunnel=bastion or (),
        config=None,
        kex_algs=KEX_ALGORITHMS,
        server_host_key_algs=algorithms,
    )
    if key is None:
        raise HostUnreachable(messages.HOST_KEY_MISSING(address=address), host=str(address))
    return key


async def _is_certified(
    address: HostAddress,
    bastion: asyncssh.SSHClientConnection | None,
    trusted: asyncssh.SSHKnownHosts,
) -> bool:
    """Check whether the host presents a certificate of a trusted authority.

    No client key is offered.
    """
    try:
        connection = await asyncssh.connect(
            address.host,
            address.port,
            tunnel=bastion or (),
            username=address.user,
            client_keys=None,
            known_hosts=trusted,
            config=None,
            **NO_USER_FILES,
            agent_path=None,
            preferred_auth="publickey",
            gss_auth=False,
            gss_kex=False,
        )
    except asyncssh.PermissionDenied:
        return True
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
        return False
    connection.abort()
    return True
