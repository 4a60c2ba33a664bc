"""The fleet of a single controller, which owns all of its clusters."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from dagengine.api.app import METRICS
from dagengine.api.fleet.view import (
    ClusterCondition,
    ControllerState,
    FleetCluster,
    FleetController,
)
from dagengine.errors import ClusterInUse, ClusterUnknown, StoreError
from dagengine.model.states import State
from dagengine.runtime.clock import Clock
from dagengine.server.clusters import ClusterLife, Clusters
from dagengine.server.config import SERVICE, EngineConfig
from dagengine.server.fleet import messages
from dagengine.server.fleet.member import LocalMember
from dagengine.server.listener import url_of
from dagengine.server.local_store import key_file_of
from dagengine.store.sqlite.lock_file import lock_file_of
from dagengine.store.sqlite.store import SqliteStore

_log = structlog.get_logger("dagengine.server.fleet")

_OWN_ID = 1
_NAME = re.compile(r"[a-z0-9-]{1,32}")
_UNFINISHED = (State.READY, State.RUNNING)


class StandaloneFleet:
    """The clusters of one controller, with stores in SQLite.

    Args:
        clusters: the configured clusters.
        config: the engine file.
        clock: source of time.
        version: version of this program.
    """

    def __init__(
        self, clusters: Clusters, config: EngineConfig, clock: Clock, version: str
    ) -> None:
        self._clusters = clusters
        self._config = config
        self._clock = clock
        self._version = version
        self._started_at: datetime = clock.now()

    def list_clusters(self) -> Sequence[FleetCluster]:
        """Return the configured clusters, and those of which only the store is left."""
        configured = [_describe(life) for life in self._clusters.lives]
        names = {cluster.name for cluster in configured}
        left = [
            FleetCluster(name, ClusterCondition.NOT_CONFIGURED, messages.ONLY_STORE_LEFT(path=path))
            for name, path in self._list_stores()
            if name not in names
        ]
        return sorted([*configured, *left], key=lambda cluster: cluster.name)

    def list_controllers(self) -> Sequence[FleetController]:
        """Return this controller."""
        return [
            FleetController(
                _OWN_ID,
                socket.gethostname(),
                self._version,
                ControllerState.LIVE,
                self._started_at,
                self._clock.now(),
                tuple(sorted(service.name for service in self._clusters.served)),
            )
        ]

    def find_member(self, name: str) -> LocalMember | None:
        """Return a cluster that is served; None for any other."""
        service = self._clusters.find(name)
        return None if service is None else LocalMember(service)

    async def refresh_metrics(self) -> Sequence[CollectorRegistry]:
        """Return the current metrics of the clusters that are served."""
        registries = []
        for service in self._clusters.served:
            if service.local is not None:
                metrics = service.local.app[METRICS]
                with suppress(StoreError):  # its last numbers stay
                    await metrics.refresh()
                registries.append(metrics.exported)
        return registries

    async def forget(self, name: str) -> None:
        """Delete the files of a cluster that is not configured.

        Raises:
            ClusterUnknown: there is no such cluster.
            ClusterInUse: it is configured, or has unfinished DAGs.
            StoreError: the store is in use, or cannot be read.
        """
        if any(cluster.name == name for cluster in map(_describe, self._clusters.lives)):
            raise ClusterInUse(
                messages.CLUSTER_CONFIGURED(cluster=name), remedy=messages.REMOVE_CLUSTER()
            )
        path = dict(self._list_stores()).get(name)
        if path is None:
            raise ClusterUnknown(name)
        store = SqliteStore(path)
        await store.open()
        try:
            counts = await store.count_dags()
        finally:
            await store.close()
        unfinished = sum(counts.get(state, 0) for state in _UNFINISHED)
        if unfinished:
            raise ClusterInUse(
                messages.CLUSTER_UNFINISHED(cluster=name, count=unfinished),
                remedy=messages.END_TASKS(path=path),
            )
        for file in _files_of(path):
            file.unlink(missing_ok=True)
        _log.info("cluster_forgotten", cluster=name, store=str(path))

    def _list_stores(self) -> Iterator[tuple[str, Path]]:
        """Yield name and path of each store in the directory of the stores."""
        directory = self._config.store.directory
        if directory is None:
            return
        for path in sorted(directory.glob("*.sqlite")):
            if path.stem != SERVICE and _NAME.fullmatch(path.stem):
                yield path.stem, path


def _files_of(store: Path) -> Iterator[Path]:
    """Yield the files that belong to a store, the store itself last."""
    for suffix in ("-wal", "-shm"):
        yield Path(f"{store}{suffix}")
    yield key_file_of(store)
    yield lock_file_of(store)
    yield store


def _describe(life: ClusterLife) -> FleetCluster:
    config, service = life.config, life.service
    url, unix_socket = url_of(config.api), config.socket_path
    if service is None:
        reason = messages.CLUSTER_OPENING() if life.refusal is None else str(life.refusal)
        return FleetCluster(config.name, ClusterCondition.REFUSED, reason, url, unix_socket)
    return FleetCluster(service.name, ClusterCondition.SERVED, "", url, unix_socket, owner=_OWN_ID)
