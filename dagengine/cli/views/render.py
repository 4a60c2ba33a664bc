"""Text output: pure functions from the API's objects (protocol section 4) to lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from dagengine.cli import messages
from dagengine.cli.views.screen import Line, Screen, Style
from dagengine.errors import LockHeld
from dagengine.runtime.addresses import render_host_port

Json: TypeAlias = Mapping[str, Any]

_ERROR = "ERROR: "  # before the last log line of a sub-task that failed
_STATE_WIDTH = len("RUNNING")
_VERDICT_WIDTH = len("blocked")
UNFINISHED = ("PENDING", "READY", "RUNNING")
_SUCCESSES = {"PASS": messages.END_PASSED, "ROLLBACK": messages.END_ROLLED_BACK}
_FAILURES = {"CANCEL": messages.END_CANCELLED, "ROLLBACK": messages.END_ROLLBACK_FAILED}
_STYLES = {
    "SUCCEED": Style.GOOD,
    "FAILED": Style.BAD,
    "RUNNING": Style.BUSY,
    "PENDING": Style.FAINT,
    "READY": Style.FAINT,
}
PLAIN = Screen()


@dataclass(frozen=True, slots=True)
class SubTaskLine:
    """A sub-task at one moment.

    Attributes:
        key: changes whenever the sub-task's state changes.
        text: one line, with control characters escaped; it may have styles.
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


def sub_task_line(
    layout: Layout, stage: int, task: Json, now: datetime, time: str = ""
) -> SubTaskLine:
    """Render one sub-task that has begun.

    Args:
        layout: of the DAG.
        stage: counted from 1.
        task: the sub-task.
        now: the instant that the line describes.
        time: of the sub-task's last change, as it is to be shown; empty to omit it.
    """
    running = task["state"] == "RUNNING"
    head = f"[{stage}/{layout.stages}] {task['name']:<{layout.name_width}}"
    place = f"{server_label(task):<{layout.place_width}}"
    duration = f"{_duration(task, now, running):>8}"
    state = f"{task['state']:<{_STATE_WIDTH}}"
    last_line = find_reason(task)
    if task["operator"] == "PASS":
        last_line = messages.PASSED_AFTER(line=last_line) if last_line else messages.PASSED()
    return SubTaskLine(
        (task["id"], task["state"], task["execute_times"]),
        Line(
            (f"{time} " if time else "", Style.FAINT),
            f"{head}  {place}  ",
            (state, state_style(task["state"])),
            f" {duration}  {last_line}".rstrip(),
            mark=state_style(task["state"]),
        ),
        ended=not running,
    )


def render_end(dag: Json, controller: str, *, has_hints: bool = True) -> list[str]:
    """Render the final lines about a DAG: how it ended, why, and the next commands.

    Args:
        dag: the DAG, with details.
        controller: the controller's address; a failure there is not a server's failure.
        has_hints: whether the next commands are named.
    """
    lines: list[str] = [Line(render_headline(dag, controller), mark=state_style(dag["state"]))]
    if dag["state"] == "FAILED":
        lines += [f"  {cause}" for cause in causes(dag, controller)[1:]]
    return lines + (next_step_hints(dag) if has_hints else [])


def render_headline(dag: Json, controller: str) -> str:
    """Render how a DAG ended: for a failed one, which servers are up, and its first cause."""
    head = f"{dag['name']} {dag['id']}: {dag['state']}"
    if dag["state"] == "SUCCEED":
        success = _SUCCESSES.get(dag["operator"], messages.END_SUCCEEDED)
        return str(success(dag=head, duration=_duration(dag, None)))
    if dag["state"] != "FAILED":
        return messages.UNFINISHED(dag=head, stage=dag["stage"], stages=dag["max_stage"])
    failure = _FAILURES.get(dag["operator"], messages.END_FAILED)
    text: str = failure(dag=head, stage=dag["stage"], stages=dag["max_stage"])
    up, servers = count_up(dag, controller)
    if up:
        text = messages.HEADLINE_UP(headline=text, up=up, servers=servers)
    for cause in causes(dag, controller)[:1]:
        text = messages.HEADLINE_CAUSE(headline=text, cause=cause)
    return text


