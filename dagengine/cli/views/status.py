"""`status`, and `show` without an id: the servers now, the lock, the DAGs, the next commands.

The controller probes the servers. What a DAG knew when it ended is not their state.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dagengine.cli import messages
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.session import current_screen, print_result
from dagengine.cli.views.cluster_status import (
    ClusterStatus,
    ServerStatus,
    find_content,
    read_cluster_status,
)
from dagengine.cli.views.render import (
    UNFINISHED,
    failed_at_lock,
    next_step_hints,
    render_headline,
    render_wait,
)
from dagengine.cli.views.screen import Line, Screen, Style, render_age, render_table
from dagengine.runtime.clock import SystemClock
from dagengine.runtime.terminal import write_document

if TYPE_CHECKING:
    from dagengine.client import Client

_INTERVAL_S = 1.0  # between two readings of `--watch`


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
    lines += _render_unfinished(status, now, screen)
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
            if (content := find_content(status)) != previous:
                write_document(sys.stdout, status.as_json())
                previous = content
    screen = current_screen()
    await watch(sys.stdout, screen, _render_repeatedly(client, screen))
    return ExitCode.DONE


# --- internal functions ---


async def _render_repeatedly(
    client: Client, screen: Screen
) -> AsyncIterator[tuple[object, list[str]]]:
    async for status in _read_repeatedly(client):
        size = current_screen() if screen.is_capable else screen
        yield find_content(status), render_cluster_status(status, SystemClock().now(), size)


async def _read_repeatedly(client: Client) -> AsyncIterator[ClusterStatus]:
    import asyncio  # noqa: PLC0415

    while True:
        yield await read_cluster_status(client)
        await asyncio.sleep(_INTERVAL_S)


def _exit_code(status: ClusterStatus) -> int:
    return ExitCode.DONE if status.is_healthy else ExitCode.FAILED


def _render_servers(servers: Sequence[ServerStatus], now: datetime, screen: Screen) -> list[Line]:
    rows = _server_rows(servers, lambda since: screen.time(since, now))
    if not screen.fits([["", *row] for row in rows]):
        rows = _server_rows(servers, lambda since: render_age(now - datetime.fromisoformat(since)))
    errors = [_render_error(server, now, screen) for server in servers]
    all_errors: list[str] = [messages.COLUMN_LAST_ERROR(), *errors]
    has_column = screen.fits(
        [["", *row, error] for row, error in zip(render_table(rows), all_errors, strict=True)]
    )
    first, *others = render_table(rows)
    title = "  ".join(["", *first, *(all_errors[:1] if has_column else [])])
    lines = [Line((title.rstrip(), Style.STRONG))]
    for server, cells, error in zip(servers, others, errors, strict=True):
        name, zone, state, *rest = cells
        more = "  ".join(["", *rest, *([error] if has_column else [])])
        row = (f"  {name}  {zone}  ", (state, server.style), more.rstrip())
        lines.append(Line(*row, mark=server.style))
        if error and not has_column:
            lines.append(Line(f"    {error}"))
    return lines


def _server_rows(
    servers: Sequence[ServerStatus], render_since: Callable[[str], str]
) -> list[list[str]]:
    """Return the cells of the table, without the errors."""
    head = [messages.COLUMN_SERVER(), messages.COLUMN_ZONE(), messages.COLUMN_STATE()]
    rows: list[list[str]] = [[*head, messages.COLUMN_PID(), messages.COLUMN_UP_SINCE()]]
    for server in servers:
        missing = messages.NO_VALUE()
        since = missing if server.up_since is None else render_since(server.up_since)
        pid = missing if server.pid is None else str(server.pid)
        rows.append([server.name, server.zone, server.state, pid, since])
    return rows


def _render_error(server: ServerStatus, now: datetime, screen: Screen) -> str:
    """Render why a server is not up, and an earlier failure with its time."""
    if server.failure is None:
        return server.last_error
    time = screen.time(server.failure.failed_at, now)
    earlier = messages.FAILED_EARLIER(
        name=server.failure.dag, time=time, cause=server.failure.cause
    )
    if server.last_error == server.failure.cause:
        return earlier
    return messages.ERROR_AND_FAILURE(error=server.last_error, failure=earlier)


def _render_locks(status: ClusterStatus, now: datetime, screen: Screen) -> list[str]:
    holders = [lock for lock in status.locks if lock["dag_id"] is not None]
    return [
        messages.LOCK_HOLDER(
            name=lock["name"], dag_id=lock["dag_id"], since=screen.time(lock["since"], now)
        )
        for lock in holders
    ] or [messages.LOCK_FREE()]


def _render_unfinished(status: ClusterStatus, now: datetime, screen: Screen) -> list[str]:
    lines: list[str] = []
    for dag in status.unfinished:
        head = {
            "name": dag["name"],
            "dag_id": dag["id"],
            "since": screen.time(dag["start_time"], now),
        }
        text = messages.RUNNING_DAG(**head, stage=dag["stage"], stages=dag["max_stage"])
        lines.append(Line(text, mark=Style.BUSY))
        waits = dict((dag["additional_data"] or {}).get("wait", {}))
        own = waits.pop(status.controller, None)
        for server, wait in waits.items():
            text = messages.TARGET_WAITS_FOR(target=server, wait=render_wait(wait, now, screen))
            lines.append(f"    {text}")
        if own and not waits:  # otherwise the controller waits for those servers
            lines.append(f"    {messages.WAITS_FOR(wait=render_wait(own, now, screen))}")
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
