"""Text output: pure functions from the API's objects (protocol section 4) to lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from dagengine.cli import messages
from dagengine.errors import LockHeld
from dagengine.runtime.addresses import render_host_port

Json: TypeAlias = Mapping[str, Any]

_STATE_WIDTH = len("RUNNING")
_VERDICT_WIDTH = len("blocked")
UNFINISHED = ("PENDING", "READY", "RUNNING")
_SUCCESSES = {"PASS": messages.END_PASSED, "ROLLBACK": messages.END_ROLLED_BACK}
_FAILURES = {"CANCEL": messages.END_CANCELLED, "ROLLBACK": messages.END_ROLLBACK_FAILED}


@dataclass(frozen=True, slots=True)
class SubTaskLine:
    """A sub-task at one moment.

    Attributes:
        key: changes whenever the sub-task's state changes.
        text: one line.
        ended: True if the sub-task will not change by itself any more.
    """

    key: tuple[str, str, int]
    text: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The column layout of a DAG's lines: number of stages and widths."""

    stages: int
    name_width: int
    place_width: int

    @classmethod
    def of(cls, dag: Json) -> Layout:
        nodes = dag["nodes"] or []
        places = [server_label(task) for node in nodes for task in node["sub_tasks"] or []]
        return cls(
            len(nodes),
            max((len(node["name"]) for node in nodes), default=0),
            max(map(len, places), default=0),
        )


def sub_task_line(layout: Layout, stage: int, task: Json, now: datetime) -> SubTaskLine:
    """Render one sub-task that has begun; `stage` counts from 1."""
    running = task["state"] == "RUNNING"
    head = f"[{stage}/{layout.stages}] {task['name']:<{layout.name_width}}"
    place = f"{server_label(task):<{layout.place_width}}"
    state = f"{task['state']:<{_STATE_WIDTH}} {_duration(task, now, running):>8}"
    last_line = (task["task_logs"] or [""])[-1]
    if task["operator"] == "PASS":
        last_line = messages.PASSED_AFTER(line=last_line) if last_line else messages.PASSED()
    return SubTaskLine(
        (task["id"], task["state"], task["execute_times"]),
        f"{head}  {place}  {state}  {last_line}".rstrip(),
        ended=not running,
    )


def render_end(dag: Json) -> list[str]:
    """Render the final lines about a DAG: how it ended, why, and the next commands."""
    head = f"{dag['name']} {dag['id']}: {dag['state']}"
    if dag["state"] == "SUCCEED":
        success = _SUCCESSES.get(dag["operator"], messages.END_SUCCEEDED)
        return [success(dag=head, duration=_duration(dag, None))]
    if dag["state"] != "FAILED":
        return [
            messages.UNFINISHED(dag=head, stage=dag["stage"], stages=dag["max_stage"]),
            *next_step_hints(dag),
        ]
    failure = _FAILURES.get(dag["operator"], messages.END_FAILED)
    lines: list[str] = [failure(dag=head, stage=dag["stage"], stages=dag["max_stage"])]
    lines += [f"  {cause}" for cause in causes(dag)]
    return lines + next_step_hints(dag)


def causes(dag: Json) -> list[str]:
    """Return the last log line of every failed sub-task, with stage and server."""
    return [
        f"{node['name']}, {server_label(task)}: {(task['task_logs'] or [messages.LOG_EMPTY()])[-1]}"
        for node in dag["nodes"] or []
        for task in node["sub_tasks"] or []
        if task["state"] == "FAILED"
    ]


def failed_at_lock(dag: Json) -> bool:
    """True if a DAG ended at the lock, so that it did not touch or probe any server."""
    first, *later = dag["nodes"] or [{"sub_tasks": None}]
    if dag["state"] in UNFINISHED or _has_started(later):
        return False
    lines = [line for task in first["sub_tasks"] or [] for line in task["task_logs"] or []]
    return any(f"[{LockHeld.err_code}]" in line for line in lines)


