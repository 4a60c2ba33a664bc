"""Changes as values: what the rules decide and the store writes.

Every change carries the record that it expects to find (`before`), so that the write can be
guarded: a change whose row is no longer as expected is a StaleWrite, and its whole batch is
dropped.
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
    """Guarded by state, operator and fence."""

    before: DagRecord
    after: DagRecord


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """Guarded by state and operator."""

    before: NodeRecord
    after: NodeRecord


@dataclass(frozen=True, slots=True)
class SubTaskChanged:
    """Guarded by state and attempt number."""

    before: SubTaskRecord
    after: SubTaskRecord


@dataclass(frozen=True, slots=True)
class AttemptClosed:
    """An attempt ended: its row is written now. Guarded by having none yet."""

    attempt: AttemptRecord


@dataclass(frozen=True, slots=True)
class LogAppended:
    """One log line (its `log_id` is given by the store); guarded by the attempt being current."""

    line: LogRecord


@dataclass(frozen=True, slots=True)
class LockTaken:
    """Guarded by the lock being free and its token being the one before."""

    lock: LockRecord


@dataclass(frozen=True, slots=True)
class LockReleased:
    """Guarded by owner and token."""

    key: str
    dag_id: int
    token: int
    at: datetime


@dataclass(frozen=True, slots=True)
class TargetUnconfirmed:
    """A step was ended on a target without a proof that nothing of it runs on there."""

    mark: UnconfirmedRecord


@dataclass(frozen=True, slots=True)
class TargetConfirmed:
    """A step has looked: nothing that was ended runs on there.

    Guarded by the very mark being there still: one that was set after the look stays.
    """

    mark: UnconfirmedRecord


@dataclass(frozen=True, slots=True)
class AuditAppended:
    """A row of the audit (its `audit_id` is given by the store)."""

    row: AuditRecord


@dataclass(frozen=True, slots=True)
class IdempotencyKeyUsed:
    """A DAG was created for an idempotency key. Guarded by the key being new."""

    key: IdempotencyKey
    dag_id: int


@dataclass(frozen=True, slots=True)
class RequestReserved:
    """A signed request may act, once; belongs to no DAG. What has expired `now` is dropped.

    Attributes:
        prints: digests by which it is known again.
        until: when it has expired.
        now: when it came.
    """

    prints: tuple[bytes, ...]
    until: datetime
    now: datetime


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
    """All consequences of one event (or of several for one DAG): written together or not at all.

    Attributes:
        dag_id: the DAG that all changes belong to.
        fence: lock token that the DAG's row must still have; None when the DAG is new.
        changes: written in this order.
    """

    dag_id: int
    fence: int | None
    changes: tuple[Change, ...]
