"""Observed state of servers, and the corresponding wire values (protocol 3.3). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

NOT_RUNNING, NOT_CONNECTED, RESTRICTED, AVAILABLE = range(4)
"""Values of obState (protocol 2.1)."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Result of one probe of a server.

    Attributes:
        observed_at: aware UTC.
        ob_state: 0 not running, 1 running without connection, 2 restricted, 3 available.
        is_reachable: whether its host answered; if not, `ob_state` is 0 as a placeholder.
        version: of the server program; empty if unknown.
        why: reason why the server is not available, for operators; empty if it is.
    """

    observed_at: datetime
    ob_state: int
    is_reachable: bool = True
    version: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A server's row in the cluster's own table.

    Attributes:
        status: as in the database, such as ACTIVE.
        is_stopped: whether it has a stop time.
        with_rootserver: whether the root service runs there.
        build_version: as in the database.
        start_at: start of service; None if the database does not report it.
    """

    status: str
    is_stopped: bool = False
    with_rootserver: bool = False
    build_version: str = ""
    start_at: datetime | None = None


class ClusterSummary(NamedTuple):
    """Last observed state of a cluster's servers as a whole."""

    version: str  #: last version reported by a server; empty if unknown
    ob_state: int  #: best state of all servers
    observed_at: datetime | None  #: latest observation of that state


def summarize(observations: Sequence[Observation]) -> ClusterSummary:
    """Combine the observations of the servers into one summary."""
    versioned = [observation for observation in observations if observation.version]
    newest = max(versioned, key=lambda observation: observation.observed_at, default=None)
    best = max((observation.ob_state for observation in observations), default=NOT_RUNNING)
    instants = (each.observed_at for each in observations if each.ob_state == best)
    return ClusterSummary(
        version="" if newest is None else newest.version,
        ob_state=best,
        observed_at=max(instants, default=None),
    )


class ServerActivity(StrEnum):
    """Activity of an unfinished DAG on a server."""

    STARTING = "STARTING"
    SERVICE_STOPPING = "SERVICE_STOPPING"
    PROCESS_STOPPING = "PROCESS_STOPPING"


def read_inner_status(observation: Observation | None, row: TableRow | None) -> str:
    """Return the database's status of a server, or an estimate if its table row is missing."""
    if row is not None:
        return row.status
    if observation is None or not observation.is_reachable:
        return "UNKNOWN"
    return "ACTIVE" if observation.ob_state == AVAILABLE else "INACTIVE"


def read_server_status(
    observation: Observation | None, row: TableRow | None, activity: ServerActivity | None = None
) -> str:
    """Return a server's status for obcluster/info."""
    if activity is not None:
        return activity
    if row is not None and row.status == "DELETING":
        return "DELETING"
    if observation is not None and observation.is_reachable and observation.ob_state == NOT_RUNNING:
        return "PROCESS_STOPPED"
    if row is not None and row.is_stopped:
        return "SERVICE_STOPPED"
    return "RUNNING" if read_inner_status(observation, row) == "ACTIVE" else "UNAVAILABLE"


def read_zone_status(servers: Iterable[str]) -> str:
    """Derive a zone's status from the statuses of its servers."""
    present = set(servers)
    if ServerActivity.STARTING in present:
        return "STARTING"
    if present & {ServerActivity.SERVICE_STOPPING, ServerActivity.PROCESS_STOPPING}:
        return "STOPPING"
    if "RUNNING" in present:
        return "RUNNING"
    return "STOPPED" if present <= {"PROCESS_STOPPED", "SERVICE_STOPPED"} else "UNKNOWN"


def read_cluster_status(zones: Collection[str]) -> str:
    """Return AVAILABLE if more than half of the zones are RUNNING, else UNAVAILABLE."""
    running = sum(zone == "RUNNING" for zone in zones)
    return "AVAILABLE" if 2 * running > len(zones) else "UNAVAILABLE"


def cut_build(version: str) -> str:
    """Shorten a build version to the part before the first dash, as in ob/info."""
    return version.partition("-")[0]
