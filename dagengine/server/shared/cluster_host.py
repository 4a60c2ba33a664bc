"""Opens and closes the engines of the clusters that this controller owns."""

from __future__ import annotations

from dagengine.act_guard import ActGuard
from dagengine.errors import ClusterNotServed
from dagengine.model.fencing import Ownership
from dagengine.runtime.clock import BootClock
from dagengine.server.clusters import Clusters
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.store import MysqlStore

_QUIET_S = 60.0  # without an open stream, before a cluster may be handed over


class SharedClusterHost:
    """The `ClusterHost` of a controller.

    Args:
        clusters: the clusters that this controller serves.
        settings: the database.
        clock: this machine's CLOCK_BOOTTIME.
    """

    def __init__(self, clusters: Clusters, settings: MysqlSettings, clock: BootClock) -> None:
        self._clusters = clusters
        self._settings = settings
        self._clock = clock
        self._busy_s: dict[str, float] = {}

    async def open(self, cluster: str, ownership: Ownership, act_guard: ActGuard) -> None:
        service = self._clusters.find(cluster)
        if service is None:
            raise ClusterNotServed(cluster)
        await service.open_engine(MysqlStore(self._settings, ownership), act_guard)

    async def close(self, cluster: str) -> None:
        if (service := self._clusters.find(cluster)) is not None:
            await service.close_engine()

    async def drop(self, cluster: str) -> None:
        # Leaving an engine writes nothing: its attempts stay open for the next owner. What waits in
        # the store's queue is refused, because the epoch has changed.
        await self.close(cluster)

    def is_running(self, cluster: str) -> bool:
        service = self._clusters.find(cluster)
        local = None if service is None else service.local
        return local is not None and local.engine.is_scheduling

    def is_idle(self, cluster: str) -> bool:
        service, now_s = self._clusters.find(cluster), self._clock.boot_s()
        local = None if service is None else service.local
        if local is None or local.is_busy:
            self._busy_s[cluster] = now_s
        return now_s - self._busy_s.setdefault(cluster, now_s) >= _QUIET_S
