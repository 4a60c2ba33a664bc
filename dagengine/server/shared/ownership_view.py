"""Who owns one cluster, as the controller's last read of the shared store shows it."""

from __future__ import annotations

from collections.abc import Callable

from dagengine.api.forwarding.owner import Owner
from dagengine.ownership.service import OwnershipService


class ClusterOwnership:
    """The `OwnershipView` of one cluster.

    The ownership service reads the table four times a second, so a view needs no read of its own.

    Args:
        find_service: returns the ownership service; None before it exists.
        cluster: name of the cluster.
    """

    def __init__(self, find_service: Callable[[], OwnershipService | None], cluster: str) -> None:
        self._find_service = find_service
        self.cluster = cluster

    @property
    def controller_id(self) -> int:
        service = self._find_service()
        return (service.controller_id if service is not None else None) or 0

    @property
    def own_epoch(self) -> int | None:
        service = self._find_service()
        ownership = None if service is None else service.owns(self.cluster)
        return None if ownership is None else ownership.epoch

    async def find_other_owner(self) -> Owner | None:
        service = self._find_service()
        if service is None:
            return None
        fleet = service.fleet
        record = fleet.clusters.get(self.cluster)
        if record is None or record.owner is None or record.owner == service.controller_id:
            return None
        if not fleet.is_live(record.owner):
            return None
        for served in fleet.served.get(record.owner, ()):
            if served.cluster == self.cluster:
                return Owner(record.owner, served.url, record.epoch)
        return None
