"""The HTTP server of a listener, whose application can change while the listener stays open."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from dagengine.api.connections import Connections, Limits
from dagengine.errors import ApiError
from dagengine.runtime.cancellation import run_phase
from dagengine.runtime.clock import Clock
from dagengine.server import messages
from dagengine.server.request_handler import RequestHandler, render_final

_log = structlog.get_logger("dagengine.server.listener")

BoundSocket: TypeAlias = tuple[socket.socket, ssl.SSLContext | None]
"""A bound socket, and TLS for its connections."""

_BACKLOG = 1024  # connections waiting to be accepted
_ACCEPTED_AT_ONCE = 16  # per pass of the event loop: accepting 500 would take 50 ms
# Grace period for requests in progress when the application changes or the controller stops.
_LAST_ANSWERS_S = 2.0
# Limit on ending an application: the grace period, the end of its handlers, and its streams.
_END_APP_S = 8.0
# Time for a response to be delivered before a connection with unread input is closed.
_LINGER_S = 1.0
_MAX_HEADERS = 128
_OWN_FILES = 512  # descriptors for everything except client connections: SSH, SQL, files


class HttpServer:
    """Accepts connections; each is answered by the application at the time of its opening.

    Args:
        limits: limits on connections and requests.
        clock: source of time.
        share: number of servers of this process, which share its file descriptors, at least 1.
    """

    def __init__(self, limits: Limits, clock: Clock, *, share: int = 1) -> None:
        self._limits = _fit_to_descriptors(limits, share)
        self._clock = clock
        self._connections = Connections(clock, self._limits, partial(_render_too_large, clock))
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []
        self._is_stopped = False

    async def switch(self, app: web.Application | None) -> None:
        """Answer new connections with an application; None closes them unanswered.

        The previous application gets a grace period for its requests, then its connections end.
        """
        previous, self._runner = self._runner, None
        if app is not None and not self._is_stopped:
            runner = web.AppRunner(app, shutdown_timeout=_LAST_ANSWERS_S)
            await runner.setup()
            self._runner = runner
        if previous is not None:
            end = run_phase(previous.cleanup(), limit_s=_END_APP_S, phase="requests in progress")
            if not await end:
                self._connections.cut_all()

    async def accept(self, sockets: Sequence[BoundSocket]) -> None:
        """Accept connections at bound sockets until `stop`."""
        # Those of some passes may be open at once before they are counted and refused.
        at_once = max(1, min(_ACCEPTED_AT_ONCE, self._limits.connections // 8))
        loop = asyncio.get_running_loop()
        factory = self._connections.guard(self._make_protocol)
        for listener, tls in sockets:
            server = await loop.create_server(
                factory,
                sock=listener,
                ssl=tls,
                backlog=at_once,  # asyncio uses it for both limits
                ssl_handshake_timeout=None if tls is None else self._limits.header_timeout_s,
            )
            listener.listen(_BACKLOG)
            self._servers.append(server)
        self._connections.start()

    async def stop(self) -> None:
        """Close the sockets, answer the requests in progress, and end the connections."""
        self._is_stopped = True
        for server in self._servers:
            server.close()
        await self.switch(None)
        await self._connections.stop()

    def _make_protocol(self) -> asyncio.Protocol:
        if self._runner is None or self._runner.server is None:
            return _ClosingProtocol()
        options: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,  # bodies are encrypted: this stops decompression bombs
            "keepalive_timeout": self._limits.idle_timeout_s,
            "lingering_time": _LINGER_S,
            "logger": _HTTP_LOG,
            "max_field_size": self._limits.header_bytes,
            "max_headers": _MAX_HEADERS,
            "max_line_size": self._limits.header_bytes,
        }
        loop = asyncio.get_running_loop()
        return RequestHandler(self._runner.server, self._clock, loop=loop, **options)


@asynccontextmanager
async def serving(
    app: web.Application, limits: Limits, clock: Clock, sockets: Sequence[BoundSocket]
) -> AsyncIterator[None]:
    """Serve one application at these sockets within the context."""
    server = HttpServer(limits, clock)
    try:
        await server.switch(app)
        await server.accept(sockets)
        yield
    finally:
        await server.stop()


# --- internals ---------------------------------------------------------------------------------


class _ClosingProtocol(asyncio.Protocol):
    """Closes a connection that arrives while no application answers."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _HeaderTooLarge(ApiError):
    """Raised when request line and headers are longer than those of any client."""

    http_status = 431


def _render_too_large(clock: Clock) -> bytes:
    error = _HeaderTooLarge(messages.HEADERS_TOO_LONG(), remedy=messages.SEND_SHORTER_HEADERS())
    return render_final(error, clock)


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


_HTTP_LOG = _HttpLog()


def _raise_file_limit(required: int) -> int | None:
    """Raise the limit on descriptors as far as allowed and return it; None: unlimited."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = required if hard == resource.RLIM_INFINITY else min(required, hard)
    if soft == resource.RLIM_INFINITY:
        return None
    if soft < target:
        with suppress(OSError, ValueError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            return target
    return soft


def _fit_to_descriptors(limits: Limits, share: int) -> Limits:
    """Raise the limit on descriptors; lower the limits on connections if it stays too low."""
    wanted = limits.connections * share + _OWN_FILES
    allowed = _raise_file_limit(wanted)
    if allowed is None:
        return limits
    used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    # Each server gets its part of the descriptors, and leaves its part of the others free.
    fitting = limits.fit_descriptors(
        used + (allowed - used) // share, own=_OWN_FILES // share, used=used
    )
    # A part for each server is what is to be expected; only less than that is worth a warning.
    if fitting.connections < -(-limits.connections // share):
        _log.warning(
            "connection_limits_lowered",
            descriptors=allowed,
            wanted=wanted,
            connections=fitting.connections,
            connections_per_address=fitting.connections_per_address,
            remedy=messages.RAISE_DESCRIPTOR_LIMIT(wanted=wanted),
        )
    return fitting
