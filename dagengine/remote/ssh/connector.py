"""Connection and login to a host, and errors with remedies for failed logins."""

from __future__ import annotations

import asyncio
import errno
import getpass
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from dagengine.errors import AuthenticationFailed, HostKeyRejected, HostUnreachable, RemoteError
from dagengine.remote import messages
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.algorithms import (
    CIPHERS,
    KEX_ALGORITHMS,
    find_mismatch,
    read_offer,
    supported_algorithms,
)
from dagengine.remote.ssh.client_keys import ClientKey, KeyRing, certificate_file
from dagengine.remote.ssh.forwarding import ForwardingClient
from dagengine.remote.ssh.known_hosts import (
    TrustedHosts,
    find_fallback_algorithms,
    host_key_rejected,
    known_hosts_file,
    matches_of,
    pinned_algorithms,
)

# Handshakes cost CPU time at both ends: with hundreds at once, none would finish in time. Only
# hosts that have responded take a slot, so a dead host does not delay the others.
_HANDSHAKES_AT_ONCE = 32

# sshd drops connections at random from ten unauthenticated ones on (MaxStartups 10:30:100).
_STARTUPS_AT_ONCE = 8

_log = logging.getLogger("dagengine.remote")

# No descriptor is left in this process or on this machine: the fault is not the host's.
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)

# Options of asyncssh that keep it from reading certificates of X.509 below ~/.ssh.
NO_USER_FILES: Mapping[str, Any] = {"x509_trusted_certs": [], "x509_trusted_cert_paths": []}

# At INFO, asyncssh logs every command line, including secrets.
logging.getLogger("asyncssh").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class _LoginSettings:
    """One login: the host, its trusted keys, and the host key algorithms; () for the defaults."""

    address: HostAddress
    trusted: asyncssh.SSHKnownHosts
    algorithms: Sequence[str] = ()


class Login:
    """Logs in to hosts with a key and strictly verifies every host key.

    It ignores ~/.ssh/config, and uses an ssh agent only if configured: a controller's behaviour
    must not depend on who started it or from where.

    Attributes:
        login_count: number of logins so far.
        failed: number of those that failed.
    """

    def __init__(self) -> None:
        self.login_count = 0
        self.failed = 0
        self._keys = KeyRing()
        self._trusted = TrustedHosts()
        self._handshakes = asyncio.Semaphore(_HANDSHAKES_AT_ONCE)
        self._startups: defaultdict[tuple[str, int], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_STARTUPS_AT_ONCE)
        )

    async def log_in(
        self, address: HostAddress, bastion: asyncssh.SSHClientConnection | None = None
    ) -> asyncssh.SSHClientConnection:
        """Connect and log in.

        Args:
            address: the host.
            bastion: a connection to the host's `jump`, used as the tunnel.

        Raises:
            HostUnreachable: no response within `connect_timeout_s`, or not an SSH response.
            HostKeyRejected: the host's key is not the one in `known_hosts`.
            AuthenticationFailed: the user or the key is not accepted, or a usable key is missing.
        """
        self.login_count += 1
        try:
            return await self._log_in(address, bastion)
        except RemoteError:
            self.failed += 1
            raise

    async def _log_in(
        self, address: HostAddress, bastion: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        ensure_user_has_name(address)
        trusted = self._trusted.of(address)
        try:
            return await self._log_in_with_fallback(address, trusted, bastion)
        except TimeoutError:
            raise no_answer(address) from None
        except (asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost, ConnectionError) as error:
            mismatch = await find_algorithm_mismatch(address, trusted, bastion)
            raise mismatch or explain_failure(error, address, trusted) from error
        except (asyncssh.Error, OSError) as error:
            raise explain_failure(error, address, trusted) from error

    async def _log_in_with_fallback(
        self,
        address: HostAddress,
        trusted: asyncssh.SSHKnownHosts,
        bastion: asyncssh.SSHClientConnection | None,
    ) -> asyncssh.SSHClientConnection:
        """Log in; if the host's certificate cannot be used, request its plain key instead."""
        try:
            return await self._open(address, trusted, bastion)
        except asyncssh.HostKeyNotVerifiable as error:
            algorithms = find_fallback_algorithms(trusted, address, error.reason)
            if not algorithms:
                raise
            refused = error
        _log.warning(
            "%s", messages.HOST_CERTIFICATE_UNUSABLE(address=address, reason=refused.reason)
        )
        try:
            return await self._open(address, trusted, bastion, algorithms)
        except (asyncssh.ConnectionLost, ConnectionError):
            raise refused from None  # the host presents nothing but its certificate

    async def _open(
        self,
        address: HostAddress,
        trusted: asyncssh.SSHKnownHosts,
        bastion: asyncssh.SSHClientConnection | None,
        algorithms: Sequence[str] = (),
    ) -> asyncssh.SSHClientConnection:
        login = _LoginSettings(address, trusted, algorithms)
        if bastion is not None:
            return await self._shake_hands(login, tunnel=bastion)
        async with self._startups[address.host, address.port]:
            return await self._log_in_directly(login)

    async def _log_in_directly(self, login: _LoginSettings) -> asyncssh.SSHClientConnection:
        address = login.address
        async with asyncio.timeout(address.connect_timeout_s):
            sock = await connect_and_await_banner(address.host, address.port)
        try:
            async with self._handshakes:
                return await self._shake_hands(login, sock=sock)
        except BaseException:
            sock.close()
            raise

    async def _shake_hands(self, login: _LoginSettings, **way: Any) -> asyncssh.SSHClientConnection:
        address = login.address
        async with asyncio.timeout(address.connect_timeout_s), self._keys.keys(address) as keys:
            return await _connect(login, keys, **way)


async def connect_and_await_banner(host: str, port: int) -> socket.socket:
    """Return a connected socket with data to read. The caller must set a time limit.

    Up to that point a host costs only waiting time, so any number of hosts can be awaited at once.

    Raises:
        OSError: none of the host's addresses accepted a connection.
    """
    loop = asyncio.get_running_loop()
    places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed: OSError | None = None
    for family, kind, protocol, _, place in places:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, place)
            await _until_readable(sock)
        except OSError as error:
            sock.close()
            failed = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failed or OSError(messages.ADDRESS_MISSING(host=host))


