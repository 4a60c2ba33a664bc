"""Between the sockets and aiohttp: who may connect, and how long a request may take to arrive.

aiohttp bounds a header field but not how slowly it comes, nor how many there are of everything.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what anybody may take of the controller.

    Attributes:
        connections: open ones in all.
        connections_per_address: open ones of one address (of one user at the socket).
        header_bytes: request line and headers together.
        header_timeout_s: from the first byte of a request, or the connection, to its last header;
            and for the TLS handshake before.
        body_timeout_s: for a whole body.
        idle_timeout_s: without a request on an open connection.
        write_timeout_s: how long a client may leave an answer unread.
    """

    connections: int = 10_000
    connections_per_address: int = 2500
    header_bytes: int = 128 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a unix socket, as the kernel says."""

    pid: int
    uid: int

    def __str__(self) -> str:
        return f"uid {self.uid} (pid {self.pid})"


class Connections(Service):
    """All open connections; `guard` puts it between a listener and aiohttp.

    Args:
        clock: where time comes from.
        limits: what is allowed.
        render_too_large: makes the content of the answer to a header that is too long.
    """

    name = "connections"

    def __init__(self, clock: Clock, limits: Limits, render_too_large: Callable[[], bytes]) -> None:
        super().__init__()
        self.limits = limits
        self.clock = clock
        self._render_too_large = render_too_large
        self._open: set[Connection] = set()
        self._of_address: Counter[str] = Counter()
        self._has_some = asyncio.Event()
        self._refused = 0
        self._next_log_s = 0.0

    def guard(self, factory: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """A protocol factory that lets through to `factory`'s what the limits allow."""
        return lambda: Connection(factory(), self)

    async def run(self) -> None:
        while True:
            await self._has_some.wait()
            await asyncio.sleep(_SWEEP_S)
            self.sweep()

    def sweep(self) -> int:
        """Cut off those that take too long; returns how many."""
        now_s = self.clock.monotonic_s()
        late = [connection for connection in self._open if connection.is_late(now_s)]
        for connection in late:
            connection.cut()
        if late:
            _log.info("slow_connections_cut", count=len(late), open=len(self._open))
        return len(late)

    def too_large(self) -> bytes:
        """The answer to a header that is too long."""
        content = self._render_too_large()
        return _TOO_LARGE % (len(content), content)

    def admit(self, connection: Connection) -> bool:
        """Count a new connection; False when there is no room for it."""
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

    def forget(self, connection: Connection) -> None:
        """It is closed. Forgetting twice does nothing."""
        if connection not in self._open:
            return
        self._open.remove(connection)
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]
        if not self._open:
            self._has_some.clear()

    def _note_refused(self, connection: Connection) -> None:
        """Say so, but not once for each: a flood must not fill the log."""
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


class Connection(asyncio.Protocol):
    """One connection; hands on to aiohttp what is within the limits.

    Attributes:
        address: of the other end; a user at a unix socket.
        peer: the other end of a unix socket; None over TCP.
    """

    def __init__(self, inner: asyncio.Protocol, house: Connections) -> None:
        self.address = ""
        self.peer: Peer | None = None
        self._inner = inner
        self._house = house
        self._transport: asyncio.Transport | None = None
        self._is_admitted = False
        self._is_busy = False  # a request's header has arrived and it is not answered yet
        self._is_deaf = False  # what comes now is of no use any more
        self._tail = b""
        self._header_bytes = 0
        self._late_s: float | None = None
        self._stuck_s: float | None = None

    # --- the application's side ----------------------------------------------------------------

    def begin(self) -> None:
        """A request's header was read; the application works on it."""
        self._is_busy = True
        self._late_s = None

    def end(self, *, is_read: bool) -> None:
        """The request is answered; `is_read` False: the rest of its body shall not be read."""
        self._is_busy = False
        self._is_deaf = self._is_deaf or not is_read
        self._header_bytes = 0
        self._tail = b""

    # --- the house's side ------------------------------------------------------------------------

    def is_late(self, now_s: float) -> bool:
        """True when a header or the reading of an answer takes too long."""
        return any(at is not None and at <= now_s for at in (self._late_s, self._stuck_s))

    def cut(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- the socket's side -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.peer = peer_of(transport)
        self.address = _address_of(transport, self.peer)
        self._is_admitted = self._house.admit(self)
        if not self._is_admitted:
            self.cut()
            return
        self._late_s = self._deadline(self._house.limits.header_timeout_s)
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
        self._stuck_s = self._deadline(self._house.limits.write_timeout_s)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._stuck_s = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._house.forget(self)
        if self._is_admitted:
            self._inner.connection_lost(exc)

    # --- below: the parts ----------------------------------------------------------------------

    def _take_header(self, data: bytes) -> bool:
        """Count what belongs to a header; False when it is too long, and that is answered."""
        if self._late_s is None:
            self._late_s = self._deadline(self._house.limits.header_timeout_s)
        searched = self._tail + data
        at = searched.find(_HEADER_END)
        self._header_bytes += len(data) if at < 0 else max(0, at - len(self._tail))
        if self._header_bytes > self._house.limits.header_bytes:
            assert self._transport is not None
            self._is_deaf = True
            self._transport.write(self._house.too_large())
            self._transport.close()
            return False
        self._tail = searched[-3:]
        if at >= 0:
            self._is_busy = True
        return True

    def _deadline(self, seconds: float) -> float:
        return self._house.clock.monotonic_s() + seconds


def connection_of(request: web.Request) -> Connection | None:
    """The connection of a request; None when no listener of ours took it."""
    transport = request.transport
    protocol = None if transport is None else transport.get_protocol()
    return protocol if isinstance(protocol, Connection) else None


def peer_at(request: web.Request) -> Peer | None:
    """Who sends the request over a unix socket; None over TCP."""
    connection = connection_of(request)
    return None if connection is None else connection.peer


def peer_of(transport: asyncio.BaseTransport) -> Peer | None:
    """Who is at the other end of a unix socket; None over TCP."""
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
