"""Limits on connections: their number, the size of headers, and how long requests may take.

aiohttp limits the size of a header field, but neither the time until it arrives nor the number of
fields and connections.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import structlog
from aiohttp import web

from dagengine.runtime.clock import Clock
from dagengine.runtime.service import Service

_log = structlog.get_logger("dagengine.api")

_SWEEP_S = 1.0
_LOG_PAUSE_S = 60.0
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid
_HEADER_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the resources that clients may use.

    Attributes:
        connections: number of open connections in total.
        connections_per_address: number of open connections per address (per user at the socket).
        header_bytes: size of request line and headers together.
        header_timeout_s: time from opening the connection, or from the first byte of a later
            request, to its last header; also the time for the TLS handshake before.
        body_timeout_s: time for a whole body.
        idle_timeout_s: time without a request on an open connection.
        write_timeout_s: time that a client may leave a response unread.
    """

    connections: int = 10_000
    connections_per_address: int = 2500
    header_bytes: int = 128 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 60.0

    def fit_descriptors(self, allowed: int, *, own: int, used: int) -> Limits:
        """Return limits that leave descriptors for everything that is not a client's connection.

        Lowered limits leave half of the free descriptors to connections to hosts, and do not let
        one address use all of its half.

        Args:
            allowed: the process's limit on open descriptors.
            own: how many to leave if there are enough.
            used: how many are open already.
        """
        free = max(allowed - used, 2)
        connections = free - min(own, free // 2)
        if self.connections <= connections:
            return self
        per_address = min(self.connections_per_address, max(1, connections // 2))
        return replace(self, connections=connections, connections_per_address=per_address)


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a unix socket, as reported by the kernel."""

    pid: int
    uid: int

    def __str__(self) -> str:
        return f"uid {self.uid} (pid {self.pid})"


class Connections(Service):
    """All open connections; `guard` applies the limits between a listener and aiohttp.

    Args:
        clock: source of time.
        limits: the limits to apply.
        render_too_large: renders the whole response to a header that is too long.
    """

    name = "connections"

    def __init__(self, clock: Clock, limits: Limits, render_too_large: Callable[[], bytes]) -> None:
        super().__init__()
        self.limits = limits
        self.clock = clock
        self.render_too_large = render_too_large
        self._open: set[ClientConnection] = set()
        self._of_address: Counter[str] = Counter()
        self._has_some = asyncio.Event()
        self._refused = 0
        self._next_log_s = 0.0

    def guard(self, factory: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a protocol factory that applies the limits in front of those of `factory`."""
        return lambda: ClientConnection(factory(), self)

    async def run(self) -> None:
        while True:
            await self._has_some.wait()
            await asyncio.sleep(_SWEEP_S)
            self.sweep()

    def sweep(self) -> int:
        """Abort the connections that take too long; return their number."""
        now_s = self.clock.monotonic_s()
        late = [connection for connection in self._open if connection.is_late(now_s)]
        for connection in late:
            connection.cut()
        if late:
            _log.info("slow_connections_cut", count=len(late), open=len(self._open))
        return len(late)

    def cut_all(self) -> None:
        """Abort all connections."""
        for connection in tuple(self._open):
            connection.cut()

    def admit(self, connection: ClientConnection) -> bool:
        """Count a new connection; return False if a limit on connections is reached."""
        of_address = self._of_address[connection.address]
        if (
            len(self._open) >= self.limits.connections
            or of_address >= self.limits.connections_per_address
        ):
            self._note_refused(connection)
            return False
        self._open.add(connection)
        self._of_address[connection.address] += 1
        self._has_some.set()
        return True

    def forget(self, connection: ClientConnection) -> None:
        """Remove a closed connection; idempotent."""
        if connection not in self._open:
            return
        self._open.remove(connection)
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]
        if not self._open:
            self._has_some.clear()

    def _note_refused(self, connection: ClientConnection) -> None:
        """Log rejected connections, at most once a minute so that a flood does not fill the log."""
        self._refused += 1
        if self.clock.monotonic_s() >= self._next_log_s:
            self._next_log_s = self.clock.monotonic_s() + _LOG_PAUSE_S
            _log.warning(
                "connections_refused",
                count=self._refused,
                open=len(self._open),
                caller=connection.address,
            )
            self._refused = 0


class ClientConnection(asyncio.Protocol):
    """One connection, which passes data to aiohttp as long as it is within the limits.

    Attributes:
        address: address of the client; `uid N` at a unix socket.
        peer: the process at the other end of a unix socket; None over TCP.
    """

    def __init__(self, inner: asyncio.Protocol, limiter: Connections) -> None:
        self.address = ""
        self.peer: Peer | None = None
        self._inner = inner
        self._limiter = limiter
        self._transport: asyncio.Transport | None = None
        self._is_admitted = False
        self._is_busy = False  # a header has arrived and the request is not answered yet
        self._is_deaf = False  # discard everything that the client still sends
        self._tail = b""
        self._header_bytes = 0
        self._late_s: float | None = None
        self._stuck_s: float | None = None

    # --- the application's side ----------------------------------------------------------------

    def begin(self) -> None:
        """Mark the start of a request: aiohttp has read its header."""
        self._is_busy = True
        self._late_s = None

    def end(self, *, is_read: bool) -> None:
        """Mark the end of a request; with `is_read` False, discard further input.

        `is_read` tells whether the whole body of the request was read.
        """
        self._is_busy = False
        self._is_deaf = self._is_deaf or not is_read
        self._header_bytes = 0
        self._tail = b""

    # --- the side of `Connections` ---------------------------------------------------------------

    def is_late(self, now_s: float) -> bool:
        """Return True if a header or the reading of a response takes too long."""
        return any(at is not None and at <= now_s for at in (self._late_s, self._stuck_s))

    def cut(self) -> None:
        """Abort the connection."""
        if self._transport is not None:
            self._transport.abort()

    # --- the socket's side -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.peer = peer_of(transport)
        self.address = _address_of(transport, self.peer)
        self._is_admitted = self._limiter.admit(self)
        if not self._is_admitted:
            self.cut()
            return
        self._late_s = self._deadline(self._limiter.limits.header_timeout_s)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf or not self._is_admitted:
            if self._transport is not None:
                self._transport.pause_reading()
            return
        if not self._is_busy and not self._take_header(data):
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._is_admitted else None

    def pause_writing(self) -> None:
        self._stuck_s = self._deadline(self._limiter.limits.write_timeout_s)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._stuck_s = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limiter.forget(self)
        if self._is_admitted:
            self._inner.connection_lost(exc)

    # --- internal functions -------------------------------------------------------------------

    def _take_header(self, data: bytes) -> bool:
        """Count the bytes of a header; return False after responding to one that is too long."""
        if self._late_s is None:
            self._late_s = self._deadline(self._limiter.limits.header_timeout_s)
        searched = self._tail + data
        at = searched.find(_HEADER_END)
        self._header_bytes += len(data) if at < 0 else max(0, at - len(self._tail))
        if self._header_bytes > self._limiter.limits.header_bytes:
            assert self._transport is not None
            self._is_deaf = True
            self._transport.write(self._limiter.render_too_large())
            self._transport.close()
            return False
        self._tail = searched[-3:]
        if at >= 0:
            self._is_busy = True
        return True

    def _deadline(self, seconds: float) -> float:
        return self._limiter.clock.monotonic_s() + seconds


def connection_of(request: web.Request) -> ClientConnection | None:
    """Return the connection of a request; None if its listener does not use `guard`."""
    transport = request.transport
    protocol = None if transport is None else transport.get_protocol()
    return protocol if isinstance(protocol, ClientConnection) else None


def peer_at(request: web.Request) -> Peer | None:
    """Return the process that sent a request over a unix socket; None over TCP."""
    connection = connection_of(request)
    return None if connection is None else connection.peer


def peer_of(transport: asyncio.BaseTransport) -> Peer | None:
    """Return the process at the other end of a unix socket; None over TCP."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    pid, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return Peer(pid, uid)


def _address_of(transport: asyncio.BaseTransport, peer: Peer | None) -> str:
    if peer is not None:
        return f"uid {peer.uid}"
    name = transport.get_extra_info("peername")
    return str(name[0]) if name else ""
