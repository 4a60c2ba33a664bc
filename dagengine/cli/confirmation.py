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
from dagengine.runtime.terminal import write_lines, write_question

if TYPE_CHECKING:
    from dagengine.client import Client

_AGREEMENTS = ("y", "yes")
_ENDED_WELL = "SUCCEED"


def is_interactive() -> bool:
    """Return whether a user can read a question and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(lines: Iterable[str]) -> bool:
    """Print the lines and a question; return whether the user agrees.

    Call it outside the event loop, so that Ctrl-C ends it.
    """
    write_lines(sys.stderr, lines)
    write_question(sys.stderr, messages.CONTINUE_QUESTION())
    return sys.stdin.readline().strip().lower() in _AGREEMENTS


def is_risky_stop(scope: str, *, force: bool, terminate: bool) -> bool:
    """Return whether a stop ends processes or affects every server."""
    return force or terminate or scope == "GLOBAL"


async def read_stop_effects(
    client: Client, scope: str, targets: Sequence[str], *, force: bool, terminate: bool
) -> list[str]:
    """Return lines that list the servers that a stop affects."""
    agents = await client.list_servers()
    return render_stop_effects(agents, scope, targets, force=force, terminate=terminate)


async def read_force_pass_effects(client: Client, dag_ids: Iterable[str]) -> list[str]:
    """Return lines that name the DAGs that `--force-pass` cancels and passes."""
    full_ids = await resolve_dag_ids(client, dag_ids)
    dags = [await client.get_dag(dag_id, details=False) for dag_id in full_ids]
    return [messages.AFFECTS_HOLDER(name=dag["name"], dag_id=dag["id"]) for dag in dags]


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
    lines: list[str] = [effect(count=len(servers), total=len(agents))]
    return lines + [f"  {zone}  {server}" for zone, server in sorted(servers)]


def render_rollback_effects(dag: Json, controller: str) -> list[str]:
    """Render what the rollback of a DAG affects: the servers on which its steps have run.

    Args:
        dag: the DAG, with details.
        controller: the controller's address; steps there affect no server by themselves.
    """
    targets: dict[str, None] = {}
    for node in dag["nodes"] or []:
        for task in node["sub_tasks"] or []:
            if task["execute_times"] and server_label(task) != controller:
                targets.setdefault(server_label(task))
    lines: list[str] = [messages.AFFECTS_ROLLBACK(name=dag["name"], dag_id=dag["id"])]
    return lines + [f"  {target}" for target in targets]


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
