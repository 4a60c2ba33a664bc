"""In-memory copies of two tables, as of the last commit.

A copy suggests the next write; the guard of that write decides.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace
from datetime import datetime

import structlog

from dagengine.model.changes import (
    Batch,
    Change,
    DagChanged,
    LockReleased,
    LockTaken,
    TargetConfirmed,
    TargetUnconfirmed,
)
from dagengine.model.records import LockRecord, UnconfirmedRecord
from dagengine.store.contract import Store

_log = structlog.get_logger("dagengine.engine")
_LOCK_CHANGES = frozenset({LockTaken, LockReleased})
_MARKER_CHANGES = frozenset({TargetConfirmed, TargetUnconfirmed})


class LockTable:
    """Projection of table `lock`, by key."""

    def __init__(self) -> None:
        self._locks: dict[str, LockRecord] = {}

    def load(self, locks: Iterable[LockRecord]) -> None:
        self._locks = {lock.key: lock for lock in locks}

    def holder(self, key: str) -> LockRecord | None:
        """Return the lock if a DAG holds it, else None."""
        lock = self._locks.get(key)
        return lock if lock is not None and lock.dag_id is not None else None

    def holders(self) -> tuple[LockRecord, ...]:
        """Return every lock that a DAG holds, in the order of the keys."""
        return tuple(lock for _, lock in sorted(self._locks.items()) if lock.dag_id is not None)

    def all(self) -> tuple[LockRecord, ...]:
        """Return every lock, in the order of the keys."""
        return tuple(self._locks[key] for key in sorted(self._locks))

    def find(self, key: str | None) -> LockRecord | None:
        """Return the lock, held or free; None when it was never taken."""
        return self._locks.get(key or "")

    def next(self, key: str, dag_id: int, reason: str, now: datetime) -> LockRecord:
        """Return the lock as this DAG would hold it, with the next token."""
        before = self._locks.get(key)
        token = (before.token if before else 0) + 1
        return LockRecord(key, dag_id, token, reason, now)

    def apply(self, batch: Batch) -> None:
        """Apply a committed batch."""
        if _LOCK_CHANGES.isdisjoint(map(type, batch.changes)):
            return  # fast path: most batches do not touch a lock
        for change in batch.changes:
            if isinstance(change, LockTaken):
                self._locks[change.lock.key] = change.lock
            elif isinstance(change, LockReleased):
                lock = self._locks[change.key]
                self._locks[change.key] = replace(lock, dag_id=None, reason="", since_at=change.at)


class UnconfirmedTargets:
    """Projection of table `unconfirmed_target`, by target."""

    def __init__(self) -> None:
        self._markers: dict[str, UnconfirmedRecord] = {}

    def load(self, markers: Iterable[UnconfirmedRecord]) -> None:
        self._markers = {marker.target: marker for marker in markers}

    def find(self, target: str | None) -> UnconfirmedRecord | None:
        """Return the marker of a target, or None."""
        return self._markers.get(target or "")

    def apply(self, batch: Batch) -> None:
        """Apply a committed batch."""
        if _MARKER_CHANGES.isdisjoint(map(type, batch.changes)):
            return  # fast path: most batches do not touch a marker
        for change in batch.changes:
            if isinstance(change, TargetUnconfirmed):
                self._markers[change.mark.target] = change.mark
            elif (
                isinstance(change, TargetConfirmed) and self.find(change.mark.target) == change.mark
            ):
                del self._markers[change.mark.target]  # a newer marker is kept


class Projections:
    """The projections of one engine, each loaded at start-up and applied after each commit.

    Attributes:
        locks: table `lock`.
        unconfirmed: table `unconfirmed_target`.
    """

    def __init__(self) -> None:
        self.locks = LockTable()
        self.unconfirmed = UnconfirmedTargets()

    async def load(self, store: Store) -> None:
        self.locks.load(await store.load_locks())
        self.unconfirmed.load(await store.load_unconfirmed())

    def apply(self, batch: Batch) -> None:
        """Apply a committed batch."""
        self.locks.apply(batch)
        self.unconfirmed.apply(batch)


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
