"""Headers of one address are decrypted a few at a time, so that no address takes the thread."""

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
    """Lets so many logins of one address be judged at once; the others wait.

    Without it a burst of guesses would all be decrypted before the first failure is counted, and
    callers at other addresses would stand behind all of them.

    An address that has to pause gets its refusals slowly: each keeps its turn for a few
    milliseconds. So it has some 400 answers a second at most, on however many connections, and the
    loop is free for the others; answered at once it would ask at once again, as fast as the
    machine can.

    Args:
        linger: waits while a refusal keeps its turn.
    """

    def __init__(self, linger: Callable[[], Awaitable[None]] = _linger) -> None:
        self._linger = linger
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def take(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it within the context."""
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
