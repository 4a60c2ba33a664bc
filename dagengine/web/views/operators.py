"""The operators of a DAG as forms: what each would do, or why it is refused now. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dagengine.errors import OperatorRefused
from dagengine.messages import Message
from dagengine.model.records import LockRecord, SubTaskRecord
from dagengine.model.states import Operator, State
from dagengine.rules import operators
from dagengine.rules.snapshot import Snapshot
from dagengine.store.contract import DagRows
from dagengine.web import messages
from dagengine.web.texts import Texts


@dataclass(frozen=True, slots=True)
class OperatorForm:
    """One operator.

    Attributes:
        path: path to which the form is sent.
        action: value of the field `action`.
        stage: value of the field `stage`: number of the stage; empty for the whole DAG.
        title: text of its button.
        effect: what it does, with the servers that it affects.
        refusal: why it is refused now; empty if it is not.
        field_id: id of the field for the reason.
        command: the same action as a command.
        curl: the same action as a request.
        kind: class of its button: `primary` for the one to use next, else `plain`.
    """

    path: str
    action: str
    stage: str
    title: str
    effect: str
    refusal: str
    field_id: str
    command: str
    curl: str
    kind: str


@dataclass(frozen=True, slots=True)
class OperatorRecords:
    """The records behind the forms.

    Attributes:
        rows: the rows of the DAG.
        lock: the lock that the DAG needs; None if it was never taken.
        holder: name of the DAG that holds the lock; empty if it is free or this DAG holds it.
        unknown: why no step of the DAG can run in this controller; empty if steps can.
        dag_id: generic id of the DAG.
        api_url: URL of the API for commands.
        can_change: whether the caller may change anything.
        now: the instant of the page.
    """

    rows: DagRows
    lock: LockRecord | None
    holder: str
    unknown: str
    dag_id: str
    api_url: str
    can_change: bool
    now: datetime


_OPERATORS: Mapping[Operator, tuple[Message, Message, Message]] = {
    Operator.RETRY: (messages.RETRY, messages.RETRY_EFFECT, messages.RETRY_NOTHING),
    Operator.ROLLBACK: (messages.ROLLBACK, messages.ROLLBACK_EFFECT, messages.ROLLBACK_NOTHING),
    Operator.PASS: (messages.PASS, messages.PASS_EFFECT, messages.PASS_NOTHING),
    Operator.CANCEL: (messages.CANCEL, messages.CANCEL_EFFECT, messages.CANCEL_NOTHING),
}
PASS_STAGE = "pass-stage"  # noqa: S105  # the name of an action
"""Value of the field `action` that passes one stage."""

_LISTED_SERVERS = 10


def view_operators(records: OperatorRecords, texts: Texts) -> tuple[OperatorForm, ...]:
    """Return the forms of all operators."""
    return tuple(_view_operator(records, operator, texts) for operator in _OPERATORS)


def _view_operator(records: OperatorRecords, operator: Operator, texts: Texts) -> OperatorForm:
    title, effect, nothing = _OPERATORS[operator]
    refusal = ""
    targets: tuple[str, ...] = ()
    try:
        targets = find_affected(records.rows, operator, records.lock, records.now)
    except OperatorRefused as exc:
        refusal = texts.describe(exc)
    refusal = _find_refusal(records, refusal, texts, operator, stage=None)
    action = operator.lower()
    servers = _list_servers(targets, texts)
    return OperatorForm(
        path=f"/ui/task/{records.dag_id}",
        action=action,
        stage="",
        title=texts(title()),
        effect="" if refusal else texts(effect(servers=servers) if servers else nothing()),
        refusal=refusal,
        field_id=f"reason-{action}",
        command=render_command(records.dag_id, operator, records.api_url),
        curl=render_curl(records.dag_id, operator, records.api_url),
        # A failed DAG is continued, unless the user has a reason for something else.
        kind="primary" if operator is Operator.RETRY and not refusal else "plain",
    )


def _find_refusal(
    records: OperatorRecords, refusal: str, texts: Texts, operator: Operator, *, stage: int | None
) -> str:
    """Return why a form is disabled; `refusal` is the cause that the DAG's state gives."""
    if not records.can_change:
        return texts(messages.READ_ONLY())
    if refusal or not operators.goes_on(operator, stage):  # nothing will run: needs no lock
        return refusal
    if not records.unknown and records.holder:
        return texts(messages.LOCK_IN_USE(name=records.holder))
    return records.unknown


def view_stage_pass(
    records: OperatorRecords, stage: int, node_id: str, path: str, texts: Texts
) -> OperatorForm:
    """Return the form that passes one stage.

    Args:
        records: the records behind the forms.
        stage: number of the stage.
        node_id: generic id of its node.
        path: path to which the form is sent.
        texts: the language.
    """
    node = next(node for node in records.rows.nodes if node.stage == stage)
    refusal = effect = ""
    try:
        passing = find_stage_pass(records.rows, stage, records.now)
        effect = _describe_stage_pass(passing, texts(node.name), texts)
    except OperatorRefused as exc:
        refusal = texts.describe(exc)
    refusal = _find_refusal(records, refusal, texts, Operator.PASS, stage=stage)
    return OperatorForm(
        path=path,
        action=PASS_STAGE,
        stage=str(stage),
        title=texts(messages.PASS_STAGE()),
        effect="" if refusal else effect,
        refusal=refusal,
        field_id=f"reason-{PASS_STAGE}",
        command=render_command(records.dag_id, Operator.PASS, records.api_url, stage=stage),
        curl=render_curl(node_id, Operator.PASS, records.api_url, kind="node"),
        kind="plain",
    )


