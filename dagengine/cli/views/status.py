"""`status`, and `show` without an id: the servers now, the lock, the DAGs, the next commands.

The controller probes the servers. What a DAG knew when it ended is not their state.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dagengine.cli import messages
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.session import current_screen, print_result
from dagengine.cli.views.render import (
    UNFINISHED,
    Json,
    failed_at_lock,
    find_reason,
    next_step_hints,
    render_headline,
    render_wait,
    server_label,
)
from dagengine.cli.views.screen import Line, Screen, Style, render_age, render_table
from dagengine.runtime.addresses import render_host_port
from dagengine.runtime.clock import SystemClock
from dagengine.runtime.terminal import write_document

if TYPE_CHECKING:
    from dagengine.client import Client

_GLOBAL_MAINTENANCE = 2
_PAGE = 20  # DAGs per request; usually the first one is sufficient
_NOT_CONNECTED, _RESTRICTED, _AVAILABLE = 1, 2, 3  # values of ob_status
_INTERVAL_S = 1.0  # between two readings of `--watch`
_WIDE = 100  # columns of a terminal that displays times and errors in the table
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
class ServerStatus:
    """The state of one server according to its last probe.

    Attributes:
        name: `ip:agent_port`.
        state: one word.
        style: meaning of the state.
        pid: None if no process was found.
        up_since: start of the process, as in the API; None if it is not known.
        last_error: why the server is not up; empty if it is.
    """

    name: str
    zone: str
    state: str
    style: Style
    pid: int | None
    up_since: str | None
    last_error: str

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
        dag: the last DAG that acted on servers; its failures explain why a server is not up.
    """
    failures = {
        server_label(task): find_reason(task)
        for node in (dag or {}).get("nodes") or []
        for task in node["sub_tasks"] or []
        if task["state"] == "FAILED"
    }
    return [
        _read_server(zone["name"], server, failures)
        for zone in topology["zones"]
        for server in zone["servers"]
    ]


def render_cluster_status(
    status: ClusterStatus,
    now: datetime,
    screen: Screen = Screen(),  # noqa: B008  # frozen
) -> list[str]:
    """Render the status as lines of text."""
    up, count = sum(server.is_up for server in status.servers), len(status.servers)
    style = Style.GOOD if up == count else Style.BAD
    healthy = messages.HEALTHY(up=up, servers=count)
    lines: list[str] = [Line((healthy, style), mark=style)]
    lines += _render_servers(status.servers, now, screen)
    lines += _render_locks(status, now, screen)
    lines += _render_unfinished(status, screen)
    if status.newest is None or status.by is None:
        return [*lines, messages.NEVER_STARTED(), *_next_steps(status)]
    if failed_at_lock(status.newest) and status.newest["id"] != status.by["id"]:
        name, dag_id = status.newest["name"], status.newest["id"]
        lines.append(messages.LOCK_WAS_HELD(name=name, dag_id=dag_id))
    if status.by["state"] not in UNFINISHED:
        headline = render_headline(status.by, status.controller)
        time = screen.time(status.by["end_time"], now)
        lines.append(messages.LAST_DAG(headline=headline, time=time))
    return [*lines, *_next_steps(status)]


async def show_status(client: Client, as_json: bool) -> int:
    """Print the status once; return DONE if every server is up, else FAILED."""
    status = await read_cluster_status(client)
    lines = render_cluster_status(status, SystemClock().now(), current_screen())
    print_result(as_json, status.as_json(), lines)
    return _exit_code(status)


async def watch_status(client: Client, as_json: bool) -> int:
    """Print the status whenever it differs, until an interrupt ends the command."""
    from dagengine.cli.views.progress import watch  # noqa: PLC0415  # asyncio

    if as_json:
        previous = None
        async for status in _read_repeatedly(client):
            document = status.as_json()
            if document != previous:
                write_document(sys.stdout, document)
                previous = document
    screen = current_screen()
    await watch(sys.stdout, screen, _render_repeatedly(client, screen))
    return ExitCode.DONE


# --- internal functions ---


async def _render_repeatedly(
    client: Client, screen: Screen
) -> AsyncIterator[tuple[object, list[str]]]:
    async for status in _read_repeatedly(client):
        size = current_screen() if screen.is_capable else screen
        yield status.as_json(), render_cluster_status(status, SystemClock().now(), size)


async def _read_repeatedly(client: Client) -> AsyncIterator[ClusterStatus]:
    import asyncio  # noqa: PLC0415

    while True:
        yield await read_cluster_status(client)
        await asyncio.sleep(_INTERVAL_S)


