"""The statements for a group of batches: decided without I/O.

Changes of different rows are merged into set statements. A change that depends on an earlier one of
the same row gets a higher level, and levels are executed in order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dagengine.errors import NotSerializable
from dagengine.model.changes import (
    AttemptClosed,
    AuditAppended,
    Batch,
    Change,
    DagChanged,
    DagCreated,
    IdempotencyKeyUsed,
    LockReleased,
    LockTaken,
    LogAppended,
    NodeChanged,
    RequestReserved,
    SubTaskChanged,
    TargetConfirmed,
    TargetUnconfirmed,
)
from dagengine.store import messages
from dagengine.store.changes import (
    DAG_COLUMNS,
    GUARDED,
    NODE_COLUMNS,
    SUB_TASK_COLUMNS,
    is_fenced_by_change,
    render_dag_row,
    render_node_row,
    render_sub_task_row,
)
from dagengine.store.events import render_events
from dagengine.store.mysql.numbers import Numbers, NumbersDraft
from dagengine.store.mysql.statements import (
    QUERIES,
    SET_LENGTHS,
    render_literal,
    render_query,
    render_rows,
    render_statement,
    render_values,
)
from dagengine.store.rows import render_instant

Resource: TypeAlias = tuple[str, int | str | bytes]

_UNSTORABLE = (TypeError, ValueError, OverflowError, RecursionError)
_LONG_LITERAL = 8192
"""A row with a longer literal gets a statement of its own: in MariaDB 10.11 a UNION cuts a value
of more than 65,535 bytes without an error."""

_UNGUARDED = frozenset({"insert_reserved", "drop_reserved"})
_COUNTED = frozenset({"check_lock_token"})
_SINGLE = frozenset({"take_lock"})  # two statements, each of one row


class Source(NamedTuple):
    """The origin of a row: `change` is None for the check of the lock token and for events."""

    batch_no: int
    change: Change | None


class Operation(NamedTuple):
    """One row of a statement."""

    query: str
    columns: Sequence[str]
    values: Sequence[str]
    source: Source
    reads: Collection[Resource] = ()
    writes: Collection[Resource] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """Statements that are executed together; the last one is guarded.

    Attributes:
        texts: the statements.
        expected: number of rows that the last one must match; None for any number.
        is_count: the statement is a query that returns this number.
        sources: the origins of its rows.
    """

    texts: Sequence[str]
    expected: int | None = None
    is_count: bool = False
    sources: Sequence[Source] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The statements of several batches.

    Attributes:
        refusals: one entry per batch; NotSerializable for a batch without statements.
        draft: the numbers after the commit.
    """

    statements: Sequence[Statement]
    refusals: Sequence[NotSerializable | None]
    draft: NumbersDraft


def plan_group(
    cluster: str,
    batches: Sequence[Batch],
    numbers: Numbers,
    *,
    in_order: bool = False,
    single: Collection[int] = (),
) -> Group:
    """Return the statements that write the batches.

    Args:
        cluster: the cluster's name.
        batches: in the order in which they take effect.
        numbers: the numbers as of the last commit.
        in_order: do not merge statements of different batches, so that the first guard that does
            not hold belongs to the first stale batch.
        single: numbers of batches whose statements have one row each.
    """
    draft = NumbersDraft(numbers)
    refusals: list[NotSerializable | None] = []
    statements: list[Statement] = []
    operations: list[Operation] = []
    for batch_no, batch in enumerate(batches):
        try:
            planned = _plan_batch(batch_no, batch, draft)
        except NotSerializable as exc:
            refusals.append(exc)
            continue
        refusals.append(None)
        if in_order:
            lengths = (1,) if batch_no in single else SET_LENGTHS
            statements += _merge(cluster, planned, lengths)
        else:
            operations += planned
    statements += _merge(cluster, operations, SET_LENGTHS)
    if sequences := draft.advanced_sequences():
        text = render_query("advance_sequences", cluster, **sequences)
        statements.append(Statement((text,), len(sequences)))
    return Group(statements, refusals, draft)


