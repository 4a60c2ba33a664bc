"""Sockets and TLS of the listeners, and refusal of insecure settings."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, get_args

from dagengine.api.connections import Limits
from dagengine.errors import ConfigError
from dagengine.runtime.addresses import render_host_port, short_name
from dagengine.server import messages
from dagengine.server.config import ApiConfig, NoPasswordConsent, PlaintextConsent
from dagengine.server.port_holder import find_port_holder

_SOCKET_MODE = 0o666  # any local user may connect; api.auth checks the user


def limits_of(api: ApiConfig) -> Limits:
    """Return the limits that the engine file sets."""
    return Limits(
        connections=api.max_connections,
        connections_per_address=api.max_connections_per_address,
        header_timeout_s=api.header_timeout_s,
        body_timeout_s=api.body_timeout_s,
        idle_timeout_s=api.idle_timeout_s,
    )


def check_exposure(api: ApiConfig, root_password: str) -> None:
    """Reject settings that give strangers access, unless the engine file contains explicit consent.

    Raises:
        ConfigError: other machines can reach the API, and the password is empty or TLS is not used.
    """
    if api.is_loopback:
        return
    if not root_password and api.without_password is None:
        raise ConfigError(
            messages.EXPOSED_WITHOUT_PASSWORD(host=api.host),
            remedy=messages.SET_PASSWORD_OR_CONSENT(consent=_words(NoPasswordConsent)),
        )
    if api.tls_cert_file is None and api.without_tls is None:
        raise ConfigError(
            messages.EXPOSED_WITHOUT_TLS(host=api.host),
            remedy=messages.SET_TLS_OR_CONSENT(consent=_words(PlaintextConsent)),
        )


def listen(api: ApiConfig) -> socket.socket:
    """Return a socket bound to the configured address.

    Raises:
        ConfigError: the address cannot be bound.
    """
    host = "127.0.0.1" if api.host == "localhost" else api.host
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, api.port))
        listener.listen()
    except OSError as exc:
        listener.close()
        raise ConfigError(
            messages.LISTEN_FAILED(url=url_of(api), reason=_explain_bind(exc, api.port)),
            remedy=messages.FREE_PORT(),
        ) from exc
    return listener


def _explain_bind(exc: OSError, port: int) -> str:
    """Return why a port cannot be bound, with the process that holds it if it is visible."""
    reason = exc.strerror or str(exc)
    holder = find_port_holder(port) if exc.errno == errno.EADDRINUSE else None
    if holder is None:
        return reason
    return messages.PORT_HELD(reason=reason, pid=holder.pid, program=holder.program)


@contextmanager
def listen_at(path: Path) -> Iterator[socket.socket]:
    """Listen on a unix socket at a path; a stale socket of a killed controller is replaced.

    Raises:
        ConfigError: the path is in use, is not a socket, or cannot be created.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        _bind(listener, path)
        listener.listen()
    except OSError as exc:
        listener.close()
        raise ConfigError(
            messages.SOCKET_FAILED(path=path, reason=exc.strerror or exc),
            remedy=messages.NAME_OTHER_SOCKET(),
        ) from exc
    own = path.lstat()
    try:
        yield listener
    finally:
        listener.close()
        with suppress(OSError):
            if os.path.samestat(own, path.lstat()):
                path.unlink()


def _bind(listener: socket.socket, path: Path) -> None:
    """Create the socket with its mode, as one step: a later chmod could follow a planted link.

    `bind` neither follows nor replaces a link. It is called before the controller starts threads,
    which would share the umask.
    """
    umask = os.umask(0o777 & ~_SOCKET_MODE)
    try:
        with short_name(path) as name:
            listener.bind(name)
    finally:
        os.umask(umask)


def _remove_stale(path: Path) -> None:
    """Remove a socket without a listener; raise OSError for anything else."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, messages.NOT_A_SOCKET())
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe, short_name(path) as name:
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, messages.SOCKET_IN_USE())


def url_of(api: ApiConfig) -> str:
    """Return the API's URL for a client on this machine."""
    scheme = "http" if api.tls_cert_file is None else "https"
    return f"{scheme}://{render_host_port(api.host, api.port)}"


class Tls:
    """The TLS context of the listeners; certificates can be renewed while it is in use."""

    def __init__(self, api: ApiConfig, *, is_optional: bool = False) -> None:
        """Load the files; raise ConfigError if one cannot be used.

        Args:
            api: the files.
            is_optional: clients may connect without a certificate, although there is a CA.
        """
        assert api.tls_cert_file is not None
        self._cert_file = api.tls_cert_file
        self._key_file = api.tls_key_file
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.reload()
        if api.tls_client_ca_file is not None:
            self.context.verify_mode = ssl.CERT_OPTIONAL if is_optional else ssl.CERT_REQUIRED
            try:
                self.context.load_verify_locations(api.tls_client_ca_file)
            except (OSError, ssl.SSLError) as exc:
                raise ConfigError(
                    messages.CLIENT_CA_UNUSABLE(path=api.tls_client_ca_file, reason=_reason(exc))
                ) from exc

    def reload(self) -> None:
        """Reload certificate and key; open connections keep the old ones.

        Raises:
            ConfigError: the files cannot be used; the current ones stay in use.
        """
        try:
            # Try on a separate context, so that a mismatched pair is never half applied.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self._cert_file, self._key_file, _no_passphrase
            )
            self.context.load_cert_chain(self._cert_file, self._key_file, _no_passphrase)
        except (OSError, ssl.SSLError, ValueError) as exc:
            raise ConfigError(
                messages.CERTIFICATE_UNUSABLE(
                    certificate=self._cert_file, key=self._key_file, reason=_reason(exc)
                ),
                remedy=messages.USE_MATCHING_PEM(),
            ) from exc


# --- internals ---------------------------------------------------------------------------------


def _no_passphrase() -> NoReturn:
    # Without this callback, OpenSSL would prompt on the terminal.
    raise ValueError(messages.KEY_HAS_PASSPHRASE())


def _reason(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLError):
        return exc.reason or messages.NOT_PEM()
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)


def _words(literal: object) -> str:
    return str(get_args(literal)[0])
