"""The values of each change, in the order of the statements that write them.

The statements of every store have the same names; those of SQLite take the values by position,
those of a shared store by the names in `columns`.

States, operators and kinds are passed as plain `str`: for the value of a subclass, sqlite3 searches
an adapter each time, which takes longer than all else that it does with the value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from dagengine.errors import StaleWrite
from dagengine.model.changes import (
    AttemptClosed,
    AuditAppended,
    Batch,
    Change,
    DagChanged,
    IdempotencyKeyUsed,
    LockReleased,
    LockTaken,
    LogAppended,
    NodeChanged,
    SubTaskChanged,
    TargetConfirmed,
    TargetUnconfirmed,
)
from dagengine.model.records import DagRecord, NodeRecord, SubTaskRecord, UnconfirmedRecord
from dagengine.store import messages
from dagengine.store.rows import (
    render_audit,
    render_flags,
    render_instant,
    render_json,
    render_optional_json,
)

Values: TypeAlias = tuple[Any, ...]


class GuardedWrite(NamedTuple):
    """How a change is written.

    Attributes:
        query: name of the statement, which must change exactly one row.
        render: returns the values of the statement.
        row: name of the row in errors; it contains none of the row's data.
        columns: names of the values; those of the expected row begin with `before_`.
    """

    query: str
    render: Callable[[Any], Values]
    row: str
    columns: Sequence[str]


DAG_COLUMNS = (
    *("dag_id", "name", "version", "params", "targets", "stage", "max_stage", "state", "operator"),
    *("lock_key", "lock_token", "created_at", "start_at", "end_at", "last_lock_token"),
    "lock_successor_id",
)
NODE_COLUMNS = (
    *("node_id", "dag_id", "stage", "name", "kind", "flags", "state", "operator"),
    *("start_at", "end_at"),
)
SUB_TASK_COLUMNS = (
    *("sub_task_id", "node_id", "dag_id", "stage", "target", "state", "operator", "attempt_no"),
    *("execute_times", "start_at", "end_at", "data", "evidence", "summary"),
)


def is_fenced_by_change(batch: Batch) -> bool:
    """Return whether a change of the DAG's own row checks the batch's lock token, too."""
    return any(
        isinstance(change, DagChanged) and change.before.dag_id == batch.dag_id
        for change in batch.changes
    )


def token_error(batch: Batch) -> StaleWrite:
    """Return the error for a batch whose DAG has another lock token."""
    return StaleWrite(messages.LOCK_TOKEN_LOST(dag_id=batch.dag_id, lock_token=batch.lock_token))


def row_error(dag_id: int, change: Change) -> StaleWrite:
    """Return the error for a change whose guard does not hold.

    It omits the change itself: the log must not contain parameters, data or log lines.
    """
    row = GUARDED[type(change)].row.format(change)
    return StaleWrite(messages.ROW_CHANGED(change=type(change).__name__, dag_id=dag_id, row=row))


def render_dag_row(dag: DagRecord) -> Values:
    """Return the columns of a new DAG."""
    return (
        dag.dag_id,
        dag.name,
        dag.version,
        render_json(dag.params),
        render_json(dag.targets),
        dag.stage,
        dag.max_stage,
        str(dag.state),
        str(dag.operator),
        dag.lock_key,
        dag.lock_token,
        render_instant(dag.created_at),
        render_instant(dag.start_at),
        render_instant(dag.end_at),
        dag.last_lock_token,
        dag.lock_successor_id,
    )


def render_node_row(node: NodeRecord) -> Values:
    """Return the columns of a new node."""
    return (
        node.node_id,
        node.dag_id,
        node.stage,
        node.name,
        str(node.kind),
        render_flags(node.flags),
        str(node.state),
        str(node.operator),
        render_instant(node.start_at),
        render_instant(node.end_at),
    )


def render_sub_task_row(sub_task: SubTaskRecord) -> Values:
    """Return the columns of a new sub-task."""
    return (
        sub_task.sub_task_id,
        sub_task.node_id,
        sub_task.dag_id,
        sub_task.stage,
        sub_task.target,
        str(sub_task.state),
        str(sub_task.operator),
        sub_task.attempt_no,
        sub_task.execute_times,
        render_instant(sub_task.start_at),
        render_instant(sub_task.end_at),
        render_optional_json(sub_task.data),
        render_optional_json(sub_task.evidence),
        sub_task.summary,
    )


def _dag_update(change: DagChanged) -> Values:
    before, after = change.before, change.after
    return (
        after.stage,
        str(after.state),
        str(after.operator),
        after.lock_token,
        render_instant(after.start_at),
        render_instant(after.end_at),
        after.last_lock_token,
        after.lock_successor_id,
        before.dag_id,
        str(before.state),
        str(before.operator),
        before.lock_token,
    )


def _node_update(change: NodeChanged) -> Values:
    before, after = change.before, change.after
    return (
        str(after.state),
        str(after.operator),
        render_instant(after.start_at),
        render_instant(after.end_at),
        before.node_id,
        str(before.state),
        str(before.operator),
    )


def _sub_task_update(change: SubTaskChanged) -> Values:
    before, after = change.before, change.after
    return (
        str(after.state),
        str(after.operator),
        after.attempt_no,
        after.execute_times,
        render_instant(after.start_at),
        render_instant(after.end_at),
        render_optional_json(after.data),
        render_optional_json(after.evidence),
        after.summary,
        before.sub_task_id,
        str(before.state),
        before.attempt_no,
    )


def _attempt_row(change: AttemptClosed) -> Values:
    attempt = change.attempt
    return (
        attempt.sub_task_id,
        attempt.attempt_no,
        attempt.outcome,
        attempt.error,
        render_instant(attempt.start_at),
        render_instant(attempt.end_at),
    )


def _log_row(change: LogAppended) -> Values:
    line = change.line
    return (line.content, render_instant(line.created_at), line.sub_task_id, line.attempt_no)


def _lock_take(change: LockTaken) -> Values:
    lock = change.lock
    return (lock.key, lock.dag_id, lock.token, lock.reason, render_instant(lock.since_at))


def _lock_release(change: LockReleased) -> Values:
    return (render_instant(change.at), change.key, change.dag_id, change.token)


def _unconfirmed_row(mark: UnconfirmedRecord) -> Values:
    return (mark.target, mark.dag_id, mark.stage, render_instant(mark.since_at))


def _audit_row(change: AuditAppended) -> Values:
    return render_audit(change.row)


_UNCONFIRMED = ("target", "dag_id", "stage", "since_at")

GUARDED: dict[type[Change], GuardedWrite] = {
    DagChanged: GuardedWrite(
        "update_dag",
        _dag_update,
        "DAG {0.before.dag_id}",
        (
            *("stage", "state", "operator", "lock_token", "start_at", "end_at"),
            *("last_lock_token", "lock_successor_id"),
            *("before_id", "before_state", "before_operator", "before_lock_token"),
        ),
    ),
    NodeChanged: GuardedWrite(
        "update_node",
        _node_update,
        "node {0.before.node_id}",
        (
            *("state", "operator", "start_at", "end_at"),
            *("before_id", "before_state", "before_operator"),
        ),
    ),
    SubTaskChanged: GuardedWrite(
        "update_sub_task",
        _sub_task_update,
        "sub-task {0.before.sub_task_id}",
        (
            *("state", "operator", "attempt_no", "execute_times", "start_at", "end_at"),
            *("data", "evidence", "summary", "before_id", "before_state", "before_attempt_no"),
        ),
    ),
    AttemptClosed: GuardedWrite(
        "insert_attempt",
        _attempt_row,
        "attempt {0.attempt.attempt_no} of sub-task {0.attempt.sub_task_id}",
        ("sub_task_id", "attempt_no", "outcome", "error", "start_at", "end_at"),
    ),
    LogAppended: GuardedWrite(
        "insert_log",
        _log_row,
        "sub-task {0.line.sub_task_id}",
        ("content", "created_at", "sub_task_id", "attempt_no"),
    ),
    LockTaken: GuardedWrite(
        "take_lock",
        _lock_take,
        "lock {0.lock.key}",
        ("lock_key", "dag_id", "token", "reason", "since_at"),
    ),
    LockReleased: GuardedWrite(
        "release_lock", _lock_release, "lock {0.key}", ("since_at", "lock_key", "dag_id", "token")
    ),
    TargetUnconfirmed: GuardedWrite(
        "mark_unconfirmed",
        lambda change: _unconfirmed_row(change.mark),
        "the marker of {0.mark.target}",
        _UNCONFIRMED,
    ),
    TargetConfirmed: GuardedWrite(
        "mark_confirmed",
        lambda change: _unconfirmed_row(change.mark),
        "the marker of {0.mark.target}",
        _UNCONFIRMED,
    ),
    AuditAppended: GuardedWrite(
        "insert_audit",
        _audit_row,
        "the audit",
        ("at", "dag_id", "node_id", "action", "actor", "reason"),
    ),
    IdempotencyKeyUsed: GuardedWrite(
        "insert_idempotency_key",
        lambda change: (change.key.text, change.key.digest, change.dag_id),
        "an idempotency key",
        ("key_text", "digest", "dag_id"),
    ),
}
