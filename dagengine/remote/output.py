"""What a command wrote, kept up to a limit."""

from __future__ import annotations

DEFAULT_LIMIT_BYTES = 1024 * 1024


class CappedOutput:
    """Keeps the first bytes of a stream and drops the rest, so that nobody ever waits for us.

    Attributes:
        truncated: True when something was dropped.
    """

    def __init__(self, limit_bytes: int) -> None:
        """
        Args:
            limit_bytes: how much is kept, at least 0.
        """
        self._limit_bytes = limit_bytes
        self._kept = bytearray()
        self.truncated = False

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        room = self._limit_bytes - len(self._kept)
        self._kept += data[:room]
        self.truncated = self.truncated or len(data) > room

    def text(self) -> str:
        """What was kept, as UTF-8; bytes that are not become U+FFFD."""
        return self._kept.decode("utf-8", errors="replace")
