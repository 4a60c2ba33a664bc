"""The clusters and controllers of a service, as its routes see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from dagengine.api.caller import Caller
from dagengine.api.schemas.tasks import DagDetailDto
from dagengine.model.states import State


class ClusterCondition(StrEnum):
    """Whether a cluster can be used."""

    SERVED = "served"
    REFUSED = "refused"
    """Configured, but not usable: see the reason."""
    NOT_CONFIGURED = "not configured"
    """Only its store is left."""


class ControllerState(StrEnum):
    """The state of a controller in the membership."""

    LIVE = "LIVE"
    DEAD = "DEAD"
    LEFT = "LEFT"


@dataclass(frozen=True, slots=True)
class FleetCluster:
    """One cluster of the service.

    Attributes:
        name: name of the cluster.
        condition: whether it can be used.
        reason: why it cannot be used; empty if it can.
        url: URL of its API; empty if it is not configured.
        socket: the unix socket of its API; None for none.
        owner: id of the controller that runs its DAGs; None for none.
    """

    name: str
    condition: ClusterCondition
    reason: str = ""
    url: str = ""
    socket: Path | None = None
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class FleetController:
    """One controller of the service.

    Attributes:
        controller_id: its id, at least 1.
        name: host and user-visible name.
        version: version of its program.
        state: its state.
        started_at: when it started.
        seen_at: when its last sign of life was recorded.
        clusters: names of the clusters that it owns.
    """

    controller_id: int
    name: str
    version: str
    state: ControllerState
    started_at: datetime
    seen_at: datetime
    clusters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterSummary:
    """The current state of a cluster that is served.

    Attributes:
        cluster_id: the cluster's own id.
        servers: number of servers in the cluster file.
        ob_state: state of the cluster (protocol 2.1).
        dags: number of DAGs by state.
        lock: who holds the lock of the cluster; empty if it is free.
        last: the newest DAG, without details; None before the first one.
        notices: what users should know now.
    """

    cluster_id: int
    servers: int
    ob_state: int
    dags: Mapping[State, int]
    lock: str
    last: DagDetailDto | None
    notices: tuple[str, ...]


class ClusterMember(Protocol):
    """A cluster that is served: by this controller, or by another one."""

    @property
    def name(self) -> str: ...

    @property
    def servers(self) -> int:
        """Return the number of servers in the cluster file."""
        ...

    async def summarize(self) -> ClusterSummary:
        """Return the current state."""
        ...

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> Sequence[DagDetailDto]:
        """Return DAGs without details, newest first, that are older than the DAG `before`."""
        ...

    async def act(
        self, action: str, request: Mapping[str, Any], caller: Caller, key: str
    ) -> DagDetailDto:
        """Create a DAG by the route with this `fleet_action`, in the caller's name.

        Args:
            action: the action, such as `start`.
            request: the body for the route.
            caller: the caller, who is stored in the audit of the cluster.
            key: idempotency key; empty for none.

        Raises:
            DagengineError: the cluster refuses the request.
        """
        ...

    async def find_repeated(
        self, action: str, request: Mapping[str, Any], key: str
    ) -> DagDetailDto | None:
        """Return the DAG that `act` has created for this key; None if there is none.

        Raises:
            DagengineError: the request is invalid, or the key was used for another one.
        """
        ...

    async def wait(self, dag_id: int) -> None:
        """Return once the DAG has ended, or the cluster is no longer served."""
        ...


class FleetView(Protocol):
    """All clusters and controllers of the service."""

    def list_clusters(self) -> Sequence[FleetCluster]:
        """Return all clusters, ordered by name."""
        ...

    def list_controllers(self) -> Sequence[FleetController]:
        """Return all controllers, ordered by id."""
        ...

    def find_member(self, name: str) -> ClusterMember | None:
        """Return a cluster that is served; None for any other."""
        ...

    async def refresh_metrics(self) -> Sequence[CollectorRegistry]:
        """Return the current metrics of the clusters, with the label `cluster`."""
        ...

    async def forget(self, name: str) -> None:
        """Delete everything that is stored about a cluster.

        Raises:
            ClusterUnknown: there is no such cluster.
            ClusterInUse: it is configured, or has unfinished DAGs.
        """
        ...
