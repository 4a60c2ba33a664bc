"""Admission of work for clusters: a limited number of clusters and of servers at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """What may run at the same time.

    Attributes:
        clusters: number of clusters, at least 1.
        servers: number of servers in these clusters, at least 1; a larger cluster runs alone.
    """

    clusters: int
    servers: int


def count_admitted(waiting: Sequence[int], running: Sequence[int], limits: AdmissionLimits) -> int:
    """Return how many of the waiting clusters may begin now, in their order.

    Args:
        waiting: number of servers of each cluster that waits, the first one first.
        running: the same of each cluster that runs.
        limits: what may run at the same time.
    """
    clusters, servers = len(running), sum(running)
    for count, weight in enumerate(waiting):
        fits = clusters < limits.clusters and servers + weight <= limits.servers
        if not fits and clusters > 0:
            return count
        clusters += 1
        servers += weight
    return len(waiting)


class Admission:
    """Lets work for clusters begin in the order of its arrival, within limits."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.limits = limits
        self._running: list[int] = []
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def running(self) -> int:
        """Number of clusters that run now."""
        return len(self._running)

    @asynccontextmanager
    async def admit(self, servers: int) -> AsyncIterator[None]:
        """Wait for the turn of a cluster with this number of servers; it ends with the context."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (servers, turn)
        self._waiting.append(entry)
        self._advance()
        try:
            await turn
            yield
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
            else:
                self._running.remove(servers)
            self._advance()

    def _advance(self) -> None:
        weights = [servers for servers, _ in self._waiting]
        for _ in range(count_admitted(weights, self._running, self.limits)):
            servers, turn = self._waiting.popleft()
            self._running.append(servers)
            if not turn.done():
                turn.set_result(None)
