"""The scheduler's events, and the DAGs that it works on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from dagengine.engine.deadlines import StartTimes
from dagengine.errors import DagengineError
from dagengine.model.outcome import Outcome, Problem
from dagengine.model.records import AuditRecord
from dagengine.model.states import Operator
from dagengine.model.step import LockResult
from dagengine.rules.snapshot import Snapshot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DagRecovered:
    """A DAG was unfinished at start-up; `refusal` is the reason why it cannot continue, if any."""

    refusal: Problem | None


@dataclass(frozen=True, slots=True)
class AttemptsLost:
    """Sub-tasks are RUNNING in the store, but no attempt of them runs in this process."""

    sub_task_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt has an outcome."""

    sub_task_id: int
    attempt_no: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class LockRequested:
    """A step requests its DAG's lock.

    Attributes:
        reply: receives the result for the step.
        force_pass_ids: the DAGs from which the lock may be taken by a force pass.
        by: the user who requested the force pass; for the audit.
    """

    reply: asyncio.Future[LockResult]
    force_pass_ids: frozenset[int] = frozenset()
    by: str = ""


@dataclass(frozen=True, slots=True)
class ForcePassRequested:
    """A force pass of a DAG: end it and give its lock to its successor, whose step waits for it."""

    successor_id: int
    audit: AuditRecord


@dataclass(frozen=True, slots=True)
class OperatorRequested:
    """A user applied an operator to the DAG or, with a stage, to one of its nodes."""

    operator: Operator
    reply: asyncio.Future[None]
    audit: AuditRecord
    stage: int | None = None


SchedulerEvent: TypeAlias = (
    DagRecovered
    | AttemptsLost
    | AttemptEnded
    | LockRequested
    | ForcePassRequested
    | OperatorRequested
)


@dataclass(slots=True)
class ActiveDag:
    """A DAG that the scheduler works on.

    Attributes:
        snapshot: its in-memory state; read again when a write turns out to be stale.
        inbox: events that have not been decided yet.
        begun_s: start times from which time limits are measured.
        last_decision_failed: the last decision could not be made or written.
    """

    snapshot: Snapshot
    inbox: list[SchedulerEvent] = field(default_factory=list)
    begun_s: StartTimes = field(default_factory=dict)
    last_decision_failed: bool = False


def resolve(reply: asyncio.Future[T], value: T) -> None:
    """Send a reply, unless the caller no longer waits for it."""
    if not reply.done():
        reply.set_result(value)


def refuse(event: SchedulerEvent, exc: DagengineError) -> None:
    """Report an error to the caller that waits for this event."""
    if isinstance(event, LockRequested | OperatorRequested) and not event.reply.done():
        event.reply.set_exception(exc)