def next_step_hints(dag: Json) -> list[str]:
    """Return the commands to run next; empty for a DAG that succeeded."""
    if dag["state"] == "FAILED" and failed_at_lock(dag):
        return [
            messages.NEXT_LOCK(),
            messages.NEXT_WHEN_FREE(dag_id=dag["id"]),
        ]
    if dag["state"] == "FAILED":
        return [
            messages.NEXT_RETRY(dag_id=dag["id"]),
            messages.NEXT_LOGS(dag_id=dag["id"]),
            messages.NEXT_ROLLBACK(dag_id=dag["id"]),
            messages.NEXT_PASS(dag_id=dag["id"]),
        ]
    if dag["state"] == "SUCCEED":
        return []
    return running_hints(dag["id"])


def running_hints(dag_id: str) -> list[str]:
    """Return the commands to run next for an unfinished DAG."""
    return [
        messages.NEXT_FOLLOW(dag_id=dag_id),
        messages.NEXT_CANCEL(dag_id=dag_id),
    ]


def render_dag(dag: Json, now: datetime, waits: Mapping[str, Json]) -> list[str]:
    """Render `show ID`: the DAG, its stages, and each server within them.

    Args:
        dag: the DAG, with details.
        now: for running times.
        waits: waits of the sub-tasks of unfinished stages, by the stage's id and the target.
    """
    running = dag["state"] in ("READY", "RUNNING")
    started = messages.DAG_STARTED_RUNNING if running else messages.DAG_STARTED_ENDED
    lines: list[str] = [
        f"{dag['name']} {dag['id']}",
        messages.DAG_STATE(
            state=dag["state"],
            operator=dag["operator"],
            stage=dag["stage"],
            stages=dag["max_stage"],
        ),
        started(time=clock_time(dag["start_time"]), duration=_duration(dag, now, running)),
        *([] if running else [messages.DAG_ENDED(time=clock_time(dag["end_time"]))]),
        "",
    ]
    for number, node in enumerate(dag["nodes"] or [], start=1):
        lines.append(f"  {number} {node['name']}: {node['state']}{_operator_suffix(node)}")
        lines += _sub_tasks_of_dag(node, now, dict(waits.get(node["id"], {})))
    summary = (dag["additional_data"] or {}).get("summary")
    if summary:
        lines += ["", f"  {summary}"]
    if dag["state"] == "FAILED":
        lines += ["", messages.WHY(), *(f"  {cause}" for cause in causes(dag))]
    following = next_step_hints(dag)
    return [*lines, "", *following] if following else lines


def render_logs(dag: Json) -> list[str]:
    """Render `logs ID`: every log line, with its stage and server."""
    return [
        f"[{number} {node['name']} {server_label(task)}] {line}"
        for number, node in enumerate(dag["nodes"] or [], start=1)
        for task in node["sub_tasks"] or []
        for line in task["task_logs"] or []
    ]


def render_attempts(dag: Json, attempts: Mapping[str, Sequence[Json]]) -> list[str]:
    """Render `attempts ID`: each attempt with its log lines; `attempts` is keyed by sub-task id."""
    lines: list[str] = []
    for number, node in enumerate(dag["nodes"] or [], start=1):
        for task in node["sub_tasks"] or []:
            for attempt in attempts[task["id"]]:
                outcome = attempt["outcome"] or messages.ATTEMPT_RUNNING()
                label = f"[{number} {node['name']} {server_label(task)}]"
                times = f"{clock_time(attempt['start_time'])}, {_duration(attempt, None)}"
                lines.append(
                    messages.ATTEMPT(
                        label=label, number=attempt["attempt_no"], outcome=outcome, times=times
                    )
                )
                lines += [f"    {line}" for line in attempt["task_logs"]]
    return lines


def render_audit(rows: Sequence[Json]) -> list[str]:
    """Render `audit`: one line per row."""
    if not rows:
        return [messages.AUDIT_EMPTY()]
    lines: list[str] = []
    for row in rows:
        action = messages.AUDIT_ACTION(dag_id=row["dag_id"], action=row["action"])
        if row["node_id"]:
            action = messages.AUDIT_NODE_ACTION(
                dag_id=row["dag_id"], action=row["action"], node_id=row["node_id"]
            )
        caller = row["by"] or messages.CALLER_UNKNOWN()
        line = messages.AUDIT_ROW(time=clock_time(row["time"]), action=action, caller=caller)
        if row["reason"]:
            line = messages.AUDIT_ROW_REASON(**line.fields, reason=row["reason"])
        lines.append(line)
    return lines