def not_serializable(change: str, dag_id: int, error: str, reason: object) -> NotSerializable:
    """Return the error for a value that cannot be stored; it does not quote the value."""
    return NotSerializable(
        messages.NOT_SERIALIZABLE(change=change, dag_id=dag_id, error=error, reason=reason)
    )


def _plan_batch(batch_no: int, batch: Batch, draft: NumbersDraft) -> Sequence[Operation]:
    """Render everything first, then take numbers, so that a refused batch takes none."""
    name = "batch"
    try:
        rendered: list[Operation] = []
        if batch.lock_token is not None and not is_fenced_by_change(batch):
            rendered.append(_check_token(batch_no, batch))
        for change in batch.changes:
            name = type(change).__name__
            rendered += _render_change(Source(batch_no, change), change)
        name = "batch"
        events = [
            (dag_id, count, render_literal(at), render_literal(entries))
            for dag_id, count, at, entries in render_events(batch.changes)
        ]
    except _UNSTORABLE as exc:
        raise not_serializable(name, batch.dag_id, type(exc).__name__, exc) from exc
    for change in batch.changes:
        if isinstance(change, DagCreated):
            draft.add_dag(change)
        elif isinstance(change, SubTaskChanged):
            draft.add_sub_task(change.before.sub_task_id, change.before.dag_id)
    numbered = [_take_number(operation, batch, draft) for operation in rendered]
    columns = ("dag_id", "last_seq", "at", "entries")
    for dag_id, count, at, entries in events:
        values = (str(dag_id), str(draft.take_events(dag_id, count)), at, entries)
        numbered.append(Operation("insert_event", columns, values, Source(batch_no, None)))
    return numbered


def _check_token(batch_no: int, batch: Batch) -> Operation:
    columns = ("dag_id", "lock_token")
    values = render_values(columns, (batch.dag_id, batch.lock_token))
    source = Source(batch_no, None)
    return Operation("check_lock_token", columns, values, source, reads=[("dag", batch.dag_id)])


def _take_number(operation: Operation, batch: Batch, draft: NumbersDraft) -> Operation:
    """Add the columns whose values depend on earlier rows."""
    match operation.source.change:
        case LogAppended(line):
            dag_id = draft.dag_of(line.sub_task_id, batch.dag_id)
            numbers = {"log_id": draft.take_log_id(), "seq": draft.take_events(dag_id, 1)}
            numbers["dag_id"] = dag_id
        case AuditAppended():
            numbers = {"audit_id": draft.take_audit_id()}
        case _:
            return operation
    return operation._replace(
        columns=(*operation.columns, *numbers),
        values=(*operation.values, *map(str, numbers.values())),
    )


def _render_change(source: Source, change: Change) -> Iterator[Operation]:
    if isinstance(change, DagCreated):
        yield from _insert_dag(source, change)
    elif isinstance(change, RequestReserved):
        yield from _reserve_request(source, change)
    else:
        write = GUARDED[type(change)]
        values = render_values(write.columns, write.render(change))
        reads, writes = _RESOURCES[type(change)](change)
        yield Operation(write.query, write.columns, values, source, reads, writes)


def _insert_dag(source: Source, change: DagCreated) -> Iterator[Operation]:
    dag = change.dag
    values = render_values(DAG_COLUMNS, render_dag_row(dag))
    yield Operation("insert_dag", DAG_COLUMNS, values, source, writes=[("dag", dag.dag_id)])
    for node in change.nodes:
        values = render_values(NODE_COLUMNS, render_node_row(node))
        yield Operation("insert_node", NODE_COLUMNS, values, source, (), [("node", node.node_id)])
    for task in change.sub_tasks:
        values = render_values(SUB_TASK_COLUMNS, render_sub_task_row(task))
        writes = [("sub_task", task.sub_task_id)]
        yield Operation("insert_sub_task", SUB_TASK_COLUMNS, values, source, (), writes)


