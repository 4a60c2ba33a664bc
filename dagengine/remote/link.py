"""One host's connection: opened when needed, shared, replaced when it no longer serves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import asyncssh

from dagengine.clock import Clock
from dagengine.errors import HostUnreachable
from dagengine.remote.base import HostAddress
from dagengine.remote.login import log_in, no_answer

_CLOSE_BOUND_S = 2.0


class ConnectPacing:
    """Spreads the starts of connections over time, so that many hosts are not one burst.

    It limits the rate, not the number under way: a host that never answers holds nobody up.
    """

    def __init__(self, clock: Clock, random: Random, *, per_s: float = 50.0, burst: int = 10):
        """
        Args:
            clock: for the rate.
            random: for the jitter.
            per_s: connects started per second in the long run, above 0.
            burst: how many may start at once after a pause, at least 1.
        """
        self._clock = clock
        self._random = random
        self._interval_s = 1.0 / per_s
        self._credit_s = burst * self._interval_s
        self._next_s = float("-inf")

    async def wait(self) -> None:
        """Return when the caller may start to connect."""
        await asyncio.sleep(self.delay_s())

    def delay_s(self) -> float:
        """Take a turn; how long it is away, in seconds, at least 0."""
        now_s = self._clock.monotonic_s()
        step_s = self._interval_s * self._random.uniform(0.5, 1.5)
        self._next_s = max(self._next_s, now_s - self._credit_s) + step_s
        return max(0.0, self._next_s - now_s)


class HostLink:
    """The connection to one address. At most one is offered at any time.

    One that no longer serves is retired: nobody new gets it, and it is closed when its last
    user has left, so that one stuck command takes nobody else's connection away.
    """

    def __init__(self, address: HostAddress, pacing: ConnectPacing) -> None:
        self.address = address
        self._pacing = pacing
        self._opening = asyncio.Lock()
        self._offered: asyncssh.SSHClientConnection | None = None
        self._users: Counter[asyncssh.SSHClientConnection] = Counter()
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether a connection is there to be used."""
        return self._offered is not None and not self._offered.is_closed()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """The connection, opened if need be, kept open at least until the context ends.

        Raises:
            HostUnreachable, HostKeyRejected, LoginRefused: there is none to be had.
        """
        connection = await self._get()
        self._users[connection] += 1
        try:
            yield connection
        finally:
            self._users[connection] -= 1
            self._drop_if_unused(connection)

    def retire(self, connection: asyncssh.SSHClientConnection) -> None:
        """Offer this connection to nobody any more."""
        if self._offered is connection:
            self._offered = None
        self._drop_if_unused(connection)

    async def close(self) -> None:
        """Close what is open, whoever uses it; bounded, and safe to call twice."""
        self._closed = True
        for connection in {*self._users, *filter(None, [self._offered])}:
            connection.close()
            try:
                async with asyncio.timeout(_CLOSE_BOUND_S):
                    await connection.wait_closed()
            except TimeoutError:
                connection.abort()
        self._offered = None

    async def _get(self) -> asyncssh.SSHClientConnection:
        try:
            # The bound holds for everybody who waits, not only for the one who connects.
            async with asyncio.timeout(self.address.connect_timeout_s), self._opening:
                if self._closed:
                    raise HostUnreachable(
                        f"the connection to {self.address} was closed for good",
                        host=str(self.address),
                    )
                if self._offered is None or self._offered.is_closed():
                    await self._pacing.wait()
                    self._offered = await log_in(self.address)
                return self._offered
        except TimeoutError:
            raise no_answer(self.address) from None

    def _drop_if_unused(self, connection: asyncssh.SSHClientConnection) -> None:
        if self._users[connection] > 0:
            return
        del self._users[connection]
        if connection is not self._offered:
            connection.abort()
