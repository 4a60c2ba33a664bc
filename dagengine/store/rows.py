"""Pure conversions between records and database rows, for every kind of store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from dagengine.model.fencing import StoreIdentity
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
from dagengine.model.stage_kinds import Flags, StageKind
from dagengine.model.states import Operator, State


class StoredRow(Protocol):
    """A row whose values are found by the names of their columns."""

    def __getitem__(self, key: str, /) -> Any: ...


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FLAG_BITS = {"can_cancel": 1, "can_continue": 2, "can_retry": 4, "can_rollback": 8, "can_pass": 16}


@lru_cache(maxsize=1024)  # most rows of one decision contain the same instant
def render_instant(at: datetime) -> int:
    """Return microseconds since the epoch."""
    return (at - _EPOCH) // _MICROSECOND


def parse_instant(value: int) -> datetime:
    """Return an aware UTC instant."""
    return _EPOCH + timedelta(microseconds=value)


def render_json(value: object) -> str:
    """Return compact JSON; raise TypeError for a value that JSON cannot represent."""
    return _ENCODER.encode(value)


def render_optional_json(value: object | None) -> str | None:
    """Like `render_json`, but None stays None."""
    return None if value is None else render_json(value)


def render_flags(flags: Flags) -> int:
    """Return the bit mask of a node's flags."""
    return sum(bit for name, bit in _FLAG_BITS.items() if getattr(flags, name))


def parse_flags(bits: int) -> Flags:
    """Return the flags of a bit mask."""
    return Flags(**{name: bool(bits & bit) for name, bit in _FLAG_BITS.items()})


def parse_dag(row: StoredRow) -> DagRecord:
    """Convert a row of table dag."""
    return DagRecord(
        dag_id=row["dag_id"],
        name=row["name"],
        version=row["version"],
        params=json.loads(row["params"]),
        targets=tuple(json.loads(row["targets"])),
        stage=row["stage"],
        max_stage=row["max_stage"],
        state=State(row["state"]),
        operator=Operator(row["operator"]),
        lock_key=row["lock_key"],
        lock_token=row["lock_token"],
        created_at=parse_instant(row["created_at"]),
        start_at=parse_instant(row["start_at"]),
        end_at=parse_instant(row["end_at"]),
        last_lock_token=row["last_lock_token"],
        lock_successor_id=row["lock_successor_id"],
    )


def parse_node(row: StoredRow) -> NodeRecord:
    """Convert a row of table node."""
    return NodeRecord(
        node_id=row["node_id"],
        dag_id=row["dag_id"],
        stage=row["stage"],
        name=row["name"],
        kind=StageKind(row["kind"]),
        flags=parse_flags(row["flags"]),
        state=State(row["state"]),
        operator=Operator(row["operator"]),
        start_at=parse_instant(row["start_at"]),
        end_at=parse_instant(row["end_at"]),
    )


def parse_sub_task(row: StoredRow) -> SubTaskRecord:
    """Convert a row of table sub_task."""
    return SubTaskRecord(
        sub_task_id=row["sub_task_id"],
        node_id=row["node_id"],
        dag_id=row["dag_id"],
        stage=row["stage"],
        target=row["target"],
        state=State(row["state"]),
        operator=Operator(row["operator"]),
        attempt_no=row["attempt_no"],
        execute_times=row["execute_times"],
        start_at=parse_instant(row["start_at"]),
        end_at=parse_instant(row["end_at"]),
        data=_parse_optional_json(row["data"]),
        evidence=_parse_optional_json(row["evidence"]),
        summary=row["summary"],
    )


def parse_log(row: StoredRow) -> LogRecord:
    """Convert a row of table log."""
    return LogRecord(
        log_id=row["log_id"],
        sub_task_id=row["sub_task_id"],
        attempt_no=row["attempt_no"],
        execute_times=row["execute_times"],
        content=row["content"],
        created_at=parse_instant(row["created_at"]),
    )


def parse_lock(row: StoredRow) -> LockRecord:
    """Convert a row of table lock."""
    return LockRecord(
        key=row["key"],
        dag_id=row["dag_id"],
        token=row["token"],
        reason=row["reason"],
        since_at=parse_instant(row["since_at"]),
    )


def parse_attempt(row: StoredRow) -> AttemptRecord:
    """Convert a row of table attempt."""
    return AttemptRecord(
        sub_task_id=row["sub_task_id"],
        attempt_no=row["attempt_no"],
        outcome=row["outcome"],
        error=row["error"],
        start_at=parse_instant(row["start_at"]),
        end_at=parse_instant(row["end_at"]),
    )


def parse_unconfirmed(row: StoredRow) -> UnconfirmedRecord:
    """Convert a row of table unconfirmed_target."""
    return UnconfirmedRecord(
        row["target"], row["dag_id"], row["stage"], parse_instant(row["since_at"])
    )


def parse_audit(row: StoredRow) -> AuditRecord:
    """Convert a row of table audit."""
    return AuditRecord(
        audit_id=row["audit_id"],
        at=parse_instant(row["at"]),
        dag_id=row["dag_id"],
        node_id=row["node_id"],
        action=row["action"],
        by=row["by"],
        reason=row["reason"],
    )


def render_audit(row: AuditRecord) -> tuple[int | str | None, ...]:
    """Return the columns of a new row of table audit."""
    return (render_instant(row.at), row.dag_id, row.node_id, row.action, row.by, row.reason)


def parse_identity(row: Sequence[Any]) -> StoreIdentity:
    """Convert the result of the query `load_identity`."""
    store_id, epoch = row
    return StoreIdentity(str(store_id), int(epoch))


def _parse_optional_json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
