"""Limit on concurrent header decryption, so that no address can occupy the RSA thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dagengine.security.errors import TooManyFailures
from dagengine.security.login_throttle import network_of

_AT_ONCE = 2  # enough to keep the one RSA thread busy
_LINGER_S = 0.005


async def _linger() -> None:
    await asyncio.sleep(_LINGER_S)


@dataclass(slots=True)
class _Queue:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    users: int = 0


class LoginLimiter:
    """Limits concurrent credential checks per client address; further requests wait.

    Without the limit, a burst of guesses would be decrypted completely before the first failure is
    counted, and callers at other addresses would have to wait for the whole burst.

    Rejections for a throttled address are delayed by 5 ms while they hold their slot. This caps
    them at about 400 per second over any number of connections and keeps the event loop free for
    other callers. Without the delay, a client that retries immediately would do so as fast as the
    machine can respond.

    Args:
        linger: delays a rejection while it holds its slot.
    """

    def __init__(self, linger: Callable[[], Awaitable[None]] = _linger) -> None:
        self._linger = linger
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def take(self, address: str) -> AsyncIterator[None]:
        """Wait for a slot, and hold it within the context."""
        network = network_of(address)
        queue = self._queues.setdefault(network, _Queue())
        queue.users += 1
        try:
            async with queue.free:
                try:
                    yield
                except TooManyFailures:
                    await self._linger()
                    raise
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[network]
