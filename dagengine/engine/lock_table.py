"""Who holds which lock, as last committed; and the lock a DAG would hold next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from dagengine.model.changes import Batch, LockReleased, LockTaken
from dagengine.model.records import LockRecord

_KINDS = frozenset({LockTaken, LockReleased})


class LockTable:
    """A picture of table `lock`. The guarded write decides; this says what to try."""

    def __init__(self) -> None:
        self._locks: dict[str, LockRecord] = {}

    def load(self, locks: Iterable[LockRecord]) -> None:
        self._locks = {lock.key: lock for lock in locks}

    def holder(self, key: str) -> LockRecord | None:
        """The lock when some DAG holds it, else None."""
        lock = self._locks.get(key)
        return lock if lock is not None and lock.dag_id is not None else None

    def holders(self) -> tuple[LockRecord, ...]:
        """Every lock that some DAG holds, by key."""
        return tuple(lock for _, lock in sorted(self._locks.items()) if lock.dag_id is not None)

    def all(self) -> tuple[LockRecord, ...]:
        """Every lock, by key."""
        return tuple(self._locks[key] for key in sorted(self._locks))

    def find(self, key: str | None) -> LockRecord | None:
        """The lock, held or free; None when it was never taken."""
        return self._locks.get(key or "")

    def next(self, key: str, dag_id: int, reason: str, now: datetime) -> LockRecord:
        """The lock as this DAG would hold it, with the next token."""
        before = self._locks.get(key)
        token = (before.token if before else 0) + 1
        return LockRecord(key, dag_id, token, reason, now)

    def apply(self, batch: Batch) -> None:
        """Follow a committed batch."""
        if _KINDS.isdisjoint(map(type, batch.changes)):
            return  # as nearly all
        for change in batch.changes:
            if isinstance(change, LockTaken):
                self._locks[change.lock.key] = change.lock
            elif isinstance(change, LockReleased):
                held = self._locks[change.key]
                self._locks[change.key] = replace(held, dag_id=None, reason="", since_at=change.at)
