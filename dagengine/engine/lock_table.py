"""Projection of the locks as of the last commit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from dagengine.model.changes import Batch, LockReleased, LockTaken
from dagengine.model.records import LockRecord

_KINDS = frozenset({LockTaken, LockReleased})


class LockTable:
    """Projection of table `lock`. It suggests the next write; the guard of that write decides."""

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
        if _KINDS.isdisjoint(map(type, batch.changes)):
            return  # fast path: most batches do not touch a lock
        for change in batch.changes:
            if isinstance(change, LockTaken):
                self._locks[change.lock.key] = change.lock
            elif isinstance(change, LockReleased):
                held = self._locks[change.key]
                self._locks[change.key] = replace(held, dag_id=None, reason="", since_at=change.at)
