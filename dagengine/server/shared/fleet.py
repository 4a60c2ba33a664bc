"""The fleet of a shared store: all controllers and clusters, as the database has them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import structlog
from prometheus_client import CollectorRegistry

from dagengine.api.app import METRICS
from dagengine.api.fleet.view import (
    ClusterCondition,
    ClusterMember,
    ControllerState,
    FleetCluster,
    FleetController,
)
from dagengine.errors import ClusterInUse, ClusterUnknown, MembershipRefused, StoreError
from dagengine.ownership.metrics import OwnershipCollector
from dagengine.ownership.service import OwnershipService
from dagengine.server.clusters import Clusters
from dagengine.server.fleet import messages as fleet_messages
from dagengine.server.fleet.member import LocalMember
from dagengine.server.listener import url_of
from dagengine.server.shared import messages
from dagengine.server.shared.remote_member import RemoteMember
from dagengine.store.membership import ClusterRecord, Fleet

_log = structlog.get_logger("dagengine.server.fleet")


class SharedFleet:
    """All clusters and controllers of a service.

    Args:
        clusters: the clusters that this controller serves.
        ownership: this controller's membership.
    """

    def __init__(self, clusters: Clusters, ownership: OwnershipService) -> None:
        self._clusters = clusters
        self._ownership = ownership
        self._figures = CollectorRegistry()
        self._figures.register(OwnershipCollector(ownership.status))

    def list_clusters(self) -> Sequence[FleetCluster]:
        """Return the clusters of the database, and those that only this controller's files name."""
        fleet = self._ownership.fleet
        names = fleet.clusters.keys() | {life.config.name for life in self._clusters.lives}
        return [self._describe(fleet, name) for name in sorted(names)]

    def list_controllers(self) -> Sequence[FleetController]:
        """Return all controllers of the database."""
        fleet = self._ownership.fleet
        return [
            FleetController(
                record.controller_id,
                record.name,
                record.version,
                ControllerState(record.state),
                record.started_at,
                record.seen_at,
                tuple(sorted(fleet.owned_by(record.controller_id))),
            )
            for _, record in sorted(fleet.controllers.items())
        ]

    def find_member(self, name: str) -> ClusterMember | None:
        """Return a cluster of this controller's files; None for any other."""
        service = self._clusters.find(name)
        if service is None:
            return None
        if service.local is not None or service.forwarder is None:
            return LocalMember(service)
        return RemoteMember(service, service.forwarder)

    async def refresh_metrics(self) -> Sequence[CollectorRegistry]:
        """Return the metrics of this controller's membership and of the clusters that it owns."""
        registries = [self._figures]
        for service in self._clusters.served:
            if service.local is not None:
                metrics = service.local.app[METRICS]
                with suppress(StoreError):  # its last numbers stay
                    await metrics.refresh()
                registries.append(metrics.exported)
        return registries

    async def forget(self, name: str) -> None:
        """Delete the rows of a cluster that no controller serves.

        Raises:
            ClusterUnknown: there is no such cluster.
            ClusterInUse: a LIVE controller serves it, or it has unfinished DAGs.
            StoreError: the database cannot be used.
        """
        if name not in self._ownership.fleet.clusters:
            raise ClusterUnknown(name)
        try:
            await self._ownership.forget_cluster(name)
        except MembershipRefused as exc:
            raise ClusterInUse(exc.message, remedy=exc.remedy) from exc
        _log.info("cluster_forgotten", cluster=name)

    def _describe(self, fleet: Fleet, name: str) -> FleetCluster:
        record = fleet.clusters.get(name)
        owner = None if record is None else record.owner
        for life in self._clusters.lives:
            if life.config.name != name:
                continue
            url = url_of(life.config.api)
            socket = None if life.service is None else life.service.listener.socket
            reason = self._find_reason(fleet, name, record)
            if life.service is None:
                reason = (
                    fleet_messages.CLUSTER_OPENING() if life.refusal is None else str(life.refusal)
                )
            condition = ClusterCondition.REFUSED if reason else ClusterCondition.SERVED
            return FleetCluster(name, condition, reason, url, socket, owner)
        controllers = ", ".join(_serving(fleet, name))
        reason = (
            messages.SERVED_ELSEWHERE(controllers=controllers)
            if controllers
            else messages.SERVED_NOWHERE()
        )
        return FleetCluster(name, ClusterCondition.NOT_CONFIGURED, reason, owner=owner)

    def _find_reason(self, fleet: Fleet, name: str, record: ClusterRecord | None) -> str:
        """Return why a cluster of this controller's files is not served; empty if it is."""
        if (difference := self._ownership.differences.get(name)) is not None:
            return difference
        if record is not None and record.owner is None and not _serving(fleet, name):
            return messages.SERVED_NOWHERE()
        return ""


def _serving(fleet: Fleet, name: str) -> list[str]:
    """Return the names of the LIVE controllers that serve a cluster."""
    return [fleet.controllers[id_].name for id_ in fleet.live() if name in fleet.ready_for(id_)]
