"""Guarded statements for each type of change; they run in the writer thread's transaction."""

from __future__ import annotations

import sqlite3

from dagengine.errors import NotSerializable
from dagengine.model.changes import Batch, Change, DagCreated, RequestReserved
from dagengine.store import messages
from dagengine.store.changes import (
    GUARDED,
    is_fenced_by_change,
    render_dag_row,
    render_node_row,
    render_sub_task_row,
    row_error,
    token_error,
)
from dagengine.store.events import render_events
from dagengine.store.rows import render_instant
from dagengine.store.sqlite.queries import QUERIES

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
    if batch.lock_token is not None and not is_fenced_by_change(batch):
        row = connection.execute(
            QUERIES["check_lock_token"], (batch.dag_id, batch.lock_token)
        ).fetchone()
        if row is None:
            raise token_error(batch)


def _write_change(connection: sqlite3.Connection, dag_id: int, change: Change) -> None:
    if isinstance(change, DagCreated):
        _insert_dag(connection, change)
        return
    if isinstance(change, RequestReserved):
        _reserve_request(connection, change)
        return
    write = GUARDED[type(change)]
    if connection.execute(QUERIES[write.query], write.render(change)).rowcount != 1:
        raise row_error(dag_id, change)


def _insert_dag(connection: sqlite3.Connection, change: DagCreated) -> None:
    connection.execute(QUERIES["insert_dag"], render_dag_row(change.dag))
    connection.executemany(QUERIES["insert_node"], [render_node_row(node) for node in change.nodes])
    connection.executemany(
        QUERIES["insert_sub_task"], [render_sub_task_row(task) for task in change.sub_tasks]
    )


def _reserve_request(connection: sqlite3.Connection, change: RequestReserved) -> None:
    if change.delete_before is not None:
        connection.execute(QUERIES["drop_reserved"], (render_instant(change.delete_before),))
    rows = [(digest, render_instant(until)) for digest, until in change.entries]
    connection.executemany(QUERIES["insert_reserved"], rows)
