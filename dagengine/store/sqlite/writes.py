"""Guarded statements for each type of change; they run in the writer thread's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeAlias

from dagengine.errors import NotSerializable, StaleWrite
from dagengine.model.changes import (
    AttemptClosed,
    AuditAppended,
    Batch,
    Change,
    DagChanged,
    DagCreated,
    IdempotencyKeyUsed,
    LockReleased,
    LockTaken,
    LogAppended,
    NodeChanged,
    RequestReserved,
    SubTaskChanged,
    TargetConfirmed,
    TargetUnconfirmed,
)
from dagengine.model.records import DagRecord, NodeRecord, SubTaskRecord, UnconfirmedRecord
from dagengine.store import messages
from dagengine.store.sqlite.events import render_events
from dagengine.store.sqlite.queries import QUERIES
from dagengine.store.sqlite.rows import (
    render_flags,
    render_instant,
    render_json,
    render_optional_json,
)

Row: TypeAlias = tuple[Any, ...]

_UNSTORABLE = (
    *(TypeError, ValueError, OverflowError, RecursionError),  # from JSON, and from binding
    *(sqlite3.DataError, sqlite3.IntegrityError),
    *(sqlite3.InterfaceError, sqlite3.ProgrammingError),  # types that cannot be bound
)
"""Errors caused by the values of a change; they would recur with any store and on any retry."""


def write_batch(connection: sqlite3.Connection, batch: Batch) -> None:
    """Write all changes of a batch.

    After an error the caller must roll back to the state before the batch.

    Raises:
        StaleWrite: a guard does not hold.
        NotSerializable: a value cannot be stored.
        sqlite3.Error: the file cannot be written, regardless of the values.
    """
    change_name = "batch"
    try:
        _check_fence(connection, batch)
        for change in batch.changes:
            change_name = type(change).__name__
            _write_change(connection, batch.dag_id, change)
        for row in render_events(batch.changes):
            connection.execute(QUERIES["insert_event"], row)
    except _UNSTORABLE as exc:
        # The error names a type, a column or one character, never the value, which may be secret.
        raise NotSerializable(
            messages.NOT_SERIALIZABLE(
                change=change_name, dag_id=batch.dag_id, error=type(exc).__name__, reason=exc
            )
        ) from exc


def _check_fence(connection: sqlite3.Connection, batch: Batch) -> None:
    # The update of the DAG's own row also checks the lock token: skip the separate query.
    asks_anyway = any(
        isinstance(change, DagChanged) and change.before.dag_id == batch.dag_id
        for change in batch.changes
    )
    if batch.lock_token is not None and not asks_anyway:
        row = connection.execute(
            QUERIES["check_lock_token"], (batch.dag_id, batch.lock_token)
        ).fetchone()
        if row is None:
            raise StaleWrite(
                messages.LOCK_TOKEN_LOST(dag_id=batch.dag_id, lock_token=batch.lock_token)
            )


def _write_change(connection: sqlite3.Connection, dag_id: int, change: Change) -> None:
    if isinstance(change, DagCreated):
        _insert_dag(connection, change)
        return
    if isinstance(change, RequestReserved):
        _reserve_request(connection, change)
        return
    name, render, row = _GUARDED[type(change)]
    if connection.execute(QUERIES[name], render(change)).rowcount != 1:
        # Omit the change itself: the log must not contain parameters, data or log lines.
        raise StaleWrite(
            messages.ROW_CHANGED(
                change=type(change).__name__, dag_id=dag_id, row=row.format(change)
            )
        )


def _insert_dag(connection: sqlite3.Connection, change: DagCreated) -> None:
    connection.execute(QUERIES["insert_dag"], _dag_row(change.dag))
    connection.executemany(QUERIES["insert_node"], [_node_row(node) for node in change.nodes])
    connection.executemany(
        QUERIES["insert_sub_task"], [_sub_task_row(sub_task) for sub_task in change.sub_tasks]
    )


def _reserve_request(connection: sqlite3.Connection, change: RequestReserved) -> None:
    connection.execute(QUERIES["drop_reserved"], (render_instant(change.now),))
    until = render_instant(change.until)
    rows = [(mark, until) for mark in change.prints]
    connection.executemany(QUERIES["insert_reserved"], rows)


def _dag_row(dag: DagRecord) -> Row:
    return (
        dag.dag_id,
        dag.name,
        dag.version,
        render_json(dag.params),
        render_json(dag.targets),
        dag.stage,
        dag.max_stage,
        dag.state,
        dag.operator,
        dag.lock_key,
        dag.lock_token,
        render_instant(dag.created_at),
        render_instant(dag.start_at),
        render_instant(dag.end_at),
        dag.last_lock_token,
        dag.lock_successor_id,
    )


def _node_row(node: NodeRecord) -> Row:
    return (
        node.node_id,
        node.dag_id,
        node.stage,
        node.name,
        node.kind,
        render_flags(node.flags),
        node.state,
        node.operator,
        render_instant(node.start_at),
        render_instant(node.end_at),
    )


def _sub_task_row(sub_task: SubTaskRecord) -> Row:
    return (
        sub_task.sub_task_id,
        sub_task.node_id,
        sub_task.dag_id,
        sub_task.stage,
        sub_task.target,
        sub_task.state,
        sub_task.operator,
        sub_task.attempt_no,
        sub_task.execute_times,
        render_instant(sub_task.start_at),
        render_instant(sub_task.end_at),
        render_optional_json(sub_task.data),
        render_optional_json(sub_task.evidence),
        sub_task.summary,
    )


def _dag_update(change: DagChanged) -> Row:
    before, after = change.before, change.after
    return (
        after.stage,
        after.state,
        after.operator,
        after.lock_token,
        render_instant(after.start_at),
        render_instant(after.end_at),
        after.last_lock_token,
        after.lock_successor_id,
        before.dag_id,
        before.state,
        before.operator,
        before.lock_token,
    )


def _node_update(change: NodeChanged) -> Row:
    before, after = change.before, change.after
    return (
        after.state,
        after.operator,
        render_instant(after.start_at),
        render_instant(after.end_at),
        before.node_id,
        before.state,
        before.operator,
    )


def _sub_task_update(change: SubTaskChanged) -> Row:
    before, after = change.before, change.after
    return (
        after.state,
        after.operator,
        after.attempt_no,
        after.execute_times,
        render_instant(after.start_at),
        render_instant(after.end_at),
        render_optional_json(after.data),
        render_optional_json(after.evidence),
        after.summary,
        before.sub_task_id,
        before.state,
        before.attempt_no,
    )


def _attempt_row(change: AttemptClosed) -> Row:
    attempt = change.attempt
    return (
        attempt.sub_task_id,
        attempt.attempt_no,
        attempt.outcome,
        attempt.error,
        render_instant(attempt.start_at),
        render_instant(attempt.end_at),
    )


def _log_row(change: LogAppended) -> Row:
    line = change.line
    return (line.content, render_instant(line.created_at), line.sub_task_id, line.attempt_no)


def _lock_take(change: LockTaken) -> Row:
    lock = change.lock
    return (lock.key, lock.dag_id, lock.token, lock.reason, render_instant(lock.since_at))


def _lock_release(change: LockReleased) -> Row:
    return (render_instant(change.at), change.key, change.dag_id, change.token)


def _unconfirmed_row(mark: UnconfirmedRecord) -> Row:
    return (mark.target, mark.dag_id, mark.stage, render_instant(mark.since_at))


def _audit_row(change: AuditAppended) -> Row:
    row = change.row
    return (render_instant(row.at), row.dag_id, row.node_id, row.action, row.by, row.reason)


_GUARDED: dict[type[Change], tuple[str, Callable[[Any], Row], str]] = {
    DagChanged: ("update_dag", _dag_update, "DAG {0.before.dag_id}"),
    NodeChanged: ("update_node", _node_update, "node {0.before.node_id}"),
    SubTaskChanged: ("update_sub_task", _sub_task_update, "sub-task {0.before.sub_task_id}"),
    AttemptClosed: (
        "insert_attempt",
        _attempt_row,
        "attempt {0.attempt.attempt_no} of sub-task {0.attempt.sub_task_id}",
    ),
    LogAppended: ("insert_log", _log_row, "sub-task {0.line.sub_task_id}"),
    LockTaken: ("take_lock", _lock_take, "lock {0.lock.key}"),
    LockReleased: ("release_lock", _lock_release, "lock {0.key}"),
    TargetUnconfirmed: (
        "mark_unconfirmed",
        lambda change: _unconfirmed_row(change.mark),
        "the marker of {0.mark.target}",
    ),
    TargetConfirmed: (
        "mark_confirmed",
        lambda change: _unconfirmed_row(change.mark),
        "the marker of {0.mark.target}",
    ),
    AuditAppended: ("insert_audit", _audit_row, "the audit"),
    IdempotencyKeyUsed: (
        "insert_idempotency_key",
        lambda change: (change.key.text, change.key.digest, change.dag_id),
        "an idempotency key",
    ),
}
"""Statement, its values, and the row's name in errors, which contains none of the row's data."""