async def _until_readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)


def no_answer(address: HostAddress) -> HostUnreachable:
    """Build the error for a host that does not respond."""
    return HostUnreachable(
        messages.LOGIN_TIMED_OUT(host=_route(address), timeout_s=address.connect_timeout_s),
        host=str(address),
        remedy=messages.CHECK_HOST_AND_FIREWALL(),
    )


def explain_failure(
    error: Exception, address: HostAddress, trusted: asyncssh.SSHKnownHosts
) -> RemoteError:
    """Build the error that explains a failed login.

    Args:
        error: raised by the SSH library or the operating system.
        address: the host.
        trusted: the trusted host keys during the login.
    """
    host, remedy = str(address), messages.CHECK_HOST_AND_PORT()
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return host_key_rejected(address, trusted, error.reason)
        case asyncssh.PermissionDenied() | asyncssh.IllegalUserName():
            return _not_let_in(address)
        case asyncssh.ChannelOpenError():
            return _not_forwarded(error, address)
        case asyncssh.ConnectionLost() | ConnectionResetError():
            detail, remedy = str(error), messages.CHECK_SSHD_LOG()
        case OSError() if error.errno in _NO_DESCRIPTOR:
            return HostUnreachable(
                messages.NO_DESCRIPTOR(host=_route(address), reason=error.strerror),
                host=host,
                remedy=messages.RAISE_DESCRIPTOR_LIMIT(),
            )
        case asyncssh.Error():
            detail = error.reason or type(error).__name__
        case _:
            detail = _explain_network(error, address)
    return HostUnreachable(
        messages.UNREACHABLE(host=_route(address), reason=detail),
        host=host,
        remedy=remedy,
    )


def _explain_network(error: Exception, address: HostAddress) -> str:
    """Return the reason without the address and the number that asyncio's text contains."""
    match error:
        case socket.gaierror():
            return messages.HOST_NAME_UNKNOWN(name=address.host)
        case OSError() if error.errno:
            return os.strerror(error.errno)
        case OSError() if "Connect call failed" in str(error):  # at each address of a host name
            return os.strerror(errno.ECONNREFUSED)
        case TimeoutError():
            return messages.CONNECT_TIMED_OUT()
    return str(error) or type(error).__name__


