"""The contract of a shared store for its controllers: membership, and who owns which cluster.

`MembershipStore` is re-exported by `dagengine.store.contract`. Its methods change one row each, so
every guard is a condition of one statement. They may be called by every controller at any time,
unlike those of `Store`, which only a cluster's owner calls.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from dagengine.model.fencing import Ownership


class ControllerState(StrEnum):
    """The state of a controller, as the database knows it. DEAD and LEFT are final."""

    LIVE = "LIVE"
    DEAD = "DEAD"
    LEFT = "LEFT"


@dataclass(frozen=True, slots=True)
class JoiningController:
    """A controller that joins.

    Attributes:
        name: for people, such as the host's name.
        version: version of the program.
        lease_s: see Timings; the first controller pins it.
        key_fingerprint: SHA-256 of the public RSA key, in hexadecimal; pinned as well.
    """

    name: str
    version: str
    lease_s: float
    key_fingerprint: str


@dataclass(frozen=True, slots=True)
class ControllerRecord:
    """One row of `controller`. The instants are for people; no decision uses them.

    Attributes:
        controller_id: given at each join, and never again.
        beat: grows by one with each heartbeat.
        seen_at: the last heartbeat, by the controller's own clock.
    """

    controller_id: int
    name: str
    version: str
    state: ControllerState
    beat: int
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class ServedCluster:
    """What a controller announces about a cluster whose file it has.

    Attributes:
        url: where other controllers reach this cluster's listener.
        file_digest: digest of the cluster file, to find files that differ.
        ready: whether file and listener are usable, so that the controller may own the cluster.
    """

    cluster: str
    url: str
    file_digest: str
    ready: bool


@dataclass(frozen=True, slots=True)
class ClusterPins:
    """What all cluster files of one name must agree on; the first controller pins it."""

    name: str
    cluster_id: int
    flavour: str
    advertise: str

    @property
    def is_complete(self) -> bool:
        """False for a copied cluster whose file no controller has read yet."""
        return bool(self.cluster_id or self.flavour)


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """One row of `cluster`.

    Attributes:
        owner: the controller that runs the DAGs; None if the cluster was handed over or is new.
        reserved_for: the controller to which the cluster was handed over.
        epoch: grows with each owner.
        commit_no: grows with each commit.
    """

    pins: ClusterPins
    store_id: str
    owner: int | None
    reserved_for: int | None
    epoch: int
    commit_no: int

    @property
    def name(self) -> str:
        return self.pins.name


@dataclass(frozen=True, slots=True)
class Fleet:
    """All controllers and clusters, from one read.

    Attributes:
        controllers: by id; DEAD and LEFT ones stay until no cluster names them.
        clusters: by name.
        served: what each controller announced, by its id.
    """

    controllers: Mapping[int, ControllerRecord]
    clusters: Mapping[str, ClusterRecord]
    served: Mapping[int, Sequence[ServedCluster]]

    def is_live(self, controller_id: int | None) -> bool:
        """Return whether this is the id of a LIVE controller."""
        record = None if controller_id is None else self.controllers.get(controller_id)
        return record is not None and record.state is ControllerState.LIVE

    def is_vacant(self, cluster: ClusterRecord) -> bool:
        """Return whether a cluster may be taken over.

        An owner without a row has joined after the rows of controllers were read, so it is LIVE.
        """
        owner = cluster.owner
        return owner is None or (owner in self.controllers and not self.is_live(owner))

    def live(self) -> tuple[int, ...]:
        """Return the ids of all LIVE controllers, in order."""
        return tuple(sorted(filter(self.is_live, self.controllers)))

    def ready_for(self, controller_id: int) -> frozenset[str]:
        """Return the clusters that a controller may own, by what it announced."""
        served = self.served.get(controller_id, ())
        return frozenset(each.cluster for each in served if each.ready) & self.clusters.keys()

    def servable(self) -> frozenset[str]:
        """Return the clusters that at least one LIVE controller may own."""
        return frozenset().union(*(self.ready_for(each) for each in self.live()))

    def owned_by(self, controller_id: int) -> frozenset[str]:
        """Return the clusters whose row names this controller as the owner."""
        return frozenset(
            name for name, record in self.clusters.items() if record.owner == controller_id
        )

    def reserved_for(self, controller_id: int) -> frozenset[str]:
        """Return the clusters that were handed over to a controller and have no owner yet."""
        return frozenset(
            name
            for name, record in self.clusters.items()
            if record.owner is None and record.reserved_for == controller_id
        )


class MembershipStore(Protocol):
    """The rows of a shared store that all its controllers write.

    A method that fails raises StoreUnavailable. Then it is unknown whether its statement was
    executed, and the connection is closed; the next call opens another one. Each object uses one
    connection and executes one call at a time.
    """

    async def join(self, joining: JoiningController) -> int:
        """Add a LIVE controller and return its id.

        Raises:
            MembershipRefused: another `lease_s` or another RSA key is pinned.
        """
        ...

    async def announce(self, controller_id: int, served: Sequence[ServedCluster]) -> None:
        """Replace everything that the controller has announced, in one transaction."""
        ...

    async def pin_cluster(self, pins: ClusterPins) -> ClusterPins:
        """Create the cluster's row unless it exists, and return what is pinned there.

        In the row of a copied cluster, id and flavour are not pinned yet; they are pinned then.
        """
        ...

    async def beat(self, controller_id: int) -> bool:
        """Increment the controller's beat. Return False if it is not LIVE: it is fenced."""
        ...

    async def read_fleet(self) -> Fleet:
        """Return all controllers and clusters."""
        ...

    async def declare_dead(self, controller_id: int, *, beat: int) -> bool:
        """Set a LIVE controller to DEAD, unless its beat has changed; return whether it was set."""
        ...

    async def take_over(self, seen: ClusterRecord, controller_id: int) -> Ownership | None:
        """Make the controller the owner, in the next epoch.

        Returns:
            The new ownership; None if owner or epoch have changed since `seen`.
        """
        ...

    async def give_away(self, ownership: Ownership, reserved_for: int | None) -> bool:
        """Give up a cluster whose engine is closed; return False if it had another owner already.

        Args:
            ownership: as returned by `take_over`; its `commit_no` is not compared.
            reserved_for: the controller that is to take it; None for any.
        """
        ...

    async def leave(self, controller_id: int) -> None:
        """Set the controller to LEFT unless it is DEAD. Its engines are closed already."""
        ...

    async def forget_controllers(self, controller_ids: Collection[int]) -> int:
        """Delete those that are DEAD or LEFT and that no cluster names; return their number."""
        ...

    async def forget_cluster(self, name: str) -> None:
        """Delete a cluster with all its rows, in one transaction.

        Raises:
            MembershipRefused: it does not exist, has unfinished DAGs, or a LIVE controller serves
                it.
        """
        ...

    async def close(self) -> None:
        """Close the connection. Safe to call twice."""
        ...