def count_up(dag: Json, controller: str) -> tuple[int, int]:
    """Return how many servers are up according to a DAG's evidence, and the number of servers."""
    evidence = (dag["additional_data"] or {}).get("evidence", {})
    tasks = [task for node in dag["nodes"] or [] for task in node["sub_tasks"] or []]
    servers = {server_label(task) for task in tasks} - {controller} | {*evidence}
    return sum(_is_up(facts) for facts in evidence.values()), len(servers)


def causes(dag: Json, controller: str) -> list[str]:
    """Return the last log line of every failed sub-task, with server and stage."""
    texts: list[str] = []
    for node in dag["nodes"] or []:
        for task in node["sub_tasks"] or []:
            if task["state"] != "FAILED":
                continue
            server = server_label(task)
            reason = find_reason(task) or messages.LOG_EMPTY()
            if server == controller:
                texts.append(messages.STAGE_FAILED(stage=node["name"], reason=reason))
            else:
                texts.append(
                    messages.SERVER_FAILED(server=server, stage=node["name"], reason=reason)
                )
    return texts


def find_reason(task: Json) -> str:
    """Return a sub-task's last log line without what the line of the sub-task shows already."""
    last_line: str = (task["task_logs"] or [""])[-1]
    return _omit_server(last_line.removeprefix(_ERROR), server_label(task))


def _omit_server(line: str, server: str) -> str:
    """Return a log line that does not start with the server that is named before it."""
    text = line.removeprefix(_ERROR)
    head, (code, colon, rest) = line[: len(line) - len(text)], text.partition("]: ")
    if code.startswith("[") and colon:
        return f"{head}{code}{colon}{rest.removeprefix(f'{server}: ')}"
    return head + text.removeprefix(f"{server}: ").removeprefix(f"{server} ")


def _is_up(facts: Any) -> bool:
    level = facts.get("level", "unknown") if isinstance(facts, Mapping) else "unknown"
    return level not in ("none", "unknown") and facts.get("in_service", True)


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


def render_dag(
    dag: Json,
    now: datetime,
    waits: Mapping[str, Json],
    screen: Screen,
    controller: str,
) -> list[str]:
    """Render `show ID`: the DAG, its stages, and each server within them.

    Args:
        dag: the DAG, with details; the log lines of a running sub-task are those of its attempt.
        now: for running times.
        waits: waits of the sub-tasks of unfinished stages, by the stage's id and the target.
        screen: for times.
        controller: the controller's address.
    """
    running = dag["state"] in ("READY", "RUNNING")
    started = messages.DAG_STARTED_RUNNING if running else messages.DAG_STARTED_ENDED
    is_over = dag["state"] not in UNFINISHED
    title = Line((f"{dag['name']} {dag['id']}", Style.STRONG))
    failed = Line(render_headline(dag, controller), mark=Style.BAD)
    lines: list[str] = [
        failed if dag["state"] == "FAILED" else title,
        messages.DAG_STATE(
            state=dag["state"],
            operator=dag["operator"],
            stage=dag["stage"],
            stages=dag["max_stage"],
        ),
        started(time=screen.time(dag["start_time"], now), duration=_duration(dag, now, running)),
        *([] if running else [messages.DAG_ENDED(time=screen.time(dag["end_time"], now))]),
        "",
    ]
    for number, node in enumerate(dag["nodes"] or [], start=1):
        state = Line((_state_word(node["state"], is_over), state_style(node["state"])))
        lines.append(Line(f"  {number} {node['name']}: ", *state.parts, _operator_suffix(node)))
        lines += _sub_tasks_of_dag(node, now, dict(waits.get(node["id"], {})), screen, is_over)
    summary = (dag["additional_data"] or {}).get("summary")
    if summary:
        lines += ["", f"  {summary}"]
    if dag["state"] == "FAILED" and (further := causes(dag, controller)[1:]):
        lines += ["", messages.FURTHER_CAUSES(), *(f"  {cause}" for cause in further)]
    following = next_step_hints(dag)
    return [*lines, "", *following] if following else lines


