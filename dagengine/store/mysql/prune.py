"""Deletion of expired rows in slices, each a guarded packet of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dagengine.mysql import Result
from dagengine.store.contract import Retention
from dagengine.store.mysql.link import PacketLink
from dagengine.store.mysql.packet import query_statements
from dagengine.store.mysql.statements import render_query
from dagengine.store.rows import render_instant

SLICE_ROWS = 2000
"""Maximum rows per slice."""

_MOST = 2**62  # seekdb computes LIMIT + OFFSET, which must stay below 2**63

_PARTS = (
    *("prune_idempotency_keys", "prune_events", "prune_attempts"),
    *("prune_sub_tasks", "prune_nodes", "prune_dag"),
)


async def prune_slice(link: PacketLink, retention: Retention, now: datetime) -> int:
    """Delete about `SLICE_ROWS` rows; return how many, 0 if there is nothing to delete.

    DAGs are deleted oldest first; the log lines of a large DAG take several slices.
    """
    oldest, count = _oldest_kept(retention, now), min(retention.max_count, _MOST)
    deleted = 0
    while deleted < SLICE_ROWS:
        rows = await link.read(
            render_query("find_prunable", link.cluster, before=oldest, count=count)
        )
        if not rows:
            break
        deleted += await _prune_dag(link, int(str(rows[0][0])), SLICE_ROWS - deleted)
    return deleted


async def _prune_dag(link: PacketLink, dag_id: int, limit: int) -> int:
    """Delete the DAG's log lines first, so that the rest is few rows."""
    query = query_statements("prune_logs", link.cluster, dag_id=dag_id, limit=limit)
    lines = _affected(await link.send([query]), limit)
    if lines == limit:
        return lines  # more may be left
    parts = [query_statements(part, link.cluster, dag_id=dag_id) for part in _PARTS]
    return lines + _affected(await link.send(parts), 1)


def _affected(results: Sequence[Result] | None, unknown: int) -> int:
    """Return the number of deleted rows; `unknown` if the response was lost."""
    return unknown if results is None else sum(result.affected_rows for result in results)


def _oldest_kept(retention: Retention, now: datetime) -> int:
    """Return, as stored, the instant before which a DAG must have ended to be deleted."""
    try:
        return render_instant(now - timedelta(seconds=retention.max_age_s))
    except OverflowError:  # before the year 1: no DAG is that old
        return render_instant(datetime.min.replace(tzinfo=UTC))
