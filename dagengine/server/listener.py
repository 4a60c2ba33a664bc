"""The API's listeners: sockets, TLS, and refusal of insecure settings."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from dagengine.api.connections import Connections, Limits
from dagengine.api.envelope import render_envelope
from dagengine.errors import ApiError, ConfigError
from dagengine.runtime.addresses import render_host_port
from dagengine.runtime.clock import Clock
from dagengine.server import messages
from dagengine.server.config import ApiConfig, NoPasswordConsent, PlaintextConsent

_log = structlog.get_logger("dagengine.server.listener")

_BACKLOG = 1024  # connections waiting to be accepted
_ACCEPTED_AT_ONCE = 16  # per pass of the event loop: accepting 500 would take 50 ms
# Grace period for requests in progress when the controller stops.
_LAST_ANSWERS_S = 2.0
# Time for a response to be delivered before a connection with unread input is closed.
_LINGER_S = 1.0
_MAX_HEADERS = 128
_OWN_FILES = 512  # descriptors for everything except client connections
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
            messages.LISTEN_FAILED(url=url_of(api), reason=exc.strerror),
            remedy=messages.FREE_PORT(),
        ) from exc
    return listener


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
        listener.bind(str(path))
        path.chmod(_SOCKET_MODE)
        listener.listen()
    except OSError as exc:
        listener.close()
        raise ConfigError(
            messages.SOCKET_FAILED(path=path, reason=exc.strerror or exc),
            remedy=messages.NAME_OTHER_SOCKET(),
        ) from exc
    own = path.stat()
    try:
        yield listener
    finally:
        listener.close()
        with suppress(OSError):
            if os.path.samestat(own, path.stat()):
                path.unlink()


def _remove_stale(path: Path) -> None:
    """Remove a socket without a listener; raise OSError for anything else."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, messages.NOT_A_SOCKET())
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
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

    def __init__(self, api: ApiConfig) -> None:
        """Load the files; raise ConfigError if one cannot be used."""
        assert api.tls_cert_file is not None
        self._cert_file = api.tls_cert_file
        self._key_file = api.tls_key_file
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.reload()
        if api.tls_client_ca_file is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
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


@asynccontextmanager
async def serving(
    app: web.Application,
    limits: Limits,
    clock: Clock,
    listeners: Sequence[tuple[socket.socket, ssl.SSLContext | None]],
) -> AsyncIterator[None]:
    """Serve the application on these listeners within the context."""
    _raise_file_limit(limits.connections + _OWN_FILES)
    connections = Connections(clock, limits, partial(_render_too_large, clock))
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,  # bodies are encrypted: a compressed one is a decompression bomb
        keepalive_timeout=limits.idle_timeout_s,
        lingering_time=_LINGER_S,
        logger=cast("logging.Logger", _HttpLog()),
        max_field_size=limits.header_bytes,
        max_headers=_MAX_HEADERS,
        max_line_size=limits.header_bytes,
        shutdown_timeout=_LAST_ANSWERS_S,
    )
    await runner.setup()
    servers: list[asyncio.Server] = []
    try:
        loop = asyncio.get_running_loop()
        assert runner.server is not None
        factory = connections.guard(runner.server)
        for listener, tls in listeners:
            server = await loop.create_server(
                factory,
                sock=listener,
                ssl=tls,
                backlog=_ACCEPTED_AT_ONCE,  # asyncio uses it for both limits
                ssl_handshake_timeout=None if tls is None else limits.header_timeout_s,
            )
            listener.listen(_BACKLOG)
            servers.append(server)
        connections.start()
        yield
    finally:
        for server in servers:
            server.close()
        await runner.cleanup()
        await connections.stop()


# --- internals ---------------------------------------------------------------------------------


class _HeaderTooLarge(ApiError):
    """Raised when request line and headers are longer than those of any client."""

    http_status = 431


def _render_too_large(clock: Clock) -> bytes:
    error = _HeaderTooLarge(messages.HEADERS_TOO_LONG(), remedy=messages.SEND_SHORTER_HEADERS())
    status = error.http_status
    return render_envelope(status=status, at=clock.now(), duration_ms=0, trace_id="", error=error)


class _HttpLog:
    """Logger for aiohttp.

    Malformed HTTP is logged as one line, without its content and without a traceback.
    """

    def debug(self, message: str, *values: object, **options: Any) -> None:
        """Discard debug messages."""

    def exception(self, message: str, *values: object, exc_info: object = None) -> None:
        if isinstance(exc_info, HttpProcessingError):
            _log.info("request_malformed", caller=str(values[0]) if values else "")
        else:
            _log.error("connection_failed", what=message % values, exc_info=exc_info)


def _raise_file_limit(required: int) -> None:
    """Raise the limit on descriptors as far as allowed: each connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = required if hard == resource.RLIM_INFINITY else min(required, hard)
    if soft == resource.RLIM_INFINITY or soft >= required:
        return
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, target), hard))
        soft = max(soft, target)
    if soft < required:
        _log.warning("too_few_descriptors", allowed=soft, wanted=required)


def _no_passphrase() -> NoReturn:
    # Without this callback, OpenSSL would prompt on the terminal.
    raise ValueError(messages.KEY_HAS_PASSPHRASE())


def _reason(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLError):
        return exc.reason or messages.NOT_PEM()
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)


def _words(literal: object) -> str:
    return str(get_args(literal)[0])
