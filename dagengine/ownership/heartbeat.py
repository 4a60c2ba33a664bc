"""The heartbeat of one membership, on its own connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from dagengine.errors import StoreError
from dagengine.ownership.standing import Standing
from dagengine.ownership.timings import Timings
from dagengine.runtime.clock import BootClock
from dagengine.runtime.service import Service
from dagengine.store.membership import MembershipStore

_log = structlog.get_logger("dagengine.ownership")


class Heartbeat(Service):
    """Increments the beat of one controller until it is fenced or stopped.

    Args:
        store: a connection that nothing else uses, so that no other statement delays a beat.
        controller_id: the controller.
        standing: renewed by each beat.
        clock: this machine's CLOCK_BOOTTIME.
        timings: time between two beats.
        on_fenced: called once if the database no longer knows the controller as LIVE.
    """

    name = "heartbeat"

    def __init__(
        self,
        store: MembershipStore,
        controller_id: int,
        standing: Standing,
        clock: BootClock,
        timings: Timings,
        on_fenced: Callable[[], None],
    ) -> None:
        super().__init__()
        self._store = store
        self._controller_id = controller_id
        self._standing = standing
        self._clock = clock
        self._timings = timings
        self._on_fenced = on_fenced
        self._failures = 0

    async def run(self) -> None:
        while True:
            began_s = self._clock.boot_s()
            if not await self.run_pass():
                return
            took_s = self._clock.boot_s() - began_s
            await asyncio.sleep(max(self._timings.beat_s - took_s, 0.0))

    async def run_pass(self) -> bool:
        """Send one beat. Return False once the controller is fenced."""
        sent_s = self._clock.boot_s()
        try:
            is_live = await self._store.beat(self._controller_id)
        except StoreError as exc:
            self._note_failure(exc)
            return True
        if not is_live:
            self._on_fenced()
            return False
        self._standing.renew(sent_s)
        if self._failures:
            _log.info("heartbeat_resumed", controller_id=self._controller_id)
        self._failures = 0
        return True

    def _note_failure(self, error: StoreError) -> None:
        self._failures += 1
        if self._failures == 1:  # one line per outage
            _log.warning("heartbeat_failed", controller_id=self._controller_id, error=str(error))
