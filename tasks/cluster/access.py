"""Access to a cluster's servers: the current cluster file, the hosts, the time, current starts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from dagengine import Clock
from dagengine.remote import Runner, RunnerPool
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.observation import Observation
from tasks.cluster.servers import Server


class FollowedStarts:
    """Servers whose start a step follows; it records their state, so that nothing else probes them.

    A booting server needs the CPU time of its host itself.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ended: dict[str, asyncio.Event] = {}

    @contextmanager
    def follow(self, name: str) -> Iterator[None]:
        """Mark a server as followed within the context."""
        self._counts[name] += 1
        try:
            yield
        finally:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]
                if ended := self._ended.pop(name, None):
                    ended.set()

    def is_followed(self, name: str) -> bool:
        """Return whether a step follows the start of the server."""
        return name in self._counts

    async def wait_for_end(self, name: str) -> None:
        """Wait until no step follows the start of the server."""
        while self.is_followed(name):
            await self._ended.setdefault(name, asyncio.Event()).wait()


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """The arguments that all actions on a cluster share.

    For SQL see `tasks.sql.cluster.open_cluster_sql`.

    Attributes:
        cluster: the current cluster file; receives observations.
        pool: runs commands on hosts.
        clock: source of time.
        starts: the servers whose start a step follows.
    """

    cluster: ClusterFile
    pool: RunnerPool
    clock: Clock
    starts: FollowedStarts = field(default_factory=FollowedStarts)

    def server(self, name: str) -> Server:
        """Return the server with this name.

        Raises:
            ConfigError: the cluster file no longer contains it.
        """
        return self.cluster.server(name)

    def runner(self, server: Server) -> Runner:
        """Return the runner for the server's host."""
        return self.pool.runner(server.address)

    def now(self) -> datetime:
        """Return the time, in aware UTC."""
        return self.clock.now()

    def record(self, server: Server, ob_state: int, *, version: str = "") -> None:
        """Record the state of a server, as observed now."""
        observation = Observation(self.now(), ob_state, version=version)
        self.cluster.record_observation(server.name, observation)
