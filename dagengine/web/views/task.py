"""The page of one DAG, its files, and its actions."""

from __future__ import annotations

import json
from dataclasses import dataclass

from dagengine.api.render.records import RecordRenderer
from dagengine.engine.engine import Engine
from dagengine.errors import IllegalArgument, InvalidId, TaskNotFound, UnknownOperation
from dagengine.model.ids import IdKind, decode_id_at
from dagengine.model.outcome import Problem
from dagengine.model.records import AuditRecord, LockRecord, SubTaskRecord
from dagengine.model.stage_kinds import Wait
from dagengine.model.states import Operator, State
from dagengine.store.contract import DagRows
from dagengine.web import messages
from dagengine.web.forms import REASON_CHARS
from dagengine.web.page import Download, PageCall, PageResult, Redirect, View
from dagengine.web.texts import Texts
from dagengine.web.times import Instant, make_instant
from dagengine.web.views.badges import Badge, badge_of_state
from dagengine.web.views.operators import (
    OperatorForm,
    OperatorRecords,
    render_show_command,
    render_show_curl,
    view_operators,
    view_stage_pass,
)
from dagengine.web.views.sub_task import Fact, Pane, PaneRecords, is_waiting, view_pane
from dagengine.web.views.summary import describe_dag
from dagengine.web.views.timeline import Selection, Timeline, TimelineRecords, view_timeline


@dataclass(frozen=True, slots=True)
class ActionRow:
    """One row of the audit of a DAG."""

    at: Instant
    action: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class TaskModel:
    """The view model of the page.

    Attributes:
        dag_id: generic id.
        badge: the state.
        sentence: one sentence about the DAG.
        start: when it started.
        facts: further values, such as parameters.
        timeline: the timeline.
        pane: the selected sub-task, as a list of at most one.
        passing: the form that passes the stage of the selected sub-task, as a list of at most one.
        operators: the forms of the operators.
        history: who did what to the DAG, newest first.
        path: the permanent link.
        json_href: the DAG as JSON.
        command: the command that shows the DAG.
        curl: the request that reads the DAG.
    """

    dag_id: str
    badge: Badge
    sentence: str
    start: Instant
    facts: tuple[Fact, ...]
    timeline: Timeline
    pane: tuple[Pane, ...]
    passing: tuple[OperatorForm, ...]
    operators: tuple[OperatorForm, ...]
    history: tuple[ActionRow, ...]
    path: str
    json_href: str
    command: str
    curl: str


async def show_task(call: PageCall) -> View:
    """Show one DAG."""
    row_id = find_row_id(call.engine, call.path["id"])
    # Read the number first: the browser then receives every event that this page lacks.
    last_event = await call.engine.last_event(row_id)
    rows = await _read_rows(call.engine, row_id)
    model = await _view_task(call, rows)
    title = f"{call.texts(rows.dag.name)} {model.dag_id}"
    return View(
        "task.html",
        model,
        title=title,
        dags={model.dag_id: last_event},
        is_active=not rows.dag.state.is_final,
    )


async def _view_task(call: PageCall, rows: DagRows) -> TaskModel:
    engine, texts, dag = call.engine, call.texts, rows.dag
    attempts = await engine.list_dag_attempts(dag.dag_id)
    waits = _read_waits(engine, rows)
    waiting = {task_id for task_id, wait in waits.items() if is_waiting(wait)}
    task, selection = select_sub_task(
        rows, call.query.get("task", ""), call.query.get("attempt", "")
    )
    dag_id = engine.generic_id(dag.dag_id)
    path = f"/ui/task/{dag_id}"
    audit = await engine.list_audit(dag.dag_id)
    lock = next((lock for lock in engine.list_locks() if lock.key == dag.lock_key), None)
    records = OperatorRecords(
        rows,
        lock,
        holder=_holder_of(lock, dag.dag_id),
        unknown=_describe_unknown(engine.explain_refusal(dag), texts),
        dag_id=dag_id,
        api_url=call.origin,
        can_change=call.can_change,
        now=call.now,
    )
    pane: tuple[Pane, ...] = ()
    passing: tuple[OperatorForm, ...] = ()
    if task is not None:
        pane = (await _view_pane(call, rows, task, selection, waits, path),)
        selected = f"{path}?task={selection.sub_task_id}&attempt={selection.attempt_no}"
        node_id = engine.generic_id(task.node_id)
        passing = (view_stage_pass(records, task.stage, node_id, selected, texts),)
    return TaskModel(
        dag_id=dag_id,
        badge=badge_of_state(dag.state, dag.operator, texts),
        sentence=describe_dag(rows, attempts, call.now, texts),
        start=make_instant(dag.start_at, call.now, texts),
        facts=_view_facts(rows, audit, texts),
        timeline=view_timeline(
            TimelineRecords(rows, attempts, waiting, call.now), selection, texts
        ),
        pane=pane,
        passing=passing,
        operators=view_operators(records, texts),
        history=tuple(
            ActionRow(make_instant(row.at, call.now, texts), row.action, row.by, row.reason)
            for row in audit
        ),
        path=path,
        json_href=f"{path}/json",
        command=render_show_command(dag_id, call.origin),
        curl=render_show_curl(dag_id, call.origin),
    )


