"""The engines of one membership: opened, closed and dropped, each cluster in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

import structlog

from dagengine.errors import DagengineError, StoreError
from dagengine.model.fencing import Ownership
from dagengine.ownership.cluster_host import ClusterHost
from dagengine.ownership.standing import Standing
from dagengine.ownership.timings import Timings
from dagengine.runtime.cancellation import run_phase
from dagengine.runtime.clock import BootClock
from dagengine.runtime.service import Service
from dagengine.store.membership import MembershipStore

_log = structlog.get_logger("dagengine.ownership")


class OpenEngines(Service):
    """The engines that a process runs, over all of its memberships.

    A cluster has at most one task that opens or closes its engine. Until that task has ended, the
    cluster is busy, also for a later membership of this process.

    Args:
        host: opens and closes the engines.
        clock: this machine's CLOCK_BOOTTIME.
        timings: the pause after an engine that failed to open.
    """

    name = "engines"
    patience_s = 1.0  # the last call of a membership: what still runs has been waited for
    patience = 2

    def __init__(self, host: ClusterHost, clock: BootClock, timings: Timings) -> None:
        super().__init__()
        self._host = host
        self._clock = clock
        self._timings = timings
        self._held: dict[str, Ownership] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        self._opening: set[str] = set()
        self._failed_s: dict[str, float] = {}

    @property
    def held(self) -> Mapping[str, Ownership]:
        """The ownership with which each engine was opened, or is being opened."""
        return self._held

    @property
    def busy(self) -> frozenset[str]:
        """Clusters whose engine is being opened, closed or dropped."""
        return frozenset(self._work)

    @property
    def running(self) -> frozenset[str]:
        """Clusters whose engine runs."""
        return frozenset(filter(self._host.is_running, self._held))

    @property
    def idle(self) -> frozenset[str]:
        """Clusters whose engine may be closed without anyone waiting."""
        return frozenset(filter(self._host.is_idle, self.running - self.busy))

    @property
    def failed(self) -> frozenset[str]:
        """Clusters whose engine failed to open a short time ago."""
        now_s, pause_s = self._clock.boot_s(), self._timings.reopen_s
        return frozenset(name for name, at in self._failed_s.items() if now_s - at < pause_s)

    def open(self, ownership: Ownership, standing: Standing) -> None:
        """Begin to open an engine."""
        name = ownership.cluster
        self._held[name] = ownership
        self._opening.add(name)
        self._begin(name, self._open(ownership, standing), "open")

    def drop(self, cluster: str) -> None:
        """Begin to end an engine without writing."""
        self._begin(cluster, self._end(cluster, self._host.drop), "drop")

    def drop_all(self) -> None:
        """Begin to end all engines without writing; engines that are being opened end as well."""
        for cluster in list(self._held):
            if cluster in self._opening:
                self._work[cluster].cancel()
            elif cluster not in self._work:
                self.drop(cluster)

    def hand_over(self, cluster: str, to: int | None, store: MembershipStore) -> None:
        """Begin to close an engine, and then to give the cluster away: to one or to any other."""
        self._begin(cluster, self._hand_over(self._held[cluster], to, store), "hand over")

    async def close_all(self) -> None:
        """Close all engines; return when all have ended.

        An engine that has not ended after `close_s` is left to `stop`.
        """
        end, limit_s = self._close_all(), self._timings.close_s
        await run_phase(end, limit_s=limit_s, phase="engines")

    async def _close_all(self) -> None:
        for cluster in list(self._held):
            if cluster not in self._work:
                self._begin(cluster, self._end(cluster, self._host.close), "close")
        await self.wait_for(self.busy | self._held.keys())
        for cluster in self.running:  # those that were being opened
            self._begin(cluster, self._end(cluster, self._host.close), "close")
        await self.wait_for(self.busy)

    async def wait_for(self, clusters: Iterable[str]) -> None:
        """Return when the tasks that work on these clusters have ended."""
        if tasks := [self._work[each] for each in clusters if each in self._work]:
            await asyncio.wait(tasks)

    def _begin(self, cluster: str, work: Coroutine[Any, Any, None], verb: str) -> None:
        task = self.spawn(work, name=f"{verb} {cluster}")
        self._work[cluster] = task
        task.add_done_callback(lambda _: self._work.pop(cluster))

    async def _open(self, ownership: Ownership, standing: Standing) -> None:
        name, is_open = ownership.cluster, False
        try:
            await self._host.open(name, ownership, standing)
            is_open = True
        except DagengineError as exc:
            _log.error("cluster_not_opened", cluster=name, epoch=ownership.epoch, error=str(exc))
            return
        finally:
            self._opening.discard(name)
            if not is_open:
                del self._held[name]
                self._failed_s[name] = self._clock.boot_s()
        self._failed_s.pop(name, None)
        _log.info("cluster_opened", cluster=name, epoch=ownership.epoch)
        if standing.is_fenced:
            await self._end(name, self._host.drop)

    async def _hand_over(
        self, ownership: Ownership, to: int | None, store: MembershipStore
    ) -> None:
        await self._end(ownership.cluster, self._host.close)
        await give_away(store, ownership, to)

    async def _end(self, cluster: str, end: Callable[[str], Awaitable[None]]) -> None:
        ownership = self._held[cluster]
        try:
            await end(cluster)
        except DagengineError as exc:
            _log.error("cluster_not_closed", cluster=cluster, error=str(exc))
        finally:
            del self._held[cluster]
        _log.info("cluster_closed", cluster=cluster, epoch=ownership.epoch)


async def give_away(store: MembershipStore, ownership: Ownership, to: int | None) -> None:
    """Give a cluster away whose engine is closed; after an error the engine check repeats it."""
    try:
        is_given = await store.give_away(ownership, to)
    except StoreError as exc:
        _log.warning("cluster_not_given_away", cluster=ownership.cluster, error=str(exc))
        return
    if is_given:
        _log.info("cluster_given_away", cluster=ownership.cluster, to=to)