def render_logs(dag: Json) -> list[str]:
    """Render `logs ID`: every log line, with its stage and server."""
    return [
        f"[{number} {node['name']} {server_label(task)}] {_omit_server(line, server_label(task))}"
        for number, node in enumerate(dag["nodes"] or [], start=1)
        for task in node["sub_tasks"] or []
        for line in task["task_logs"] or []
    ]


def render_attempts(
    dag: Json, attempts: Mapping[str, Sequence[Json]], now: datetime, screen: Screen = PLAIN
) -> list[str]:
    """Render `attempts ID`: each attempt with its log lines; `attempts` is keyed by sub-task id."""
    lines: list[str] = []
    for number, node in enumerate(dag["nodes"] or [], start=1):
        for task in node["sub_tasks"] or []:
            for attempt in attempts[task["id"]]:
                outcome = attempt["outcome"] or messages.ATTEMPT_RUNNING()
                label = f"[{number} {node['name']} {server_label(task)}]"
                started = screen.time(attempt["start_time"], now)
                times = f"{started}, {_duration(attempt, None)}"
                lines.append(
                    messages.ATTEMPT(
                        label=label, number=attempt["attempt_no"], outcome=outcome, times=times
                    )
                )
                logs = attempt["task_logs"]
                lines += [f"    {_omit_server(line, server_label(task))}" for line in logs]
    return lines


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
    return [*lines, messages.PLAN_DIGEST(digest=plan["digest"])]


def _sub_tasks_of_dag(
    node: Json, now: datetime, waits: dict[str, Json], screen: Screen, is_over: bool
) -> list[str]:
    lines: list[str] = []
    for task in node["sub_tasks"] or []:
        lines.append(_sub_task_of_dag(task, now, is_over))
        wait = waits.pop(server_label(task), None)
        if wait and task["state"] in UNFINISHED:
            lines.append(f"          {messages.WAITS_FOR(wait=render_wait(wait, now, screen))}")
    # For targets that are not addresses, the API does not map targets to sub-tasks.
    lines += [
        f"      {messages.TARGET_WAITS_FOR(target=target, wait=render_wait(wait, now, screen))}"
        for target, wait in waits.items()
    ]
    return lines


def _sub_task_of_dag(task: Json, now: datetime, is_over: bool) -> Line:
    has_begun = task["state"] not in ("PENDING", "READY")
    took = f"  {_duration(task, now, task['state'] == 'RUNNING')}" if has_begun else ""
    count = task["execute_times"]
    times = f"  {messages.RUN_TIMES(count=count)}" if count > 1 else ""
    reason = find_reason(task)
    return Line(
        f"      {server_label(task)}  ",
        (f"{_state_word(task['state'], is_over):<{_STATE_WIDTH}}", state_style(task["state"])),
        f"{took}{times}",
        f"  {reason}" if reason else "",
        mark=state_style(task["state"]),
    )


def _state_word(state: str, is_over: bool) -> str:
    """Return a state for people: of an ended DAG, PENDING is a sub-task that will not run."""
    return messages.NOT_REACHED() if is_over and state == "PENDING" else state


def state_style(state: str) -> Style:
    return _STYLES.get(state, Style.PLAIN)


def render_wait(wait: Json, now: datetime, screen: Screen) -> str:
    """Render a wait: its kind, its object, its start, the last probe's result and its deadline."""
    last = messages.WAIT_LAST_RESULT(result=wait["last"]) if wait.get("last") else ""
    deadline = wait.get("deadline")
    until = messages.WAIT_UNTIL(time=screen.time(deadline)) if deadline else ""
    since = screen.time(wait["since"], now)
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
