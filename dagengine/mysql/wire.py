"""The transport of a connection: sends and receives packets."""

from __future__ import annotations

import asyncio

from dagengine.mysql import messages
from dagengine.mysql.errors import MysqlConnectionLost, MysqlProtocolError, MysqlTimedOut
from dagengine.mysql.packets import PacketBuffer, frame
from dagengine.mysql.tls import Tls, handshake_error

_MAX_UNREAD_BYTES = 256 << 10


def late(after_s: float) -> str:
    """Return the message of a time-out."""
    return messages.TIMED_OUT(limit_s=after_s)


class Wire(asyncio.Protocol):
    """A packet transport with one reader at a time.

    Data that arrives without a waiting reader is buffered up to a limit; then reading is paused.
    """

    def __init__(self) -> None:
        self._buffer = PacketBuffer()
        self._transport: asyncio.Transport | None = None
        self._below: asyncio.Transport | None = None  # carries the encrypted data
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self._end: str | None = None
        self._is_expired = False

    @property
    def is_open(self) -> bool:
        """Return whether neither side has closed the connection."""
        return self._end is None

    @property
    def unread_bytes(self) -> int:
        """Return the number of received bytes that are not part of a response."""
        return len(self._buffer)

    def send(self, payload: bytes) -> None:
        """Send a payload as the next packet.

        Raises:
            MysqlRequestRefused: the payload is too large; nothing was sent.
            MysqlConnectionLost: the connection is not open; nothing was sent.
        """
        packet = frame(payload, self._buffer.sequence)
        if self._transport is None or self._end is not None:
            raise MysqlConnectionLost(self._end or messages.NOT_OPEN())
        self._transport.write(packet)
        self._buffer.expect(self._buffer.sequence + 1)

    async def start_tls(self, tls: Tls) -> None:
        """Encrypt everything that follows. The caller limits the duration.

        Data that arrived before is refused: it was not encrypted and must not be read as if it
        had been. Data that arrives from here on is read by TLS only.

        Raises:
            MysqlProtocolError: the peer has sent data in plain text.
            MysqlTlsRefused: the certificate is invalid, or the handshake fails.
            MysqlConnectionLost: the connection ended.
        """
        if self._transport is None or self._end is not None:
            raise MysqlConnectionLost(self._end or messages.NOT_OPEN())
        if self.unread_bytes:
            raise MysqlProtocolError(messages.DATA_BEFORE_TLS())
        plain = self._transport
        try:
            tls.check_server_name()
            encrypted = await asyncio.get_running_loop().start_tls(
                plain, self, tls.context, server_hostname=tls.server_name
            )
        except (OSError, ValueError) as exc:
            raise handshake_error(exc) from exc
        if encrypted is None:  # the connection ended while the handshake was completed
            raise MysqlConnectionLost(messages.CLOSED_BY_PEER())
        self._transport, self._below = encrypted, plain

    def send_first(self, payload: bytes) -> None:
        """Send a payload as the first packet of a dialog. Raises the same errors as `send`."""
        self._buffer.expect(0)
        self.send(payload)

    async def receive(self) -> bytes:
        """Wait for the next packet and return its payload.

        Raises:
            MysqlProtocolError: the received data is not the expected packet.
            MysqlTimedOut: `expire` was called.
            MysqlConnectionLost: the connection ended before the packet was complete.
        """
        while (payload := self._buffer.take()) is None:
            if self._end is not None:
                raise (MysqlTimedOut if self._is_expired else MysqlConnectionLost)(self._end)
            await self._wait()
        return payload

    def abort(self, reason: str) -> None:
        """Close immediately and discard unsent data."""
        self._finish(reason)
        if self._transport is not None:
            self._transport.abort()

    def expire(self, after_s: float) -> None:
        """Close immediately because a time limit has passed."""
        self._is_expired = self._end is None
        self.abort(late(after_s))

    def close(self) -> None:
        """Close after all written data has been sent."""
        self._finish(messages.CLOSED())
        if self._transport is not None:
            self._transport.close()
        if self._below is not None:  # do not wait until the peer ends TLS as well
            self._below.close()

    async def _wait(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _finish(self, reason: str) -> None:
        self._end = self._end or reason
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer.feed(data)
        is_read = self._waiter is not None and not self._waiter.done()
        if not is_read and len(self._buffer) > _MAX_UNREAD_BYTES and not self._is_paused:
            assert self._transport is not None
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._finish(messages.CLOSED_BY_PEER())

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(messages.BROKEN(reason=exc) if exc else messages.CLOSED_BY_PEER())
