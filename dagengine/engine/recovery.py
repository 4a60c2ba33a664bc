"""Repairs at start-up, before any DAG runs."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime

import structlog

from dagengine.engine.lock_table import LockTable
from dagengine.model.changes import Batch, Change, DagChanged, LockReleased
from dagengine.store.contract import Store

_log = structlog.get_logger("dagengine.engine")


async def release_orphans(
    store: Store, locks: LockTable, unfinished: Container[int], now: datetime
) -> None:
    """Release every lock whose owner has ended; no other code would release it."""
    for lock in locks.holders():
        if lock.dag_id is None or lock.dag_id in unfinished:
            continue
        changes: list[Change] = [LockReleased(lock.key, lock.dag_id, lock.token, now)]
        rows = await store.load_dag(lock.dag_id)
        if rows is not None and rows.dag.lock_token:
            changes.append(DagChanged(rows.dag, rows.dag._replace(lock_token=0)))
        batch = Batch(lock.dag_id, None, tuple(changes))
        (refusal,) = await store.commit([batch])
        if refusal is not None:
            _log.error("orphaned_lock_kept", key=lock.key, dag_id=lock.dag_id, error=str(refusal))
            continue
        locks.apply(batch)
        _log.warning("orphaned_lock_released", key=lock.key, dag_id=lock.dag_id)
