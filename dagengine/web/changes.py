"""A signal for open pages that something on display has changed, such as the state of a server."""

from __future__ import annotations

import asyncio


class ChangeSignal:
    """Counts changes, and wakes everything that waits for the next one.

    Attributes:
        count: the number of changes so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Report a change; call it in the event loop's thread."""
        self.count += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, after: int) -> int:
        """Wait until there were more than `after` changes; return their number."""
        while self.count <= after:
            await self._changed.wait()
        return self.count
