"""Periodic deletion of old DAGs, which limits the size of the store."""

from __future__ import annotations

import asyncio

import structlog

from dagengine.errors import StoreError
from dagengine.runtime.clock import Clock
from dagengine.runtime.service import Service
from dagengine.store.contract import Retention, Store

_log = structlog.get_logger("dagengine.engine")
_PAUSE_S = 3600.0


class Pruner(Service):
    """Deletes expired rows at start-up and then once an hour."""

    name = "pruner"

    def __init__(self, store: Store, clock: Clock, retention: Retention) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._retention = retention

    async def run(self) -> None:
        while True:
            await self.run_pass()
            await asyncio.sleep(_PAUSE_S)

    async def run_pass(self) -> int:
        """Delete all expired rows in slices and return their number."""
        deleted = 0
        try:
            while slice_rows := await self._store.prune(self._retention, self._clock.now()):
                deleted += slice_rows
        except StoreError as exc:
            _log.warning("pruning_refused", error=str(exc))
        if deleted:
            _log.info("store_pruned", rows=deleted)
        return deleted
