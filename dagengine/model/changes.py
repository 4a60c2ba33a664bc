"""Changes as values: the rules decide them and the store writes them.

Every change carries the record that it expects to find (`before`), so that the write can be
guarded. If a row differs from the expected record, the change is a StaleWrite and its whole
batch is discarded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from dagengine.model.operation import IdempotencyKey
from dagengine.model.records import (
    AttemptRecord,
    AuditRecord,
    DagRecord,
    LockRecord,
    LogRecord,
    NodeRecord,
    SubTaskRecord,
    UnconfirmedRecord,
)


@dataclass(frozen=True, slots=True)
class DagCreated:
    """A new DAG with all its rows."""

    dag: DagRecord
    nodes: tuple[NodeRecord, ...]
    sub_tasks: tuple[SubTaskRecord, ...]


@dataclass(frozen=True, slots=True)
class DagChanged:
    """A change of a DAG's row. Guarded by state, operator and fence."""

    before: DagRecord
    after: DagRecord


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """A change of a node's row. Guarded by state and operator."""

    before: NodeRecord
    after: NodeRecord


@dataclass(frozen=True, slots=True)
class SubTaskChanged:
    """A change of a sub-task's row. Guarded by state and attempt number."""

    before: SubTaskRecord
    after: SubTaskRecord


@dataclass(frozen=True, slots=True)
class AttemptClosed:
    """The row of an attempt that has ended. Guarded by the absence of an earlier row."""

    attempt: AttemptRecord


@dataclass(frozen=True, slots=True)
class LogAppended:
    """One log line; the store assigns its `log_id`. Guarded by the attempt being current."""

    line: LogRecord


@dataclass(frozen=True, slots=True)
class LockTaken:
    """A lock that a DAG takes. Guarded by the lock being free and by its previous token."""

    lock: LockRecord


@dataclass(frozen=True, slots=True)
class LockReleased:
    """The release of a lock. Guarded by owner and token."""

    key: str
    dag_id: int
    token: int
    at: datetime


@dataclass(frozen=True, slots=True)
class TargetUnconfirmed:
    """A target on which a step was ended without confirmation that nothing of it still runs."""

    mark: UnconfirmedRecord


@dataclass(frozen=True, slots=True)
class TargetConfirmed:
    """The confirmation by a step that nothing of an ended step still runs on a target.

    Guarded by the stored marker being equal to `mark`: a marker set after the probe is kept.
    """

    mark: UnconfirmedRecord


@dataclass(frozen=True, slots=True)
class AuditAppended:
    """A row of the audit; the store assigns its `audit_id`."""

    row: AuditRecord


@dataclass(frozen=True, slots=True)
class IdempotencyKeyUsed:
    """An idempotency key and the DAG that was created for it. Guarded by the key being new."""

    key: IdempotencyKey
    dag_id: int


@dataclass(frozen=True, slots=True)
class RequestReserved:
    """A signed request that may act once; it does not belong to a DAG.

    Attributes:
        entries: digests that identify a replay of the request, with their expiry.
        delete_before: earlier entries are deleted first; None to delete none.
    """

    entries: tuple[tuple[bytes, datetime], ...]
    delete_before: datetime | None


Change: TypeAlias = (
    DagCreated
    | DagChanged
    | NodeChanged
    | SubTaskChanged
    | AttemptClosed
    | LogAppended
    | LockTaken
    | LockReleased
    | TargetUnconfirmed
    | TargetConfirmed
    | AuditAppended
    | IdempotencyKeyUsed
    | RequestReserved
)


@dataclass(frozen=True, slots=True)
class Batch:
    """All consequences of one event, or of several events of one DAG; written atomically.

    Attributes:
        dag_id: the DAG that all changes belong to.
        fence: lock token that the DAG's row must still have; None when the DAG is new.
        changes: written in this order.
    """

    dag_id: int
    lock_token: int | None
    changes: tuple[Change, ...]
