"""The contract of stores. tests/conformance checks every store against these docstrings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from dagengine.errors import NotSerializable, StaleWrite
from dagengine.model.changes import Batch
from dagengine.model.events import EventRecord
from dagengine.model.records import (
    AttemptRecord,
    AuditRecord,
    DagDetail,
    DagRecord,
    LockRecord,
    LogRecord,
    NodeDetail,
    NodeRecord,
    SubTaskDetail,
    SubTaskRecord,
    UnconfirmedRecord,
)
from dagengine.model.states import State

BatchRefused: TypeAlias = StaleWrite | NotSerializable
"""The reason why a commit skipped one batch and wrote the others."""


@dataclass(frozen=True, slots=True)
class DagRows:
    """All rows of one DAG that the rules need; sub-tasks in creation order."""

    dag: DagRecord
    nodes: tuple[NodeRecord, ...]
    sub_tasks: tuple[SubTaskRecord, ...]


@dataclass(frozen=True, slots=True)
class LastIds:
    """The highest ids in use; 0 if there are none."""

    dag_id: int
    node_id: int
    sub_task_id: int


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits on how long finished DAGs are kept.

    Unfinished DAGs, the newest DAG and the audit are always kept.

    Attributes:
        max_age_s: maximum time since a DAG's end, in seconds, above 0; infinity keeps any age.
        max_count: how many of the newest DAGs, in any state, are kept, at least 1; no upper limit.
    """

    max_age_s: float = 90 * 86_400.0
    max_count: int = 10_000


class Store(Protocol):
    """Durable storage for the rows of DAGs, used by one controller at a time and one event loop."""

    async def open(self) -> None:
        """Open, migrate and lock the store. If that fails, everything is released again.

        Raises:
            StoreInUse: another controller owns the store; the message names it.
            StoreTooNew: a newer version of the program wrote the store.
            StoreUnavailable: unreadable, not writable, or not a store.
        """
        ...

    async def close(self) -> None:
        """Finish the submitted requests, then release the store. Safe to call twice.

        Concurrent calls are allowed. From the first call on, new requests raise StoreUnavailable
        immediately. If the caller is cancelled, the cancellation takes effect only after the store
        is released and nothing of it runs any more.
        """
        ...

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        """Write batches durably.

        Each batch is written completely or not at all. The result has one entry per batch, in
        order: None if the batch was written; a StaleWrite if the guard of a change does not hold; a
        NotSerializable if a value cannot be stored, in which case retrying is pointless. The other
        batches are still written. On return everything written survives a crash. Concurrent calls
        may share one commit and are written in call order; a call never fails because of another
        call's batch.

        Raises:
            StoreUnavailable: the store cannot write anything; as far as can be known, none of these
                batches was written.
        """
        ...

    async def load_unfinished(self) -> tuple[DagRows, ...]:
        """Return every READY or RUNNING DAG, oldest first."""
        ...

    async def load_dag(self, dag_id: int) -> DagRows | None:
        """Return one DAG's rows, or None if the DAG does not exist."""
        ...

    async def last_ids(self) -> LastIds:
        """Return the highest id in use of DAGs, nodes and sub-tasks."""
        ...

    async def load_locks(self) -> tuple[LockRecord, ...]:
        """Return every lock that was ever taken, including free ones."""
        ...

    async def load_unconfirmed(self) -> tuple[UnconfirmedRecord, ...]:
        """Return every unconfirmed target, ordered by name."""
        ...

    async def find_dag(self, dag_id: int, *, details: bool) -> DagDetail | None:
        """Return one DAG; with nodes, sub-tasks and log lines if `details`."""
        ...

    async def find_node(self, node_id: int, *, details: bool) -> NodeDetail | None:
        """Return one node; with sub-tasks and log lines if `details`."""
        ...

    async def find_sub_task(self, sub_task_id: int) -> SubTaskDetail | None:
        """Return one sub-task with its log lines."""
        ...

    async def find_logs(self, sub_task_id: int) -> tuple[LogRecord, ...]:
        """Return a sub-task's log lines of all attempts, oldest first; empty for an unknown id."""
        ...

    async def last_event(self, dag_id: int) -> int:
        """Return the number of a DAG's last event; 0 if it has none."""
        ...

    async def list_events(self, dag_id: int, *, after: int, limit: int) -> tuple[EventRecord, ...]:
        """Return a DAG's events after number `after`, in order and without a gap.

        Events are numbered from 1 as they become durable; the numbers never change. The end of a
        DAG is the last event of its commit. `limit` is at least 1.
        """
        ...

    async def find_attempts(self, sub_task_id: int) -> tuple[AttemptRecord, ...]:
        """Return a sub-task's attempts, oldest first; empty for an unknown id."""
        ...

    async def list_audit(
        self, dag_id: int | None, *, limit: int, before: int | None = None
    ) -> tuple[AuditRecord, ...]:
        """Return the audit rows of one DAG, or of all DAGs (None), newest first.

        `limit` is at least 1. With `before`, only rows older than that audit id are returned.
        """
        ...

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> tuple[DagRecord, ...]:
        """Return DAGs, newest first, that are older than `before` and have this state and name.

        None disables a filter.
        """
        ...

    async def count_dags(self) -> Mapping[State, int]:
        """Return the number of DAGs by state; states without DAGs may be missing."""
        ...

    async def probe(self, now: datetime) -> None:
        """Store the instant of a probe, which proves that the store is writable; durable on return.

        Raises:
            StoreUnavailable: the store cannot be written.
        """
        ...

    async def list_dags(self, *, limit: int, unfinished: bool = False) -> tuple[DagRecord, ...]:
        """Return DAGs, newest first. `limit` is at least 1."""
        ...

    async def prune(self, retention: Retention, now: datetime) -> int:
        """Delete a limited number of expired rows, few enough not to delay other writers.

        The newest DAG is always kept, so that ids are never reused.

        Returns:
            The number of deleted rows; 0 if nothing is left to delete.
        """
        ...

    async def find_key(self, text: str) -> tuple[str, int] | None:
        """Return digest and DAG of an idempotency key; None if it is unused or was pruned."""
        ...

    async def reserve(self, prints: Sequence[bytes], until: datetime, now: datetime) -> None:
        """Store the digests of a request, so that it takes effect only once until it expires.

        The digests are durable on return. Digests that have expired by `now` are deleted.
        Concurrent calls share commits, as in `commit`.

        Raises:
            StoreUnavailable: as far as can be known, the digests were not stored.
            NotSerializable: the digests have an unsuitable type or value.
        """
        ...

    async def load_reserved(self) -> Sequence[tuple[bytes, datetime]]:
        """Return the stored digests with their expiry; may include expired ones."""
        ...

    async def ping(self) -> None:
        """Return once the writer has processed all earlier requests.

        Raises:
            StoreUnavailable: the store has no running writer.
        """
        ...

    async def pin(self, key: str, value: str) -> str:
        """Store a value under a key unless the key exists; return the stored value."""
        ...
