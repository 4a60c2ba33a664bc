"""The store's contract. A docstring here is what tests/conformance checks of every store."""

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
"""Why one batch was left out of a commit that wrote the others."""


@dataclass(frozen=True, slots=True)
class DagRows:
    """Everything the rules need of one DAG; sub-tasks in creation order."""

    dag: DagRecord
    nodes: tuple[NodeRecord, ...]
    sub_tasks: tuple[SubTaskRecord, ...]


@dataclass(frozen=True, slots=True)
class LastIds:
    """The highest ids in use; 0 when there is none."""

    dag_id: int
    node_id: int
    sub_task_id: int


@dataclass(frozen=True, slots=True)
class Retention:
    """How long finished DAGs are kept. Unfinished ones, the newest one and the audit always are.

    Attributes:
        max_age_s: since their end, in seconds, above 0; infinity: of any age.
        max_count: of DAGs of any state, newest first, at least 1; however many.
    """

    max_age_s: float = 90 * 86_400.0
    max_count: int = 10_000


class Store(Protocol):
    """Durable rows of DAGs. One controller at a time; one event loop."""

    async def open(self) -> None:
        """Open, migrate, and claim the store; nothing of it is left when that fails.

        Raises:
            StoreInUse: another controller owns it; named in the message.
            StoreTooNew: a newer version wrote it.
            StoreUnavailable: unreadable, not writable, or not a store.
        """
        ...

    async def close(self) -> None:
        """Wait for what was submitted, then give the store up. Safe to call twice, also at once.

        From the call on, every request raises StoreUnavailable at once. A caller that is cancelled
        waits to the end all the same: then the store is given up, and nothing of it runs on.
        """
        ...

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        """Write batches durably.

        Each batch is written as a whole or not at all, and answered in its place: None when
        it was written; a StaleWrite when the guard of a change does not hold; an NotSerializable
        when a value cannot be kept, which no repetition will mend. The others are written all
        the same. On return everything written survives a crash. Concurrent calls may share
        one commit and are written in the order of the calls; none fails for another's batch.

        Raises:
            StoreUnavailable: the store refuses, whatever it is given; nothing of these batches
                was written, as far as can be known.
        """
        ...

    async def load_unfinished(self) -> tuple[DagRows, ...]:
        """Every DAG that is READY or RUNNING, oldest first."""
        ...

    async def load_dag(self, dag_id: int) -> DagRows | None:
        """One DAG's rows; None when there is no such DAG."""
        ...

    async def last_ids(self) -> LastIds:
        """Where the three id sequences stand."""
        ...

    async def load_locks(self) -> tuple[LockRecord, ...]:
        """Every lock that was ever taken, free ones included."""
        ...

    async def load_unproven(self) -> tuple[UnconfirmedRecord, ...]:
        """Every target that is marked, in the order of their names."""
        ...

    async def find_dag(self, dag_id: int, *, details: bool) -> DagDetail | None:
        """One DAG; with nodes, sub-tasks and log lines when `details`."""
        ...

    async def find_node(self, node_id: int, *, details: bool) -> NodeDetail | None:
        """One node; with sub-tasks and log lines when `details`."""
        ...

    async def find_sub_task(self, sub_task_id: int) -> SubTaskDetail | None:
        """One sub-task with its log lines."""
        ...

    async def find_logs(self, sub_task_id: int) -> tuple[LogRecord, ...]:
        """A sub-task's log lines of all attempts, oldest first; empty for an unknown id."""
        ...

    async def last_event(self, dag_id: int) -> int:
        """Number of a DAG's last event; 0 when there is none."""
        ...

    async def list_events(self, dag_id: int, *, after: int, limit: int) -> tuple[EventRecord, ...]:
        """A DAG's events that follow number `after`, in order and without a gap.

        Events are numbered from 1 as they become durable; the numbers never change. A DAG's
        end is the last event of its commit. `limit` at least 1.
        """
        ...

    async def find_attempts(self, sub_task_id: int) -> tuple[AttemptRecord, ...]:
        """A sub-task's attempts, oldest first; empty for an unknown id."""
        ...

    async def list_audit(
        self, dag_id: int | None, *, limit: int, before: int | None = None
    ) -> tuple[AuditRecord, ...]:
        """What was done to one DAG, or to all (None), newest first. `limit` at least 1.

        With `before` only rows older than that one.
        """
        ...

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> tuple[DagRecord, ...]:
        """DAGs older than `before`, in that state, of that name; None: any. Newest first."""
        ...

    async def count_dags(self) -> Mapping[State, int]:
        """How many DAGs there are in each state; a state without any may be left out."""
        ...

    async def probe(self, now: datetime) -> None:
        """Write that somebody asked at that instant; durable on return.

        Raises:
            StoreUnavailable: it cannot be written.
        """
        ...

    async def list_dags(self, *, limit: int, unfinished: bool = False) -> tuple[DagRecord, ...]:
        """DAGs, newest first. `limit` at least 1."""
        ...

    async def prune(self, retention: Retention, now: datetime) -> int:
        """Delete some of what need not be kept any more, so little that nobody has to wait.

        The newest DAG stays in any case, so that no id is ever given twice.

        Returns:
            How many rows were deleted; 0: there is nothing left to delete.
        """
        ...

    async def find_key(self, text: str) -> tuple[str, int] | None:
        """Digest and DAG that an idempotency key was used for; None: not used, or pruned."""
        ...

    async def reserve(self, prints: Sequence[bytes], until: datetime, now: datetime) -> None:
        """Keep digests of a request that may act until it has expired; durable on return.

        What has expired by `now` is dropped. Shares commits, as `commit` does.

        Raises:
            StoreUnavailable: they were not kept, as far as can be known.
            NotSerializable: they are not what they should be.
        """
        ...

    async def load_reserved(self) -> Sequence[tuple[bytes, datetime]]:
        """Digests that were kept, with when they expire; perhaps some that have."""
        ...

    async def ping(self) -> None:
        """Return once the writer has had its turn.

        Raises:
            StoreUnavailable: there is no writer.
        """
        ...

    async def pin(self, key: str, value: str) -> str:
        """Store a value under a key unless there is one already; returns the stored one."""
        ...
