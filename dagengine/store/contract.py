"""The contract of stores. tests/conformance checks every store against these docstrings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from dagengine.errors import NotSerializable, StaleWrite
from dagengine.model.changes import Batch
from dagengine.model.credentials import SessionRecord, TokenRecord
from dagengine.model.events import EventRecord
from dagengine.model.fencing import StoreIdentity
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
from dagengine.store.membership import MembershipStore as MembershipStore  # noqa: PLC0414

BatchRefused: TypeAlias = StaleWrite | NotSerializable
"""The reason why a commit skipped one batch and wrote the others."""

CLOSE_LIMIT_S = 10.0
"""Limit on closing a store, in seconds; then the engine leaves it, and its queue is lost."""


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


class CredentialStore(Protocol):
    """Durable storage for API tokens and sessions.

    Where several controllers share a store, each of them may call every method, whether or not it
    owns the cluster. What a method has written is visible to all of them when it returns. Instants
    are stored in microseconds; the caller rounds those that are kept to the minute.

    Every method raises StoreUnavailable if the store cannot be read or written.
    """

    async def add_token(self, token: TokenRecord) -> bool:
        """Store a token; return False, and change nothing, if its name is in use.

        Raises:
            NotSerializable: a value cannot be stored.
        """
        ...

    async def find_token(self, digest: bytes) -> TokenRecord | None:
        """Return the token with this digest, also if it has expired; None if there is none."""
        ...

    async def list_tokens(self) -> tuple[TokenRecord, ...]:
        """Return every token, ordered by name, including expired ones."""
        ...

    async def revoke_token(self, name: str) -> bool:
        """Delete a token and all sessions that began with it; return False if it does not exist."""
        ...

    async def touch_token(self, digest: bytes, at: datetime) -> None:
        """Record that a token was used; without effect if it was revoked or used later."""
        ...

    async def add_session(self, session: SessionRecord) -> bool:
        """Store a session; return False, and store nothing, if its token has been revoked.

        Raises:
            NotSerializable: a value cannot be stored, or the digest is in use.
        """
        ...

    async def find_session(self, digest: bytes) -> SessionRecord | None:
        """Return the session with this digest, also if it is too old; None if there is none."""
        ...

    async def touch_session(self, digest: bytes, at: datetime) -> None:
        """Record that a session was used; without effect if it has ended or was used later."""
        ...

    async def delete_session(self, digest: bytes) -> None:
        """End a session; without effect if it has ended."""
        ...

    async def delete_old_sessions(self, *, created_before: datetime, seen_before: datetime) -> int:
        """Delete sessions created or last seen before these instants; return how many."""
        ...


class Store(CredentialStore, Protocol):
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

    async def find_dags(self, dag_ids: Sequence[int]) -> tuple[DagDetail, ...]:
        """Return DAGs with nodes, sub-tasks and log lines, in this order; without unknown ids.

        The number of queries does not depend on the number of DAGs. Each result takes memory until
        it is returned, so pass one page at a time.
        """
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

    async def list_dag_attempts(self, dag_id: int) -> tuple[AttemptRecord, ...]:
        """Return the attempts of all sub-tasks of a DAG, by sub-task, oldest first."""
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

    async def reserve(
        self, entries: Sequence[tuple[bytes, datetime]], *, delete_before: datetime | None
    ) -> None:
        """Store the digests of a request with their expiry, so that it takes effect only once.

        The digests are durable on return. In the same transaction, those that expire before
        `delete_before` are deleted first; with None, none are. A digest that is stored already
        keeps its expiry. Concurrent calls share commits, as in `commit`.

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

    async def load_identity(self) -> StoreIdentity:
        """Return the store's random id, which is made with the store, and its epoch.

        Copies keep both; they do not change while the store is open.
        """
        ...

    async def pin(self, key: str, value: str) -> str:
        """Store a value under a key unless the key exists; return the stored value."""
        ...
