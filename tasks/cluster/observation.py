"""What was seen of a server, and the words that the wire has for it (protocol 3.3). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

NOT_RUNNING, NOT_CONNECTED, RESTRICTED, AVAILABLE = range(4)
"""obState (protocol 2.1)."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a server.

    Attributes:
        observed_at: aware UTC.
        ob_state: 0 not running, 1 running without connection, 2 restricted, 3 available.
        is_reachable: its host answered; when it did not, `ob_state` is 0 for want of better.
        version: of the server program; empty when it was not told.
        why: what stood in the way, for people; empty when nothing did.
    """

    observed_at: datetime
    ob_state: int
    is_reachable: bool = True
    version: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """What the cluster's own table says of one of its servers.

    Attributes:
        status: the database's word, such as ACTIVE.
        is_stopped: it has a stop time.
        with_rootserver: the root service runs there.
        build_version: as the database tells it.
        start_at: since when it serves; None when the database does not say.
    """

    status: str
    is_stopped: bool = False
    with_rootserver: bool = False
    build_version: str = ""
    start_at: datetime | None = None


class ClusterSummary(NamedTuple):
    """What the servers of a cluster together were last seen as."""

    version: str  #: as last told by one of them; empty when none did
    ob_state: int  #: the best of them
    observed_at: datetime | None  #: when that one was seen


def summarize(seen: Sequence[Observation]) -> ClusterSummary:
    """One look at each server as one look at all."""
    told = [one for one in seen if one.version]
    best = max((one.ob_state for one in seen), default=NOT_RUNNING)
    return ClusterSummary(
        version=max(told, key=lambda one: one.observed_at).version if told else "",
        ob_state=best,
        observed_at=max((one.observed_at for one in seen if one.ob_state == best), default=None),
    )


class ServerActivity(StrEnum):
    """What a live task is doing to a server."""

    STARTING = "STARTING"
    SERVICE_STOPPING = "SERVICE_STOPPING"
    PROCESS_STOPPING = "PROCESS_STOPPING"


def read_inner_status(seen: Observation | None, row: TableRow | None) -> str:
    """The database's word for a server, or the nearest to it where there is no table to ask."""
    if row is not None:
        return row.status
    if seen is None or not seen.is_reachable:
        return "UNKNOWN"
    return "ACTIVE" if seen.ob_state == AVAILABLE else "INACTIVE"


def read_server_status(
    seen: Observation | None, row: TableRow | None, move: ServerActivity | None = None
) -> str:
    """A server's status in obcluster/info."""
    if move is not None:
        return move
    if row is not None and row.status == "DELETING":
        return "DELETING"
    if seen is not None and seen.is_reachable and seen.ob_state == NOT_RUNNING:
        return "PROCESS_STOPPED"
    if row is not None and row.is_stopped:
        return "SERVICE_STOPPED"
    return "RUNNING" if read_inner_status(seen, row) == "ACTIVE" else "UNAVAILABLE"


def read_zone_status(servers: Iterable[str]) -> str:
    """A zone's status, from its servers'."""
    present = set(servers)
    if ServerActivity.STARTING in present:
        return "STARTING"
    if present & {ServerActivity.SERVICE_STOPPING, ServerActivity.PROCESS_STOPPING}:
        return "STOPPING"
    if "RUNNING" in present:
        return "RUNNING"
    return "STOPPED" if present <= {"PROCESS_STOPPED", "SERVICE_STOPPED"} else "UNKNOWN"


def read_cluster_status(zones: Collection[str]) -> str:
    """The cluster serves while most of its zones do."""
    running = sum(zone == "RUNNING" for zone in zones)
    return "AVAILABLE" if 2 * running > len(zones) else "UNAVAILABLE"


def cut_build(version: str) -> str:
    """A build version as ob/info shows it: up to the first dash."""
    return version.partition("-")[0]
