"""Packets and their fields; performs no I/O.

Source: the formats in this package follow the client/server protocol in MySQL's internals manual.
"""

from __future__ import annotations

from dagengine.mysql import messages
from dagengine.mysql.errors import MysqlProtocolError, MysqlRequestRefused

MAX_PACKET_BYTES = 0xFFFFFF - 1
"""The largest payload in either direction. One more byte would require a second packet."""

_HEADER_BYTES = 4
_NULL, _TWO, _THREE, _EIGHT = 0xFB, 0xFC, 0xFD, 0xFE
_WIDTHS = {_TWO: 2, _THREE: 3, _EIGHT: 8}


def frame(payload: bytes, sequence: int) -> bytes:
    """Build a packet from a payload.

    Raises:
        MysqlRequestRefused: the payload is too large.
    """
    if len(payload) > MAX_PACKET_BYTES:
        raise MysqlRequestRefused(
            messages.REQUEST_TOO_LONG(size=len(payload), limit=MAX_PACKET_BYTES)
        )
    return len(payload).to_bytes(3, "little") + bytes([sequence & 0xFF]) + payload


class PacketBuffer:
    """Buffer for bytes from the peer that returns payloads and checks their sequence numbers."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._at = 0  # the bytes before this position have been consumed
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._bytes) - self._at

    @property
    def sequence(self) -> int:
        """Return the sequence number of the next packet in either direction."""
        return self._sequence

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        del self._bytes[: self._at]
        self._at = 0
        self._bytes += data

    def expect(self, sequence: int) -> None:
        """Set the sequence number of the next packet."""
        self._sequence = sequence & 0xFF

    def take(self) -> bytes | None:
        """Return the next payload, or None while it is incomplete.

        Raises:
            MysqlProtocolError: the packet is too large, or its sequence number is wrong.
        """
        buffered, at = self._bytes, self._at
        begin = at + _HEADER_BYTES
        if len(buffered) < begin:
            return None
        # Check the header before the payload has arrived, so that a peer that speaks another
        # protocol fails immediately.
        size = buffered[at] | buffered[at + 1] << 8 | buffered[at + 2] << 16
        sequence = buffered[at + 3]
        if sequence != self._sequence:
            raise MysqlProtocolError(
                messages.PACKET_NUMBER(number=sequence, expected=self._sequence)
            )
        if size > MAX_PACKET_BYTES:
            raise MysqlProtocolError(messages.PACKET_TOO_LONG(limit=MAX_PACKET_BYTES))
        end = begin + size
        if len(buffered) < end:
            return None
        self._at = end
        self._sequence = (sequence + 1) & 0xFF
        return bytes(buffered[begin:end])


def read_length(payload: bytes, at: int) -> tuple[int, int]:
    """Return the length-encoded integer at this position, and the position after it.

    Raises:
        MysqlProtocolError: the payload does not have a length-encoded integer at this position.
    """
    if at >= len(payload):
        raise MysqlProtocolError(messages.PACKET_TOO_SHORT())
    first = payload[at]
    if first < _NULL:
        return first, at + 1
    width = _WIDTHS.get(first)
    if width is None:
        raise MysqlProtocolError(messages.LENGTH_INVALID(byte=first))
    end = at + 1 + width
    if end > len(payload):
        raise MysqlProtocolError(messages.PACKET_TOO_SHORT())
    return int.from_bytes(payload[at + 1 : end], "little"), end


class Fields:
    """Sequential reader of the fields of one payload."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    @property
    def left(self) -> int:
        """Return the number of unread bytes."""
        return len(self._payload) - self._at

    def take(self, size: int) -> bytes:
        """Read `size` bytes.

        Raises:
            MysqlProtocolError: the payload is too short; the methods below raise it as well.
        """
        end = self._at + size
        if end > len(self._payload):
            raise MysqlProtocolError(messages.PACKET_TOO_SHORT())
        content, self._at = self._payload[self._at : end], end
        return content

    def take_int(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def take_length(self) -> int:
        """Read a length-encoded integer."""
        value, self._at = read_length(self._payload, self._at)
        return value

    def take_text(self) -> bytes:
        """Read the bytes up to a NUL, and skip the NUL."""
        end = self._payload.find(0, self._at)
        if end < 0:
            raise MysqlProtocolError(messages.TEXT_NOT_TERMINATED())
        content, self._at = self._payload[self._at : end], end + 1
        return content

    def take_rest(self) -> bytes:
        return self.take(self.left)
