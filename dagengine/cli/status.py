"""`show` without an id: servers in service, the holder of the lock, the next commands.

The newest DAG may not know the state of the servers: a DAG that ended at a taken lock has not
probed any server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagengine.cli import messages
from dagengine.cli.render import (
    UNFINISHED,
    Json,
    clock_time,
    failed_at_lock,
    next_step_hints,
    render_wait,
    server_label,
)

if TYPE_CHECKING:
    from dagengine.client import Client

_GLOBAL_MAINTENANCE = 2
_LOOK_NOW = messages.NEXT_DRY_RUN()
_PAGE = 20  # DAGs per request; usually the first one is sufficient


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The data behind the status.

    Attributes:
        newest: the newest DAG; None before the first one.
        by: the DAG that the status is based on: the holder of the lock, else the newest that held
            it.
        unfinished: the DAGs that have not ended.
        controller: the controller's address; a failure there is not a server's failure.
    """

    newest: Json | None
    by: Json | None
    unfinished: Sequence[Json]
    controller: str


async def read_cluster_status(client: Client) -> ClusterStatus:
    """Read the data for the status from the controller."""
    info = await client.info()
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
    return ClusterStatus(newest, by or newest, unfinished, server_label(info))


def render_cluster_status(verdict: ClusterStatus) -> list[str]:
    """Render the status as lines of text."""
    newest, by = verdict.newest, verdict.by
    if newest is None or by is None:
        return [messages.NEVER_STARTED(), messages.NEXT_START()]
    basis = {"name": by["name"], "dag_id": by["id"], "state": by["state"]}
    lines: list[str] = (
        [messages.BASIS_RUNNING(**basis)]
        if by["state"] in UNFINISHED
        else [messages.BASIS_ENDED(**basis, time=clock_time(by["end_time"]))]
    )
    lines += _servers(by, verdict.controller)
    if failed_at_lock(newest) and newest["id"] != by["id"]:
        lines.append(messages.LOCK_WAS_HELD(name=newest["name"], dag_id=newest["id"]))
    holders = _holders(verdict.unfinished)
    lines += [
        messages.LOCK_HOLDER(
            name=dag["name"], dag_id=dag["id"], since=clock_time(dag["start_time"])
        )
        for dag in holders
    ] or [messages.LOCK_FREE()]
    return [*lines, *(next_step_hints(by) or [_LOOK_NOW])]


def _servers(dag: Json, controller: str) -> list[str]:
    """Render one line per server, and failures or waits outside the servers."""
    reached: dict[str, str] = {}
    elsewhere: list[str] = []
    for node in dag["nodes"] or []:
        for task in node["sub_tasks"] or []:
            place, last_line = server_label(task), (task["task_logs"] or [""])[-1]
            if task["state"] == "FAILED" and place != controller:
                reached[place] = messages.SERVER_FAILED(reason=last_line)
            elif task["state"] == "FAILED":
                elsewhere.append(messages.STAGE_FAILED(stage=node["name"], reason=last_line))
    more = dag["additional_data"] or {}
    goes_on = dag["state"] in UNFINISHED
    for server, facts in more.get("evidence", {}).items():
        reached.setdefault(server, _service(facts if isinstance(facts, Mapping) else {}, goes_on))
    waits = dict(more.get("wait", {}))
    own = waits.pop(controller, None)
    for server in waits:
        reached.setdefault(server, messages.SERVER_UNKNOWN())
    lines = []
    for server, status in sorted(reached.items()):
        lines.append(f"  {server}  {status}")
        lines += (
            [f"      {messages.WAITS_FOR(wait=render_wait(waits[server]))}"]
            if server in waits
            else []
        )
    if own and not waits:  # otherwise the controller waits for those servers
        elsewhere.append(f"  {messages.WAITS_FOR(wait=render_wait(own))}")
    return lines + elsewhere


def _service(facts: Json, goes_on: bool) -> str:
    level = facts.get("level", "unknown")
    if level == "unknown" and goes_on:
        return messages.SERVER_UNKNOWN()
    is_up = level not in ("none", "unknown") and facts.get("in_service", True)
    return (messages.IN_SERVICE if is_up else messages.NOT_IN_SERVICE)(level=level)


def _holders(unfinished: Sequence[Json]) -> list[Json]:
    return [dag for dag in unfinished if dag["maintenance_type"] == _GLOBAL_MAINTENANCE]