def _exit_code(status: ClusterStatus) -> int:
    return ExitCode.DONE if status.is_healthy else ExitCode.FAILED


def _read_server(zone: str, server: Json, failures: Mapping[str, str]) -> ServerStatus:
    name = render_host_port(server["ip"], server["obshell_port"])
    ob_status, status = server["ob_status"], server["status"]
    is_up = ob_status == _AVAILABLE and status in ("RUNNING", "STARTING")
    if is_up or status not in _STATES:
        unknown = (messages.STATE_UNKNOWN(), Style.BUSY)
        state, style = _OB_STATES.get(ob_status, unknown)
    else:
        state, style = _STATES[status]
    error = "" if style is Style.GOOD else failures.get(name) or server.get("why", "")
    pid, up_since = server.get("pid"), server.get("process_start")
    return ServerStatus(name, zone, state, style, pid, up_since, error)


def _render_servers(servers: Sequence[ServerStatus], now: datetime, screen: Screen) -> list[Line]:
    is_wide = screen.width is None or screen.width >= _WIDE
    head = [messages.COLUMN_SERVER(), messages.COLUMN_ZONE(), messages.COLUMN_STATE()]
    rows: list[list[str]] = [[*head, messages.COLUMN_PID(), messages.COLUMN_UP_SINCE()]]
    for server in servers:
        since: str = messages.NO_VALUE()
        if server.up_since is not None:
            age = render_age(now - datetime.fromisoformat(server.up_since))
            since = screen.time(server.up_since) if is_wide else age
        pid = messages.NO_VALUE() if server.pid is None else str(server.pid)
        rows.append([server.name, server.zone, server.state, pid, since])
    first, *others = render_table(rows)
    title = "  ".join(["", *first, *([messages.COLUMN_LAST_ERROR()] if is_wide else [])])
    lines = [Line((title.rstrip(), Style.STRONG))]
    for server, cells in zip(servers, others, strict=True):
        name, zone, state, *rest = cells
        more = "  ".join(["", *rest, *([server.last_error] if is_wide else [])])
        row = (f"  {name}  {zone}  ", (state, server.style), more.rstrip())
        lines.append(Line(*row, mark=server.style))
        if server.last_error and not is_wide:
            lines.append(Line(f"    {server.last_error}"))
    return lines


def _render_locks(status: ClusterStatus, now: datetime, screen: Screen) -> list[str]:
    holders = [lock for lock in status.locks if lock["dag_id"] is not None]
    return [
        messages.LOCK_HOLDER(
            name=lock["name"], dag_id=lock["dag_id"], since=screen.time(lock["since"], now)
        )
        for lock in holders
    ] or [messages.LOCK_FREE()]


def _render_unfinished(status: ClusterStatus, screen: Screen) -> list[str]:
    lines: list[str] = []
    for dag in status.unfinished:
        head = {"name": dag["name"], "dag_id": dag["id"], "since": screen.time(dag["start_time"])}
        text = messages.RUNNING_DAG(**head, stage=dag["stage"], stages=dag["max_stage"])
        lines.append(Line(text, mark=Style.BUSY))
        waits = dict((dag["additional_data"] or {}).get("wait", {}))
        own = waits.pop(status.controller, None)
        for server, wait in waits.items():
            text = messages.TARGET_WAITS_FOR(target=server, wait=render_wait(wait, screen))
            lines.append(f"    {text}")
        if own and not waits:  # otherwise the controller waits for those servers
            lines.append(f"    {messages.WAITS_FOR(wait=render_wait(own, screen))}")
    return lines or [messages.NO_RUNNING_DAG()]


def _next_steps(status: ClusterStatus) -> list[str]:
    if status.by is not None and status.by["state"] in UNFINISHED:
        return next_step_hints(status.by)
    if status.is_healthy:
        return [messages.NEXT_DRY_RUN()]
    hints = next_step_hints(status.by) if status.by is not None else []
    return hints or _steps_without_failure(status)


def _steps_without_failure(status: ClusterStatus) -> list[str]:
    """Return what to do about servers that are not up although no DAG has failed."""
    bad = [server for server in status.servers if not server.is_up]
    if not any(server.is_unknown for server in bad):
        return [messages.NEXT_START() if status.by is None else messages.NEXT_START_DOWN()]
    is_other = not all(server.is_unknown for server in bad)
    return [messages.NEXT_DOCTOR(), *([messages.AND_START_DOWN()] if is_other else [])]


def _holders(unfinished: Sequence[Json]) -> list[Json]:
    return [dag for dag in unfinished if dag["maintenance_type"] == _GLOBAL_MAINTENANCE]
