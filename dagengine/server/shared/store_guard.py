"""Refuses clusters whose files name a server of the store, also while the controller runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from dagengine.runtime.service import Service
from dagengine.server.cluster_service import ClusterService, LocalEngine
from dagengine.server.shared import messages
from dagengine.server.shared.store_check import read_identities
from dagengine.store.mysql.identity import ServerIdentity, find_managed
from dagengine.store.mysql.settings import MysqlSettings

_log = structlog.get_logger("dagengine.server.shared")

_PASS_S = 1.0


class StoreGuard(Service):
    """Compares the servers of the clusters that this controller runs with that of the store.

    A cluster is compared once its engine is open, and again when its file has changed: by SIGHUP,
    or before a DAG. Only the owner may contact its hosts. A refusal is valid for the content of the
    file for which it was found.

    Args:
        settings: the database.
        store: the identity of its server.
        list_served: returns the clusters that this controller serves now.
        on_refused: called after a cluster was refused.
    """

    name = "store guard"

    def __init__(
        self,
        settings: MysqlSettings,
        store: ServerIdentity,
        list_served: Callable[[], Sequence[ClusterService]],
        on_refused: Callable[[], None],
    ) -> None:
        super().__init__()
        self._settings = settings
        self._store = store
        self._list_served = list_served
        self._on_refused = on_refused
        self._compared: dict[str, tuple[LocalEngine, str]] = {}
        self._refused: dict[str, str] = {}

    def explain_refusal(self, service: ClusterService) -> str:
        """Return why the controller must not run a cluster; empty if it may."""
        if self._refused.get(service.name) != service.cluster.file_digest:
            return ""
        return messages.STORE_MANAGED(store=self._settings, cluster=service.name)

    async def run(self) -> None:
        while True:
            await self.run_pass()
            await asyncio.sleep(_PASS_S)

    async def run_pass(self) -> None:
        """Compare the clusters whose engine or file is new; takes a few seconds at most."""
        async with asyncio.TaskGroup() as group:
            for service in self._list_served():
                local, digest = service.local, service.cluster.file_digest
                if local is None or self._compared.get(service.name) == (local, digest):
                    continue
                self._compared[service.name] = local, digest
                group.create_task(self._compare(service, digest), name=f"compare {service.name}")

    async def _compare(self, service: ClusterService, digest: str) -> None:
        if find_managed(self._store, await read_identities(service)) is None:
            return
        self._refused[service.name] = digest
        _log.error(
            "cluster_on_store",
            cluster=service.name,
            reason=messages.STORE_MANAGED(store=self._settings, cluster=service.name),
            remedy=messages.USE_META_CLUSTER(),
        )
        self._on_refused()