def _reserve_request(source: Source, change: RequestReserved) -> Iterator[Operation]:
    table: Resource = ("reserved_request", "")
    if change.delete_before is not None:
        values = render_values(("until_at",), (render_instant(change.delete_before),))
        yield Operation("drop_reserved", ("until_at",), values, source, writes=[table])
    columns = ("digest", "until_at")
    for digest, until in change.entries:
        values = render_values(columns, (digest, render_instant(until)))
        writes = [("reserved_request", digest)]
        yield Operation("insert_reserved", columns, values, source, [table], writes)


_Touched: TypeAlias = tuple[Collection[Resource], Collection[Resource]]


def _dag(change: DagChanged) -> _Touched:
    return (), [("dag", change.before.dag_id)]


def _node(change: NodeChanged) -> _Touched:
    return (), [("node", change.before.node_id)]


def _sub_task(change: SubTaskChanged) -> _Touched:
    return (), [("sub_task", change.before.sub_task_id)]


def _attempt(change: AttemptClosed) -> _Touched:
    return (), [("attempt", change.attempt.sub_task_id)]


def _line(change: LogAppended) -> _Touched:
    return [("sub_task", change.line.sub_task_id)], ()


def _lock(change: LockTaken | LockReleased) -> _Touched:
    return (), [("lock", change.lock.key if isinstance(change, LockTaken) else change.key)]


def _target(change: TargetUnconfirmed | TargetConfirmed) -> _Touched:
    return (), [("target", change.mark.target)]


def _key(change: IdempotencyKeyUsed) -> _Touched:
    return (), [("key", change.key.text)]


def _nothing(_change: AuditAppended) -> _Touched:
    return (), ()


_RESOURCES: dict[type[Change], Callable[..., _Touched]] = {
    DagChanged: _dag,
    NodeChanged: _node,
    SubTaskChanged: _sub_task,
    AttemptClosed: _attempt,
    LogAppended: _line,
    LockTaken: _lock,
    LockReleased: _lock,
    TargetUnconfirmed: _target,
    TargetConfirmed: _target,
    IdempotencyKeyUsed: _key,
    AuditAppended: _nothing,
}
"""The rows on which a change depends: those that it reads, and those that it writes."""


def _merge(
    cluster: str, operations: Sequence[Operation], lengths: Sequence[int]
) -> Iterator[Statement]:
    """Return the statements of operations, level by level."""
    sets: dict[tuple[int, str], list[Operation]] = {}
    for level, operation in zip(find_levels(operations), operations, strict=True):
        sets.setdefault((level, operation.query), []).append(operation)
    for (_, query), rows in sorted(sets.items(), key=lambda item: item[0][0]):
        for part in _split(rows, (1,) if query in _SINGLE else lengths):
            yield _render_set(cluster, query, part)


def find_levels(operations: Iterable[Operation]) -> Iterator[int]:
    """Return a level for each operation, above those of the operations on which it depends."""
    written: dict[Resource, int] = {}
    read: dict[Resource, int] = {}
    for operation in operations:
        level = 0
        for resource in (*operation.reads, *operation.writes):
            level = max(level, written.get(resource, -1) + 1)
        for resource in operation.writes:
            level = max(level, read.get(resource, -1) + 1)
        # Only now is the level of the operation known.
        written.update(dict.fromkeys(operation.writes, level))
        for resource in operation.reads:
            read[resource] = max(level, read.get(resource, -1))
        yield level


def _split(rows: Sequence[Operation], lengths: Sequence[int]) -> Iterator[Sequence[Operation]]:
    short = [row for row in rows if all(len(value) <= _LONG_LITERAL for value in row.values)]
    if len(short) < len(rows):
        is_short = {id(row) for row in short}
        for row in rows:
            if id(row) not in is_short:
                yield [row]
    at = 0
    while at < len(short):
        length = next(length for length in lengths if length <= len(short) - at)
        yield short[at : at + length]
        at += length


def _render_set(cluster: str, query: str, rows: Sequence[Operation]) -> Statement:
    table = render_rows(rows[0].columns, [row.values for row in rows])
    text = render_statement(QUERIES[query], {"cluster": render_literal(cluster), "rows": table})
    sources = [row.source for row in rows]
    expected = None if query in _UNGUARDED else len(rows)
    return Statement(text.split("; "), expected, query in _COUNTED, sources)
