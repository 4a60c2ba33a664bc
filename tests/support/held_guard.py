"""An ActGuard that a test opens and closes."""

from __future__ import annotations

import asyncio


class HeldGuard:
    """Holds commands until it is opened.

    Attributes:
        waiting: set once a command waits.
    """

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def wait_until_allowed(self) -> None:
        if not self._open.is_set():
            self.waiting.set()
        await self._open.wait()