async def _view_pane(
    call: PageCall,
    rows: DagRows,
    task: SubTaskRecord,
    selection: Selection,
    waits: dict[int, Wait],
    path: str,
) -> Pane:
    records = PaneRecords(
        task=task,
        node=next(node for node in rows.nodes if node.stage == task.stage),
        attempts=await call.engine.find_attempts(task.sub_task_id),
        attempt_no=selection.attempt_no,
        lines=await call.engine.find_logs(task.sub_task_id),
        wait=waits.get(task.sub_task_id),
        log_href=f"{path}/log/{task.sub_task_id}",
        now=call.now,
    )
    return view_pane(records, call.texts)


def _view_facts(rows: DagRows, audit: tuple[AuditRecord, ...], texts: Texts) -> tuple[Fact, ...]:
    started = audit[-1] if audit else None
    facts = [
        (messages.CALLER, started.by if started else ""),
        (messages.REASON, started.reason if started else ""),
        (messages.SCOPE, ", ".join(rows.dag.targets)),
        (messages.PARAMETERS, json.dumps(rows.dag.params, ensure_ascii=False, default=str)),
    ]
    return tuple(Fact(texts(name()), value) for name, value in facts if value not in ("", "{}"))


def _read_waits(engine: Engine, rows: DagRows) -> dict[int, Wait]:
    waits = {}
    for task in rows.sub_tasks:
        if not task.state.is_final:
            wait = engine.explain_wait(task.dag_id, task.sub_task_id)
            if wait is not None:
                waits[task.sub_task_id] = wait
    return waits


def _holder_of(lock: LockRecord | None, dag_id: int) -> str:
    is_other = lock is not None and lock.dag_id is not None and lock.dag_id != dag_id
    return lock.reason if lock is not None and is_other else ""


def _describe_unknown(problem: Problem | None, texts: Texts) -> str:
    if problem is None:
        return ""
    return texts.describe(UnknownOperation(problem.message, remedy=problem.remedy))


_NOTABLE = (State.FAILED, State.RUNNING)


def select_sub_task(
    rows: DagRows, task_text: str, attempt_text: str
) -> tuple[SubTaskRecord | None, Selection]:
    """Return the selected sub-task and attempt; by default the first failed or running one.

    Args:
        rows: the rows of the DAG.
        task_text: row id of a sub-task, as in the URL; may be anything.
        attempt_text: number of an attempt, as in the URL; may be anything.
    """
    by_id = {str(task.sub_task_id): task for task in rows.sub_tasks}
    task = by_id.get(task_text)
    if task is None:
        notable = (t for state in _NOTABLE for t in rows.sub_tasks if t.state is state)
        task, attempt_text = next(notable, None), ""
    if task is None:
        return None, Selection(0, 0)
    numbers = {str(number): number for number in range(1, task.attempt_no + 1)}
    return task, Selection(task.sub_task_id, numbers.get(attempt_text, task.attempt_no))


async def _read_rows(engine: Engine, row_id: int) -> DagRows:
    rows = await engine.find_rows(row_id)
    if rows is None:
        raise TaskNotFound(messages.TASK_NOT_FOUND(dag_id=engine.generic_id(row_id)))
    return rows


