"""Headers of one address are decrypted a few at a time, so that no address takes the thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dagengine.security.backoff import network_of

_AT_ONCE = 2  # enough to keep the one RSA thread busy


@dataclass(slots=True)
class _Queue:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    users: int = 0


class LoginTurns:
    """Lets so many logins of one address be judged at once; the others wait.

    Without it a burst of guesses would all be decrypted before the first failure is counted, and
    callers at other addresses would stand behind all of them.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def take(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it within the context."""
        network = network_of(address)
        queue = self._queues.setdefault(network, _Queue())
        queue.users += 1
        try:
            async with queue.free:
                yield
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[network]
