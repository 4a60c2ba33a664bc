"""The output of a command, kept up to a size limit."""

from __future__ import annotations

DEFAULT_LIMIT_BYTES = 1024 * 1024


class CappedOutput:
    """Keeps the first bytes of a stream and discards the rest, so that the command never blocks.

    Attributes:
        truncated: True if bytes were discarded.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Create an empty output.

        Args:
            limit_bytes: maximum number of bytes to keep, at least 0.
        """
        self._limit_bytes = limit_bytes
        self._data = bytearray()
        self.truncated = False

    def feed(self, data: bytes) -> None:
        """Add received data."""
        room = self._limit_bytes - len(self._data)
        self._data += data[:room]
        self.truncated = self.truncated or len(data) > room

    def text(self) -> str:
        """Return the kept bytes as UTF-8; invalid bytes become U+FFFD."""
        return self._data.decode("utf-8", errors="replace")
