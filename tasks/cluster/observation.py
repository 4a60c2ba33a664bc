"""Observed state of servers, and the corresponding wire values (protocol 3.3). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from dagengine.extension import ObservedState

NOT_RUNNING, NOT_CONNECTED, RESTRICTED, AVAILABLE = range(4)
"""Values of obState (protocol 2.1)."""

UNKNOWN_STATUS = "UNKNOWN"
"""Status of a server of which neither its host nor the database reports anything."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Result of one probe of a server.

    Attributes:
        observed_at: aware UTC.
        ob_state: 0 not running, 1 running without connection, 2 restricted, 3 available.
        is_known: whether the state is known; if not, such as of a silent host, `ob_state` is 0 as
            a placeholder.
        version: of the server program; empty if unknown.
        is_reachable: False if the state is unknown because the host could not be reached.
        reason: reason why the server is not available, for operators; empty if it is.
        pid: of its process; None if none was found.
        started_at: start of its process, aware UTC; None if it is not known.
    """

    observed_at: datetime
    ob_state: int
    is_known: bool = True
    version: str = ""
    reason: str = ""
    pid: int | None = None
    started_at: datetime | None = None
    is_reachable: bool = True


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
    state: ObservedState  #: best state of all servers, and the latest observation of it


def summarize(observations: Sequence[Observation], *, is_complete: bool = True) -> ClusterSummary:
    """Combine the observations of the servers into one summary.

    Args:
        observations: of the servers that were observed.
        is_complete: whether every server was observed.
    """
    versioned = [observation for observation in observations if observation.version]
    newest = max(versioned, key=lambda observation: observation.observed_at, default=None)
    best = max((observation.ob_state for observation in observations), default=NOT_RUNNING)
    instants = (each.observed_at for each in observations if each.ob_state == best)
    # A server whose state is unknown could be in a better state.
    is_known = best != NOT_RUNNING or (is_complete and all(each.is_known for each in observations))
    state = ObservedState(best, max(instants, default=None), is_known)
    return ClusterSummary("" if newest is None else newest.version, state)


class ServerActivity(StrEnum):
    """Activity of an unfinished DAG on a server."""

    STARTING = "STARTING"
    SERVICE_STOPPING = "SERVICE_STOPPING"
    PROCESS_STOPPING = "PROCESS_STOPPING"


def read_inner_status(observation: Observation | None, row: TableRow | None) -> str:
    """Return the database's status of a server, or an estimate if its table row is missing."""
    is_outdated = row is not None and row.status == "ACTIVE" and _is_down(observation)
    if row is not None and row.status != UNKNOWN_STATUS and not is_outdated:
        return row.status
    if observation is None or not observation.is_known:
        return UNKNOWN_STATUS
    return "ACTIVE" if observation.ob_state == AVAILABLE else "INACTIVE"


def _is_down(observation: Observation | None) -> bool:
    """Whether the process is known to have ended, which the database may notice later."""
    return observation is not None and observation.is_known and observation.ob_state == NOT_RUNNING


def read_server_status(
    observation: Observation | None, row: TableRow | None, activity: ServerActivity | None = None
) -> str:
    """Return a server's status for obcluster/info."""
    if activity is not None:
        return activity
    if row is not None and row.status == "DELETING":
        return "DELETING"
    if _is_down(observation):
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
