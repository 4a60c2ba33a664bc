"""The data of `status`: each server as its probe found it, and the DAGs that explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dagengine.cli import messages
from dagengine.cli.views.render import Json, failed_at_lock, find_reason, server_label
from dagengine.cli.views.screen import Style
from dagengine.error_codes import Code
from dagengine.runtime.addresses import render_host_port

if TYPE_CHECKING:
    from dagengine.client import Client

_GLOBAL_MAINTENANCE = 2
_PAGE = 20  # DAGs per request; usually the first one is sufficient
_NOT_CONNECTED, _RESTRICTED, _AVAILABLE = 1, 2, 3  # values of ob_status
_STATES = {
    "STARTING": (messages.STATE_STARTING(), Style.BUSY),
    "SERVICE_STOPPING": (messages.STATE_STOPPING(), Style.BUSY),
    "PROCESS_STOPPING": (messages.STATE_STOPPING(), Style.BUSY),
    "DELETING": (messages.STATE_DELETING(), Style.BUSY),
    "PROCESS_STOPPED": (messages.STATE_DOWN(), Style.BAD),
    "SERVICE_STOPPED": (messages.STATE_STOPPED(), Style.BAD),
}
_OB_STATES = {
    _NOT_CONNECTED: (messages.STATE_NO_SQL(), Style.BAD),
    _RESTRICTED: (messages.STATE_RESTRICTED(), Style.BAD),
    _AVAILABLE: (messages.STATE_UP(), Style.GOOD),
}


@dataclass(frozen=True, slots=True)
class ServerFailure:
    """Why the part of a DAG on one server failed.

    Attributes:
        dag: name of the DAG.
        failed_at: instant as in the API.
        cause: the last log line.
    """

    dag: str
    failed_at: str
    cause: str


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The state of one server according to its last probe.

    Attributes:
        name: `ip:agent_port`.
        state: one word.
        style: meaning of the state.
        pid: None if no process was found.
        up_since: start of the process, as in the API; None if it is not known.
        last_error: why the server is not up, according to its probe or, if that has no reason, to
            the failure; empty if it is up.
        failure: an earlier failure that may explain why the server is not up.
    """

    name: str
    zone: str
    state: str
    style: Style
    pid: int | None
    up_since: str | None
    last_error: str
    failure: ServerFailure | None

    @property
    def is_up(self) -> bool:
        return self.style is Style.GOOD

    @property
    def is_unknown(self) -> bool:
        """True if the probe did not find out the state, such as on an unreachable host."""
        return self.state == messages.STATE_UNKNOWN()

    def as_json(self) -> dict[str, Any]:
        """Return the fields for `--json`."""
        return {
            "server": self.name,
            "zone": self.zone,
            "state": self.state,
            "pid": self.pid,
            "up_since": self.up_since,
            "last_error": self.last_error,
            "last_failure": None if self.failure is None else asdict(self.failure),
        }


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The data behind the status.

    Attributes:
        servers: each server of the cluster, as it was probed.
        newest: the newest DAG; None before the first one.
        by: the DAG that next steps refer to: the holder of the lock, else the newest that held it.
        unfinished: the DAGs that have not ended.
        locks: each lock with its holder.
        controller: the controller's address; a failure there is not a server's failure.
    """

    servers: Sequence[ServerStatus]
    newest: Json | None
    by: Json | None
    unfinished: Sequence[Json]
    locks: Sequence[Json]
    controller: str

    @property
    def is_healthy(self) -> bool:
        """True if every server of the cluster is up."""
        return all(server.is_up for server in self.servers)

    def as_json(self) -> dict[str, Any]:
        """Return the document of `--json`."""
        return {
            "healthy": sum(server.is_up for server in self.servers),
            "servers": [server.as_json() for server in self.servers],
            "locks": list(self.locks),
            "unfinished": list(self.unfinished),
            "newest": self.newest,
            "by": self.by,
        }


def find_content(status: ClusterStatus) -> dict[str, Any]:
    """Return what makes a status differ from another one.

    The start of a process is measured at each probe, so it varies by some milliseconds; a
    process that was replaced has another pid.
    """
    document = status.as_json()
    servers = [{**row, "up_since": row["up_since"] is not None} for row in document["servers"]]
    return {**document, "servers": servers}


async def read_cluster_status(client: Client) -> ClusterStatus:
    """Probe the servers, and read the data for the status from the controller."""
    info = await client.info()
    topology = await client.get_topology(probe_now=True)
    locks = await client.list_locks()
    unfinished = await client.list_unfinished()
    newest, by = None, next(iter(_holders(unfinished)), None)
    async with aclosing(client.search_dags(page=_PAGE)) as dags:
        async for short in dags:
            dag = await client.get_dag(short["id"])
            newest = newest or dag
            if by is None and not failed_at_lock(dag):
                by = dag
            if by is not None:
                break
    by = by or newest
    servers = read_servers(topology, by)
    return ClusterStatus(servers, newest, by, unfinished, locks, server_label(info))


def read_servers(topology: Json, dag: Json | None) -> list[ServerStatus]:
    """Return the servers of a topology.

    Args:
        topology: as in the API.
        dag: the last DAG that acted on servers; its failures may explain why a server is not up.
    """
    failures = {
        server_label(task): ServerFailure(dag["name"], task["end_time"], find_reason(task))
        for node in (dag["nodes"] if dag is not None else None) or []
        for task in node["sub_tasks"] or []
        if dag is not None and task["state"] == "FAILED"
    }
    return [
        _read_server(zone["name"], server, failures)
        for zone in topology["zones"]
        for server in zone["servers"]
    ]


# --- internal functions ---


def _read_server(zone: str, server: Json, failures: Mapping[str, ServerFailure]) -> ServerStatus:
    name = render_host_port(server["ip"], server["obshell_port"])
    ob_status, status = server["ob_status"], server["status"]
    is_up = ob_status == _AVAILABLE and status in ("RUNNING", "STARTING")
    if is_up or status not in _STATES:
        unknown = (messages.STATE_UNKNOWN(), Style.BUSY)
        state, style = _OB_STATES.get(ob_status, unknown)
    else:
        state, style = _STATES[status]
    pid, up_since = server.get("pid"), server.get("process_start")
    failure = None if style is Style.GOOD else failures.get(name)
    why = "" if style is Style.GOOD else server.get("why", "")
    if failure is not None and not _may_explain(failure, why, up_since):
        failure = None
    error = why or (failure.cause if failure is not None else "")
    return ServerStatus(name, zone, state, style, pid, up_since, error, failure)


def _may_explain(failure: ServerFailure, why: str, up_since: str | None) -> bool:
    """Return whether an earlier failure may be why a server is not up now.

    The probe has contacted the host since, so its reason replaces that of an earlier contact. A
    process that was started later has not failed.
    """
    if why and failure.cause.startswith(f"[{Code.REMOTE_REQUEST_FAILED}]"):
        return False
    failed_at = datetime.fromisoformat(failure.failed_at)
    return up_since is None or datetime.fromisoformat(up_since) <= failed_at


def _holders(unfinished: Sequence[Json]) -> list[Json]:
    return [dag for dag in unfinished if dag["maintenance_type"] == _GLOBAL_MAINTENANCE]
