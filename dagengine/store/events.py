"""The events of DAGs: one row per batch for state changes, separate rows for log lines.

A row of table event holds the states that a DAG and its parts entered in one batch, one entry per
line, and the number of the last entry (docs/decisions/0005).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from operator import attrgetter

from dagengine.model.changes import (
    AuditAppended,
    Change,
    DagChanged,
    DagCreated,
    NodeChanged,
    SubTaskChanged,
)
from dagengine.model.events import (
    DagStateChanged,
    EventPayload,
    EventRecord,
    NodeStateChanged,
    SubTaskStateChanged,
)
from dagengine.model.records import DagRecord, NodeRecord, SubTaskRecord
from dagengine.model.states import Operator, State
from dagengine.store.rows import StoredRow, parse_instant, parse_log, render_instant

_KINDS: dict[str, Callable[..., EventPayload]] = {
    "dag": DagStateChanged,
    "node": NodeStateChanged,
    "sub_task": SubTaskStateChanged,
}
_seq = attrgetter("seq")
_PART_CHANGES = (SubTaskChanged, NodeChanged)  # a union in isinstance would be built each time
_DAG_CHANGES = (DagChanged, DagCreated)


def render_events(changes: Iterable[Change]) -> Iterator[tuple[int, int, int, str]]:
    """Return a batch's rows of table event: (DAG, number of entries, instant, entries).

    Entries are in the order of the changes, except that the end of a DAG comes last: a subscriber
    that has received it has received all events of the DAG.
    """
    entries: dict[int, list[str]] = {}
    ends: list[tuple[int, str]] = []
    instants: list[datetime] = []
    for change in changes:  # isinstance is faster than match; this runs for every step
        if isinstance(change, _PART_CHANGES):
            after = change.after
            instants.append(after.end_at)
            entries.setdefault(after.dag_id, []).append(_render_part(after))
        elif isinstance(change, _DAG_CHANGES):
            dag = change.dag if isinstance(change, DagCreated) else change.after
            instants.append(dag.end_at)
            entry = f"dag {dag.stage} {dag.state} {dag.operator}"
            if dag.state.is_final:
                ends.append((dag.dag_id, entry))
            elif isinstance(change, DagCreated) or not _is_same(change.before, dag):
                entries.setdefault(dag.dag_id, []).append(entry)
        elif isinstance(change, AuditAppended):
            instants.append(change.row.at)
    for dag_id, entry in ends:
        entries.setdefault(dag_id, []).append(entry)
    at = render_instant(max(instants)) if entries else 0
    return (
        (dag_id, len(dag_entries), at, "\n".join(dag_entries))
        for dag_id, dag_entries in entries.items()
    )


def merge_events(
    rows: Iterable[StoredRow], lines: Iterable[StoredRow], *, after: int, limit: int
) -> tuple[EventRecord, ...]:
    """Return at most `limit` events after number `after`, up to the first missing number.

    Args:
        rows: rows of table event, in order.
        lines: rows of table log, in order; read after `rows`, so they may include newer ones.
        after: the number before the first requested event.
        limit: at least 1.
    """
    events = [event for row in rows for event in _parse_row(row) if event.seq > after]
    events += [EventRecord(line["seq"], parse_log(line)) for line in lines]
    events.sort(key=_seq)
    dense = [event for number, event in enumerate(events, after + 1) if event.seq == number]
    return tuple(dense[:limit])


def _render_part(part: NodeRecord | SubTaskRecord) -> str:
    if isinstance(part, NodeRecord):
        return f"node {part.node_id} {part.state} {part.operator}"
    state = f"sub_task {part.sub_task_id} {part.state} {part.operator}"
    return f"{state} {part.attempt_no} {part.execute_times}"


def _is_same(before: DagRecord, after: DagRecord) -> bool:
    """True if nothing changed that a subscriber can see."""
    return (before.stage, before.state, before.operator) == (
        after.stage,
        after.state,
        after.operator,
    )


def _parse_row(row: StoredRow) -> Iterator[EventRecord]:
    entries, at = row["entries"].split("\n"), parse_instant(row["at"])
    first = row["last_seq"] - len(entries) + 1
    return (EventRecord(seq, _parse_entry(entry, at)) for seq, entry in enumerate(entries, first))


def _parse_entry(entry: str, at: datetime) -> EventPayload:
    kind, number, state, operator, *counts = entry.split(" ")
    return _KINDS[kind](int(number), State(state), Operator(operator), *map(int, counts), at)


def list_event_dags(changes: Iterable[Change]) -> set[int]:
    """Return the DAGs to which the events of these changes belong; log lines are not counted."""
    dag_ids: set[int] = set()
    for change in changes:
        if isinstance(change, SubTaskChanged | NodeChanged | DagChanged):
            after: SubTaskRecord | NodeRecord | DagRecord = change.after
            dag_ids.add(after.dag_id)
    return dag_ids
