"""Storage for replay protection that survives restarts of a guard."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from dagengine.errors import StoreUnavailable


class MemoryLog:
    """An in-memory store of fingerprints."""

    def __init__(self) -> None:
        self.rows: dict[bytes, datetime] = {}
        self.is_broken = False
        self.written = asyncio.Event()

    async def reserve(
        self, entries: Sequence[tuple[bytes, datetime]], *, delete_before: datetime | None
    ) -> None:
        if self.is_broken:
            raise StoreUnavailable("full")
        await asyncio.sleep(0)
        if delete_before is not None:
            self.rows = {p: at for p, at in self.rows.items() if at >= delete_before}
        self.rows = dict(entries) | self.rows
        self.written.set()

    async def load_reserved(self) -> Sequence[tuple[bytes, datetime]]:
        return list(self.rows.items())