def render_list(dags: Sequence[Json]) -> list[str]:
    """Render `list`: one line per DAG."""
    rows = [("ID", "NAME", "STATE", "OPERATOR", "STAGE", "STARTED")]
    rows += [
        (
            dag["id"],
            dag["name"],
            dag["state"],
            dag["operator"],
            f"{dag['stage']}/{dag['max_stage']}",
            clock_time(dag["start_time"]),
        )
        for dag in dags
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def is_clear(plan: Json) -> bool:
    """True if the lock is free and no server is blocked or unknown."""
    is_free = plan["lock"] is None or plan["lock"]["dag_id"] is None
    bad = [server for server in plan["servers"] if server["verdict"] in ("blocked", "unknown")]
    return is_free and not bad


def render_plan(plan: Json) -> list[str]:
    """Render a plan: the lock, and each server with its verdict, checks and commands."""
    lines: list[str] = [messages.DRY_RUN(name=plan["name"])]
    if plan["lock"] is not None:
        lines.append(messages.DRY_RUN_LOCK(key=plan["lock"]["key"], holder=plan["lock"]["about"]))
    for server in plan["servers"]:
        lines.append(
            f"  {server['server']}  {server['verdict']:<{_VERDICT_WIDTH}}  {server['reason']}"
        )
        lines += [
            f"      {check['level']}: [{check['check']}] {check['cause']}; {check['remedy']}"
            for check in server["checks"]
            if check["level"] != "ok"
        ]
        lines += [messages.WOULD_RUN(command=command) for command in server["commands"]]
    return lines


def _sub_tasks_of_dag(node: Json, now: datetime, waits: dict[str, Json]) -> list[str]:
    lines = []
    for task in node["sub_tasks"] or []:
        lines.append(_sub_task_of_dag(task, now))
        wait = waits.pop(server_label(task), None)
        if wait and task["state"] in UNFINISHED:
            lines.append(f"          {messages.WAITS_FOR(wait=render_wait(wait))}")
    # For targets that are not addresses, the API does not map targets to sub-tasks.
    lines += [
        f"      {messages.TARGET_WAITS_FOR(target=target, wait=render_wait(wait))}"
        for target, wait in waits.items()
    ]
    return lines


def _sub_task_of_dag(task: Json, now: datetime) -> str:
    has_begun = task["state"] not in ("PENDING", "READY")
    took = f"  {_duration(task, now, task['state'] == 'RUNNING')}" if has_begun else ""
    count = task["execute_times"]
    times = f"  {messages.RUN_TIMES(count=count)}" if count > 1 else ""
    last_line = f"  {task['task_logs'][-1]}" if task["task_logs"] else ""
    return f"      {server_label(task)}  {task['state']:<{_STATE_WIDTH}}{took}{times}{last_line}"


def render_wait(wait: Json) -> str:
    """Render a wait: its kind, its object, its start, the last probe's result and its deadline."""
    last = messages.WAIT_LAST_RESULT(result=wait["last"]) if wait.get("last") else ""
    deadline = wait.get("deadline")
    until = messages.WAIT_UNTIL(time=clock_time(deadline)) if deadline else ""
    since = clock_time(wait["since"])
    return messages.WAIT(kind=wait["kind"], subject=wait["on"], since=since, last=last, until=until)


def _has_started(nodes: Sequence[Json]) -> bool:
    return any(task["execute_times"] for node in nodes for task in node["sub_tasks"] or [])


def _operator_suffix(node: Json) -> str:
    return "" if node["operator"] == "RUN" else f" ({node['operator']})"


def server_label(thing: Json) -> str:
    """Return the address of a sub-task's server or, for the API's info, of the controller."""
    agent = thing.get("execute_agent", thing)
    return render_host_port(agent["ip"], agent["port"])


def _duration(thing: Json, now: datetime | None, running: bool = False) -> str:
    start = datetime.fromisoformat(thing["start_time"])
    end = now if running and now is not None else datetime.fromisoformat(thing["end_time"])
    seconds = max((end - start) / timedelta(seconds=1), 0.0)
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, remainder_s = divmod(round(seconds), 60)
    return f"{minutes} min {remainder_s} s"


def clock_time(text: str) -> str:
    """Render an instant of the API for people, to the second."""
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S %z")