async def find_algorithm_mismatch(
    address: HostAddress,
    trusted: asyncssh.SSHKnownHosts,
    bastion: asyncssh.SSHClientConnection | None,
) -> RemoteError | None:
    """Return the error for a host that shares no algorithm with this process; None if it does.

    A host without a key of a pinned type is one of them.

    Args:
        address: the host.
        trusted: the trusted host keys during the login.
        bastion: a connection to the host's `jump`.
    """
    matches = matches_of(trusted, address)
    # With an authority, the library also offers the algorithms of certificates.
    host_keys = [] if matches.authorities else pinned_algorithms(matches)
    try:
        async with asyncio.timeout(address.connect_timeout_s):
            offered = await read_offer(address.host, address.port, bastion)
    except TimeoutError:
        return None
    mismatch = offered and find_mismatch(offered, supported_algorithms(host_keys))
    if not mismatch:
        return None
    if mismatch.keyword == "HostKeyAlgorithms":
        return HostKeyRejected(
            messages.HOST_KEY_OF_OTHER_TYPE(
                address=address,
                file=known_hosts_file(address),
                offered=mismatch.offered,
                pinned=mismatch.supported,
            ),
            host=str(address),
            remedy=messages.REPLACE_KEY_OR_ALLOW_TYPE(address=address),
        )
    return HostUnreachable(
        messages.NO_COMMON_ALGORITHM(
            host=_route(address), subject=mismatch.subject, offered=mismatch.offered
        ),
        host=str(address),
        remedy=messages.ALLOW_ALGORITHM(supported=mismatch.supported, keyword=mismatch.keyword),
    )


def ensure_user_has_name(address: HostAddress) -> None:
    """Raise HostUnreachable if this process's user has no name: asyncssh needs one to connect."""
    try:
        getpass.getuser()
    except (KeyError, OSError) as exc:
        raise HostUnreachable(
            messages.USER_WITHOUT_NAME(host=_route(address), uid=os.getuid()),
            host=str(address),
            remedy=messages.SET_USER(),
        ) from exc


async def _connect(
    login: _LoginSettings, keys: tuple[ClientKey, ...], **way: Any
) -> asyncssh.SSHClientConnection:
    address = login.address
    return await asyncssh.connect(
        address.host,
        address.port,
        **way,
        client_factory=ForwardingClient,
        username=address.user,
        client_keys=list(keys) or (),  # () selects the default keys
        known_hosts=login.trusted,
        server_host_key_algs=login.algorithms,
        config=None,
        **NO_USER_FILES,
        agent_path=None,
        preferred_auth="publickey",
        gss_auth=False,
        gss_kex=False,
        kex_algs=KEX_ALGORITHMS,
        encryption_algs=CIPHERS,
        keepalive_interval=address.keepalive_interval_s,
        keepalive_count_max=address.keepalive_misses,
        send_env=[],
    )


def _not_let_in(address: HostAddress) -> AuthenticationFailed:
    key = str(address.key_file or messages.DEFAULT_KEYS())
    if address.agent:
        key = messages.ANY_AGENT_KEY()
        if address.key_file:
            key = messages.AGENT_KEY(key=address.key_file)
    elif address.key_file and (certificate := certificate_file(address.key_file)).exists():
        key = messages.KEY_AND_CERTIFICATE(key=key, certificate=certificate)
    return AuthenticationFailed(
        messages.LOGIN_REJECTED(user=address.user, address=address, key=key),
        host=str(address),
        remedy=messages.AUTHORIZE_KEY(user=address.user),
    )


def _not_forwarded(error: asyncssh.ChannelOpenError, address: HostAddress) -> HostUnreachable:
    bastion = address.jump
    if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED:
        return HostUnreachable(
            messages.FORWARDING_PROHIBITED(bastion=bastion, address=address, reason=error.reason),
            host=str(bastion),
            remedy=messages.ALLOW_FORWARDING(),
        )
    return HostUnreachable(
        messages.FORWARDING_FAILED(bastion=bastion, address=address, reason=error.reason),
        host=str(address),
        remedy=messages.CHECK_HOST_AND_ROUTE(),
    )


def _route(address: HostAddress) -> str:
    """Return the address as messages show it, with its bastion."""
    if address.jump is None:
        return str(address)
    return messages.ADDRESS_VIA(address=address, bastion=address.jump)
