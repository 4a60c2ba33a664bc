"""Deletion of expired rows in slices, between other commits."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

from dagengine.store.contract import Retention
from dagengine.store.rows import render_instant
from dagengine.store.sqlite.queries import QUERIES

SLICE_ROWS = 2000
"""Maximum rows per slice. A slice takes about 10 ms and delays a commit by at most that time."""

_MOST = 2**63 - 1  # largest integer of SQLite

_PARTS = (
    *("prune_idempotency_keys", "prune_events", "prune_attempts"),
    *("prune_sub_tasks", "prune_nodes", "prune_dag"),
)


def prune_slice(connection: sqlite3.Connection, retention: Retention, now: datetime) -> int:
    """Delete about `SLICE_ROWS` rows; return how many, 0 if there is nothing to delete.

    DAGs are deleted oldest first; the log lines of a large DAG take several slices.
    """
    oldest, count = _oldest_kept(retention, now), min(retention.max_count, _MOST)
    deleted = 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        while deleted < SLICE_ROWS:
            row = connection.execute(QUERIES["find_prunable"], (oldest, count)).fetchone()
            if row is None:
                break
            deleted += _prune_dag(connection, row[0], SLICE_ROWS - deleted)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return deleted


def _oldest_kept(retention: Retention, now: datetime) -> int:
    """Return, as stored, the instant before which a DAG must have ended to be deleted."""
    try:
        return render_instant(now - timedelta(seconds=retention.max_age_s))
    except OverflowError:  # before the year 1: no DAG is that old
        return render_instant(datetime.min.replace(tzinfo=UTC))


def _prune_dag(connection: sqlite3.Connection, dag_id: int, limit: int) -> int:
    lines = connection.execute(QUERIES["prune_logs"], (dag_id, limit)).rowcount
    if lines == limit:
        return lines  # more may be left
    return lines + sum(connection.execute(QUERIES[part], (dag_id,)).rowcount for part in _PARTS)
