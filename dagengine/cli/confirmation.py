"""Confirmation of commands that end servers or mark a DAG as done: what they affect, on a terminal.

The lines are pure functions of the API's objects.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dagengine.cli import messages
from dagengine.cli.dag_ids import resolve_dag_ids
from dagengine.cli.views.render import Json, server_label
from dagengine.cli.views.screen import print_lines
from dagengine.runtime.terminal import write_question

if TYPE_CHECKING:
    from dagengine.client import Client

_AGREEMENTS = ("y", "yes")
_ENDED_WELL = "SUCCEED"
_START_STAGE = "Start observers"  # its step starts a server; only this is undone


def is_interactive() -> bool:
    """Return whether a user can read a question and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(lines: Iterable[str]) -> bool:
    """Print the lines and a question; return whether the user agrees.

    Call it outside the event loop, so that Ctrl-C ends it.
    """
    print_lines(sys.stderr, lines)
    write_question(sys.stderr, messages.CONTINUE_QUESTION())
    return sys.stdin.readline().strip().lower() in _AGREEMENTS


def is_risky_stop(scope: str, *, force: bool, terminate: bool) -> bool:
    """Return whether a stop ends processes or affects every server."""
    return force or terminate or scope == "GLOBAL"


async def read_stop_effects(
    client: Client, scope: str, targets: Sequence[str], *, force: bool, terminate: bool
) -> list[str]:
    """Return lines that list the servers that a stop affects.

    Raises:
        ApiRefused: the controller refuses this stop, so a question would be pointless.
    """
    if force == terminate:  # the other stops are not refused for their mode
        await client.stop(scope, [*targets], force=force, terminate=terminate, dry_run=True)
    agents = await client.list_servers()
    return render_stop_effects(agents, scope, targets, force=force, terminate=terminate)


async def read_force_pass_effects(client: Client, dag_ids: Iterable[str]) -> list[str]:
    """Return lines that name the DAGs that `--force-pass` cancels and passes."""
    full_ids = await resolve_dag_ids(client, dag_ids)
    dags = [await client.get_dag(dag_id, details=False) for dag_id in full_ids]
    locks = await client.list_locks() if full_ids else []
    held = [dag for dag in dags if dag["id"] in {lock["dag_id"] for lock in locks}]
    lines = [messages.AFFECTS_HOLDER(name=dag["name"], dag_id=dag["id"]) for dag in held]
    return lines + render_idle_force_pass(full_ids, locks)


async def resolve_force_pass(
    client: Client, dag_ids: Iterable[str], *, is_reviewed: bool
) -> list[str]:
    """Return the full ids of `--force-pass`; unless they were reviewed, tell which have no effect.

    Args:
        client: reads the locks.
        dag_ids: as the user wrote them.
        is_reviewed: whether a user at a terminal has seen the effects.
    """
    full_ids = list(await resolve_dag_ids(client, dag_ids))
    if full_ids and not (is_reviewed and is_interactive()):
        notices = render_idle_force_pass(full_ids, await client.list_locks())
        print_lines(sys.stderr, [messages.NOTICE(notice=notice) for notice in notices])
    return full_ids


def render_idle_force_pass(dag_ids: Sequence[str], locks: Sequence[Json]) -> list[str]:
    """Render which DAGs of `--force-pass` do not hold a lock, and which DAG does instead."""
    holders = [lock for lock in locks if lock["dag_id"] is not None]
    idle = [dag_id for dag_id in dag_ids if dag_id not in {lock["dag_id"] for lock in holders}]
    lines: list[str] = [messages.FORCE_PASS_IDLE(dag_id=dag_id) for dag_id in idle]
    if idle:
        others = [lock for lock in holders if lock["dag_id"] not in dag_ids]
        lines += [messages.LOCK_OF_OTHER(name=o["name"], dag_id=o["dag_id"]) for o in others]
    return lines


def render_stop_effects(
    agents: Sequence[Json], scope: str, targets: Sequence[str], *, force: bool, terminate: bool
) -> list[str]:
    """Render what a stop affects.

    Args:
        agents: the servers of the cluster (`agent_info` of `GET ob/info`).
        scope: GLOBAL, ZONE or SERVER.
        targets: zones, or servers as `ip:port`.
        force: whether the processes end at once.
        terminate: whether the processes end after a minor freeze.
    """
    servers = [
        (agent["zone"], server_label(agent))
        for agent in agents
        if scope == "GLOBAL"
        or (agent["zone"] if scope == "ZONE" else server_label(agent)) in targets
    ]
    effect = messages.AFFECTS_PLAIN_STOP
    if force:
        effect = messages.AFFECTS_FORCED_STOP
    elif terminate:
        effect = messages.AFFECTS_TERMINATED
    # The controller accepts other spellings of a server, such as one without its port.
    other = sorted(set(targets).difference(*servers)) if scope != "GLOBAL" else []
    lines: list[str] = [effect(count=len(servers) + len(other), total=len(agents))]
    lines += [f"  {zone}  {server}" for zone, server in sorted(servers)]
    return lines + [messages.AFFECTS_WRITTEN(target=target) for target in other]


def render_rollback_effects(dag: Json, controller: str) -> list[str]:
    """Render what the rollback of a DAG affects: the servers that it has started.

    The DAG's evidence says which these are. Without evidence, such as after an interrupted step,
    the list has the servers on which the step that starts a server has run.

    Args:
        dag: the DAG, with details.
        controller: the controller's address; steps there affect no server by themselves.
    """
    evidence = (dag["additional_data"] or {}).get("evidence", {})
    nodes = dag["nodes"] or []
    starting = [node for node in nodes if node["name"] == _START_STAGE] or nodes
    lines: dict[str, str] = {}
    for task in (task for node in starting for task in node["sub_tasks"] or []):
        target = server_label(task)
        has_started = evidence.get(target, {}).get("started")
        if not task["execute_times"] or target == controller or has_started is False:
            continue
        lines[target] = f"  {target}" if has_started else messages.IF_STARTED(server=target)
    effect = messages.AFFECTS_ROLLBACK if lines else messages.AFFECTS_ROLLBACK_NONE
    return [effect(name=dag["name"], dag_id=dag["id"]), *lines.values()]


def render_pass_effects(dag: Json, stage: int | None) -> list[str]:
    """Render what a pass affects: the sub-tasks that have not succeeded.

    Args:
        dag: the DAG, with details.
        stage: the stage to pass, counted from 1; None for the whole DAG.
    """
    nodes = dag["nodes"] or []
    fields = {"name": dag["name"], "dag_id": dag["id"]}
    lines: list[str] = [
        messages.AFFECTS_PASS(**fields)
        if stage is None
        else messages.AFFECTS_PASS_STAGE(**fields, stage=stage)
    ]
    for number, node in enumerate(nodes, start=1):
        if stage not in (None, number):
            continue
        lines += [
            f"  {node['name']}, {server_label(task)}: {task['state']}{_last_line(task)}"
            for task in node["sub_tasks"] or []
            if task["state"] != _ENDED_WELL
        ]
    return lines


def _last_line(task: Json) -> str:
    return f": {task['task_logs'][-1]}" if task["task_logs"] else ""
