"""Lines of a running command: split as they arrive, within a limit."""

from __future__ import annotations

import asyncio
from collections import deque

LINE_LIMIT_BYTES = 64 * 1024
"""Limit on the bytes that have arrived and were not read yet."""


class LineBuffer:
    """Collects received bytes and hands them out as lines, to one reader.

    Attributes:
        is_overrun: whether more bytes arrived than the limit allows; nothing is kept then.
    """

    def __init__(self, limit_bytes: int = LINE_LIMIT_BYTES) -> None:
        self.is_overrun = False
        self._limit_bytes = limit_bytes
        self._lines: deque[str] = deque()
        self._size_bytes = 0
        self._rest = b""
        self._has_ended = False
        self._changed = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Process received bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += [line.decode("utf-8", errors="replace") for line in lines]
        self._size_bytes += sum(map(len, lines))
        if self._size_bytes + len(self._rest) > self._limit_bytes:
            self.is_overrun, self._rest = True, b""
            self._lines.clear()
            self._has_ended = True
        self._changed.set()

    def end(self) -> None:
        """Note that nothing more will arrive; an incomplete line is dropped."""
        self._has_ended = True
        self._changed.set()

    async def read_line(self) -> str | None:
        """Return the next line; None after the end."""
        while not self._lines:
            if self._has_ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        line = self._lines.popleft()
        self._size_bytes -= len(line.encode("utf-8", errors="replace"))
        return line
