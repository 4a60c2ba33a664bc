"""Short notation for the tables of a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from dagengine.store.membership import (
    ClusterPins,
    ClusterRecord,
    ControllerRecord,
    ControllerState,
    Fleet,
    ServedCluster,
)

_AT = datetime(2024, 1, 1, tzinfo=UTC)


def cluster(
    name: str, owner: int | None = None, *, epoch: int = 1, reserved_for: int | None = None
) -> ClusterRecord:
    return ClusterRecord(ClusterPins(name, 1, "seekdb", ""), "", owner, reserved_for, epoch, 0)


def fleet(
    clusters: Iterable[ClusterRecord],
    *,
    live: Iterable[int] = (),
    dead: Iterable[int] = (),
    beats: Mapping[int, int] | None = None,
    not_ready: Iterable[tuple[int, str]] = (),
) -> Fleet:
    """Return a table whose controllers serve all clusters, except those in `not_ready`."""
    records = {each.name: each for each in clusters}
    states = dict.fromkeys(live, ControllerState.LIVE) | dict.fromkeys(dead, ControllerState.DEAD)
    controllers = {
        id_: ControllerRecord(id_, f"c{id_}", "1", state, (beats or {}).get(id_, 0), _AT, _AT)
        for id_, state in states.items()
    }
    unready = set(not_ready)
    served = {
        id_: [ServedCluster(name, "", "", (id_, name) not in unready) for name in records]
        for id_ in states
    }
    return Fleet(controllers, records, served)
