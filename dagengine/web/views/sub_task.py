"""The pane of the selected sub-task: state, waits, attempts, evidence, log lines. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dagengine.model.records import AttemptRecord, LogRecord, NodeRecord, SubTaskRecord
from dagengine.model.stage_kinds import Wait
from dagengine.web import messages
from dagengine.web.texts import Texts
from dagengine.web.times import Instant, make_instant, render_duration, render_exact
from dagengine.web.views.badges import Badge, badge_of_outcome, badge_of_state

_SHOWN_LINES = 500


@dataclass(frozen=True, slots=True)
class Fact:
    """A named value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class EvidenceTable:
    """A list of objects in the evidence, such as the results of checks.

    Attributes:
        name: its key.
        columns: the keys of the objects.
        rows: the values of each object, in the order of the columns.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt in the list of attempts."""

    number: int
    href: str
    current: str
    badge: Badge
    start: Instant
    duration: str
    error: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """One log line with the number of its attempt."""

    at: str
    attempt: str
    text: str


@dataclass(frozen=True, slots=True)
class Pane:
    """The view model of the pane.

    Attributes:
        title: stage and server.
        badge: state of the sub-task.
        attempt: `attempt n of m`.
        wait: what it waits for, as named values; empty if it does not wait.
        error: why the selected attempt failed; empty if it did not.
        summary: the result in one sentence; may be empty.
        attempts: all attempts, oldest first.
        facts: the plain values of the evidence.
        tables: the lists of the evidence.
        lines: the newest log lines of all attempts, oldest first.
        omitted: sentence about older lines; empty if all are shown.
        log_href: the complete log as a file.
    """

    title: str
    badge: Badge
    attempt: str
    wait: tuple[Fact, ...]
    error: str
    summary: str
    attempts: tuple[AttemptRow, ...]
    facts: tuple[Fact, ...]
    tables: tuple[EvidenceTable, ...]
    lines: tuple[LogLine, ...]
    omitted: str
    log_href: str


@dataclass(frozen=True, slots=True)
class PaneRecords:
    """The records behind a pane.

    Attributes:
        task: the sub-task.
        node: its stage.
        attempts: its attempts, oldest first.
        attempt_no: number of the selected attempt.
        lines: its log lines of all attempts, oldest first.
        wait: what it waits for; None if it does not wait.
        log_href: path of the log as a file.
        now: the instant of the page.
    """

    task: SubTaskRecord
    node: NodeRecord
    attempts: Sequence[AttemptRecord]
    attempt_no: int
    lines: Sequence[LogRecord]
    wait: Wait | None
    log_href: str
    now: datetime


def view_pane(records: PaneRecords, texts: Texts) -> Pane:
    """Return the pane of a sub-task."""
    task = records.task
    server = task.target or texts(messages.WHOLE_CLUSTER())
    selected = [a for a in records.attempts if a.attempt_no == records.attempt_no]
    facts, tables = view_evidence(task.evidence or {})
    omitted = len(records.lines) - _SHOWN_LINES
    return Pane(
        title=texts(messages.STAGE_ON_SERVER(stage=texts(records.node.name), server=server)),
        badge=_badge_of(records, texts),
        attempt=texts(
            messages.ATTEMPT_OF(number=records.attempt_no, count=len(records.attempts))
            if records.attempts
            else messages.NOT_RUN_YET()
        ),
        wait=_view_wait(records, texts),
        error=next((a.error for a in selected if a.error), ""),
        summary=task.summary,
        attempts=tuple(_view_attempt(attempt, records, texts) for attempt in records.attempts),
        facts=facts,
        tables=tables,
        lines=tuple(map(_view_line, records.lines[-_SHOWN_LINES:])),
        omitted=texts(messages.LINES_OMITTED(count=omitted)) if omitted > 0 else "",
        log_href=records.log_href,
    )


def _view_wait(records: PaneRecords, texts: Texts) -> tuple[Fact, ...]:
    """Return the wait, unless the sub-task only does its own work."""
    wait = records.wait
    is_work = wait is None or (not is_waiting(wait) and not wait.last and not wait.deadline_at)
    return () if wait is None or is_work else view_wait(wait, records.now, texts)


def _badge_of(records: PaneRecords, texts: Texts) -> Badge:
    task = records.task
    if is_waiting(records.wait) and not task.state.is_final:
        return badge_of_outcome(None, is_waiting=True, texts=texts)
    return badge_of_state(task.state, task.operator, texts)


def is_waiting(wait: Wait | None) -> bool:
    """Return whether a wait is one for something else, and not the sub-task's own step."""
    return wait is not None and wait.kind != "step"


def view_wait(wait: Wait, now: datetime, texts: Texts) -> tuple[Fact, ...]:
    """Return what a sub-task waits for, since when and until when, and its probes."""
    since = texts(
        messages.SINCE(
            at=render_exact(wait.since_at), ago=render_duration(now - wait.since_at, texts)
        )
    )
    facts = [
        (messages.WAITS_FOR, f"{texts(wait.on)} ({wait.kind})"),
        (messages.WAITS_SINCE, since),
    ]
    if wait.deadline_at is not None:
        facts.append((messages.WAITS_UNTIL, render_exact(wait.deadline_at)))
    if wait.last:
        facts.append((messages.LAST_PROBE, texts(wait.last)))
    if wait.next_at is not None:
        facts.append((messages.NEXT_PROBE, render_exact(wait.next_at)))
    return tuple(Fact(texts(name()), value) for name, value in facts)


def _view_attempt(attempt: AttemptRecord, records: PaneRecords, texts: Texts) -> AttemptRow:
    is_over = attempt.outcome is not None
    end_at = attempt.end_at if is_over else max(records.now, attempt.start_at)
    return AttemptRow(
        attempt.attempt_no,
        f"?task={attempt.sub_task_id}&attempt={attempt.attempt_no}#pane",
        "true" if attempt.attempt_no == records.attempt_no else "false",
        badge_of_outcome(attempt.outcome, is_waiting=is_waiting(records.wait), texts=texts),
        make_instant(attempt.start_at, records.now, texts),
        render_duration(end_at - attempt.start_at, texts),
        attempt.error or "",
    )


def _view_line(line: LogRecord) -> LogLine:
    return LogLine(f"{line.created_at.astimezone():%H:%M:%S}", str(line.attempt_no), line.content)


def view_evidence(
    evidence: Mapping[str, object],
) -> tuple[tuple[Fact, ...], tuple[EvidenceTable, ...]]:
    """Return the plain values of the evidence, and its lists of objects as tables."""
    facts, tables = [], []
    for name, value in evidence.items():
        objects = _objects_in(value)
        if objects:
            tables.append(_view_table(str(name), objects))
        else:
            facts.append(Fact(str(name), _render_value(value)))
    return tuple(facts), tuple(tables)


def _objects_in(value: object) -> list[Mapping[str, object]]:
    """Return the objects of a list that contains nothing else; empty for any other value."""
    if not isinstance(value, list | tuple):
        return []
    objects = [item for item in value if isinstance(item, Mapping)]
    return objects if len(objects) == len(value) else []


def _view_table(name: str, objects: Sequence[Mapping[str, object]]) -> EvidenceTable:
    columns = tuple(dict.fromkeys(str(key) for item in objects for key in item))
    rows = tuple(tuple(_render_value(item.get(key, "")) for key in columns) for item in objects)
    return EvidenceTable(name, columns, rows)


def _render_value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