@dataclass(frozen=True, slots=True)
class StagePass:
    """What PASS of one stage would do.

    Attributes:
        skipped: the servers on which the stage would not run; empty for one of the whole cluster.
        continuing: the servers on which later stages would run.
        has_later: whether any later stage would run.
    """

    skipped: tuple[str, ...]
    continuing: tuple[str, ...]
    has_later: bool


def find_stage_pass(rows: DagRows, stage: int, now: datetime) -> StagePass:
    """Return what PASS of one stage would do, as `find_affected` does for the whole DAG.

    Raises:
        OperatorRefused: the state of the DAG or the stage does not allow it.
    """
    snapshot = Snapshot(rows.dag, rows.nodes, rows.sub_tasks).at(now)
    before = dict(snapshot.sub_tasks)
    operators.pass_node(snapshot, stage, None)
    skipped, continuing = set(), set()
    for task_id, task in before.items():
        after = snapshot.sub_tasks[task_id]
        if task.stage == stage and task != after:
            skipped.add(task.target)
        elif _will_run(task, after) and task.target not in snapshot.failed_lanes:
            continuing.add(task.target)
    return StagePass(
        tuple(target for target in rows.dag.targets if target in skipped),
        tuple(target for target in rows.dag.targets if target in continuing),
        has_later=bool(continuing),
    )


def _describe_stage_pass(passing: StagePass, stage: str, texts: Texts) -> str:
    whole = texts(messages.WHOLE_CLUSTER())
    skipped = _list_servers(passing.skipped, texts) or whole
    if not passing.has_later:
        return texts(messages.PASS_STAGE_LAST(stage=stage, skipped=skipped))
    servers = _list_servers(passing.continuing, texts) or whole
    return texts(messages.PASS_STAGE_EFFECT(stage=stage, skipped=skipped, servers=servers))


def find_affected(
    rows: DagRows, operator: Operator, lock: LockRecord | None, now: datetime
) -> tuple[str, ...]:
    """Return the servers that an operator affects, in the order of the DAG's targets.

    The operator is applied to a copy of the DAG in memory, so that the answer is that of the
    engine's own rules.

    Raises:
        OperatorRefused: the state of the DAG or a stage does not allow the operator.
    """
    snapshot = Snapshot(rows.dag, rows.nodes, rows.sub_tasks).at(now)
    before = dict(snapshot.sub_tasks)
    apply, is_affected = _RULES[operator]
    apply(snapshot, lock)
    affected = {
        task.target
        for task_id, task in before.items()
        if is_affected(task, snapshot.sub_tasks[task_id])
    }
    return tuple(target for target in rows.dag.targets if target in affected)


def _is_changed(before: SubTaskRecord, after: SubTaskRecord) -> bool:
    return before != after


def _has_run(before: SubTaskRecord, _after: SubTaskRecord) -> bool:
    return before.execute_times > 0


def _is_running(before: SubTaskRecord, _after: SubTaskRecord) -> bool:
    return before.state is State.RUNNING


def _will_run(before: SubTaskRecord, after: SubTaskRecord) -> bool:
    return after.state is not State.SUCCEED and (before != after or before.state is State.PENDING)


_Apply = Callable[[Snapshot, LockRecord | None], object]
_IsAffected = Callable[[SubTaskRecord, SubTaskRecord], bool]
_RULES: Mapping[Operator, tuple[_Apply, _IsAffected]] = {
    Operator.RETRY: (lambda snapshot, _lock: operators.retry_dag(snapshot, None), _will_run),
    Operator.ROLLBACK: (
        lambda snapshot, lock: operators.rollback_dag(snapshot, None, lock),
        _has_run,
    ),
    Operator.PASS: (lambda snapshot, _lock: operators.pass_dag(snapshot), _is_changed),
    Operator.CANCEL: (lambda snapshot, _lock: operators.cancel_dag(snapshot), _is_running),
}


def _list_servers(targets: tuple[str, ...], texts: Texts) -> str:
    listed = ", ".join(targets[:_LISTED_SERVERS])
    more = len(targets) - _LISTED_SERVERS
    return texts(messages.AND_MORE(listed=listed, count=more)) if more > 0 else listed


def render_command(dag_id: str, operator: Operator, api_url: str, *, stage: int = 0) -> str:
    """Return the command that applies an operator; `stage` is its number, 0 for the whole DAG."""
    node = ["--node", str(stage)] if stage else []
    words = ["dagengine", operator.lower(), dag_id, *node, "--reason", "…", "--url", api_url]
    return shlex.join(words)


def render_curl(
    generic_id: str, operator: Operator, api_url: str, *, kind: Literal["dag", "node"] = "dag"
) -> str:
    """Return the request that applies an operator, with a token from the environment."""
    body = json.dumps({"operator": operator, "reason": "…"}, ensure_ascii=False)
    url = f"{api_url}/api/v1/task/{kind}/{generic_id}"
    return _curl(["-X", "POST", "--json", body, url])


def render_show_command(dag_id: str, api_url: str) -> str:
    """Return the command that shows a DAG."""
    return shlex.join(["dagengine", "show", dag_id, "--url", api_url])


def render_show_curl(dag_id: str, api_url: str) -> str:
    """Return the request that reads a DAG, with a token from the environment."""
    return _curl([f"{api_url}/api/v1/task/dag/{dag_id}"])


def _curl(words: list[str]) -> str:
    return f'curl -H "Authorization: Bearer $DAGENGINE_TOKEN" {shlex.join(words)}'
