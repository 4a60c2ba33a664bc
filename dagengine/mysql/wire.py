"""The transport of a connection: bytes out, packets in."""

from __future__ import annotations

import asyncio

from dagengine.mysql.errors import MysqlConnectionLost, MysqlTimedOut
from dagengine.mysql.packets import PacketBuffer, frame

_MAX_UNREAD_BYTES = 256 << 10


def late(after_s: float) -> str:
    """What a time-out says."""
    return f"no complete answer within {after_s:g} s"


class Wire(asyncio.Protocol):
    """One reader at a time. What arrives while there is no reader is kept up to a limit."""

    def __init__(self) -> None:
        self._buffer = PacketBuffer()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self._end: str | None = None
        self._is_expired = False

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended the connection."""
        return self._end is None

    @property
    def unread_bytes(self) -> int:
        """How much has arrived that no answer has used."""
        return len(self._buffer)

    def send(self, payload: bytes) -> None:
        """Send as the next packet.

        Raises:
            MysqlRequestRefused: it is too large; nothing was sent.
            MysqlConnectionLost: the connection has ended before; nothing was sent.
        """
        packet = frame(payload, self._buffer.sequence)
        if self._transport is None or self._end is not None:
            raise MysqlConnectionLost(self._end or "the connection is not open")
        self._transport.write(packet)
        self._buffer.expect(self._buffer.sequence + 1)

    def send_first(self, payload: bytes) -> None:
        """Send as the first packet of a dialog. Raises as `send` does."""
        self._buffer.expect(0)
        self.send(payload)

    async def receive(self) -> bytes:
        """The payload of the next packet.

        Raises:
            MysqlProtocolError: what arrives is no next packet.
            MysqlTimedOut: `expire` was called.
            MysqlConnectionLost: the connection ended before.
        """
        while (payload := self._buffer.take()) is None:
            if self._end is not None:
                raise (MysqlTimedOut if self._is_expired else MysqlConnectionLost)(self._end)
            await self._wait()
        return payload

    def abort(self, reason: str) -> None:
        """Close at once; what was not sent yet is dropped."""
        self._finish(reason)
        if self._transport is not None:
            self._transport.abort()

    def expire(self, after_s: float) -> None:
        """Close at once because a time limit has passed."""
        self._is_expired = self._end is None
        self.abort(late(after_s))

    def close(self) -> None:
        """Close after what has been sent."""
        self._finish("the connection was closed")
        if self._transport is not None:
            self._transport.close()

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
        self._finish("the peer closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(f"the connection broke: {exc}" if exc else "the peer closed the connection")