def find_row_id(engine: Engine, text: str) -> int:
    """Return the row of a generic id.

    Raises:
        InvalidId: the text is not an id.
        TaskNotFound: the id is another controller's.
    """
    try:
        generic_id = decode_id_at(text, engine.agent)
    except InvalidId:
        raise TaskNotFound(messages.TASK_NOT_FOUND(dag_id=text)) from None
    if generic_id.kind is not IdKind.LOCAL or generic_id.agent != engine.agent:
        raise TaskNotFound(messages.TASK_NOT_FOUND(dag_id=text))
    return generic_id.row_id


# --- files --------------------------------------------------------------------------------------


async def download_json(call: PageCall) -> PageResult:
    """Return a DAG as the API renders it."""
    row_id = find_row_id(call.engine, call.path["id"])
    detail = await call.engine.find_dag(row_id)
    if detail is None:
        raise TaskNotFound(messages.TASK_NOT_FOUND(dag_id=call.path["id"]))
    dto = RecordRenderer(call.engine.agent).dag(detail)
    content = json.dumps(dto, ensure_ascii=False, indent=2).encode("utf-8", "replace")
    name = f"{call.engine.generic_id(row_id)}.json"
    return Download(content, name, "application/json; charset=utf-8", is_shown=True)


async def download_log(call: PageCall) -> PageResult:
    """Return the log lines of all attempts of a sub-task as a text file."""
    row_id = find_row_id(call.engine, call.path["id"])
    rows = await _read_rows(call.engine, row_id)
    tasks = {str(task.sub_task_id): task for task in rows.sub_tasks}
    task = tasks.get(call.path["sub_task_id"])
    if task is None:
        raise TaskNotFound(messages.TASK_NOT_FOUND(dag_id=call.path["sub_task_id"]))
    lines = await call.engine.find_logs(task.sub_task_id)
    text = "".join(
        f"{line.created_at.isoformat()} [{line.attempt_no}] {line.content}\n" for line in lines
    )
    name = f"{call.engine.generic_id(row_id)}-{task.sub_task_id}.log"
    return Download(text.encode("utf-8", "replace"), name, "text/plain; charset=utf-8")


# --- actions ------------------------------------------------------------------------------------


async def operate_task(call: PageCall) -> PageResult:
    """Apply the operator that the form names.

    Raises:
        IllegalArgument: the reason is missing or too long.
        TaskNotFound, OperatorRefused, LockHeld, Conflict: see Engine.operate_dag.
    """
    row_id = find_row_id(call.engine, call.path["id"])
    reason = _read_reason(call)
    operator = Operator(call.form["action"].upper())
    if operator in (Operator.RETRY, Operator.ROLLBACK):
        call.before_retry()
    await call.engine.operate_dag(row_id, operator, by=str(call.caller), reason=reason)
    return Redirect(f"/task/{call.engine.generic_id(row_id)}")


async def pass_stage(call: PageCall) -> PageResult:
    """Pass the stage that the form names: its DAG continues after it.

    Raises:
        IllegalArgument: the reason is missing or too long.
        TaskNotFound: the DAG, or its stage, does not exist.
        OperatorRefused, LockHeld, Conflict: see Engine.pass_node.
    """
    row_id = find_row_id(call.engine, call.path["id"])
    reason, stage = _read_reason(call), call.form.get("stage", "")
    rows = await _read_rows(call.engine, row_id)
    node = next((node for node in rows.nodes if str(node.stage) == stage), None)
    if node is None:
        raise TaskNotFound(messages.STAGE_NOT_FOUND(stage=stage[:20]))
    call.before_retry()
    await call.engine.pass_node(node.node_id, by=str(call.caller), reason=reason)
    return Redirect(f"/task/{call.engine.generic_id(row_id)}")


def _read_reason(call: PageCall) -> str:
    """Return the reason in a form. Raises IllegalArgument if it is missing or too long."""
    reason = call.form.get("reason", "").strip()
    if not reason or len(reason) > REASON_CHARS:
        raise IllegalArgument(messages.REASON_MISSING(), remedy=messages.STATE_REASON())
    return reason
