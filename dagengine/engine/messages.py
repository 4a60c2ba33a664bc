"""What the scheduler is told, and the DAGs that it works on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from dagengine.engine.deadlines import StartTimes
from dagengine.errors import DagengineError
from dagengine.model.operation import LockResult
from dagengine.model.outcome import Outcome, Problem
from dagengine.model.records import AuditRecord
from dagengine.model.states import Operator
from dagengine.rules.snapshot import Snapshot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DagRecovered:
    """A DAG was found unfinished at start-up; `refusal` says why it cannot go on here."""

    refusal: Problem | None


@dataclass(frozen=True, slots=True)
class AttemptsLost:
    """The store calls these sub-tasks RUNNING, and nobody runs them."""

    sub_task_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt has an outcome."""

    sub_task_id: int
    attempt_no: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class LockRequested:
    """A step asks for its DAG's lock, which may be broken when one of these DAGs holds it.

    Attributes:
        reply: for the step.
        force_pass_ids: whose lock may be broken.
        by: who wants it to be; for the audit.
    """

    reply: asyncio.Future[LockResult]
    force_pass_ids: frozenset[int] = frozenset()
    by: str = ""


@dataclass(frozen=True, slots=True)
class ForcePassRequested:
    """A force pass: end this DAG and give its lock to that one, whose step waits for it."""

    heir_id: int
    audit: AuditRecord


@dataclass(frozen=True, slots=True)
class OperatorRequested:
    """A person asked something of the DAG, or (with a stage) of a node of it."""

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
        snapshot: how it is; read anew when the store knows better.
        inbox: what has not been decided yet.
        begun_s: when what is bounded began.
        last_decision_failed: the last decision could not be made or written.
    """

    snapshot: Snapshot
    inbox: list[SchedulerEvent] = field(default_factory=list)
    begun_s: StartTimes = field(default_factory=dict)
    last_decision_failed: bool = False


def resolve(reply: asyncio.Future[T], value: T) -> None:
    """Answer, unless the one who asked is gone."""
    if not reply.done():
        reply.set_result(value)


def refuse(event: SchedulerEvent, exc: DagengineError) -> None:
    """Tell whoever waits for this event that it did not happen."""
    if isinstance(event, LockRequested | OperatorRequested) and not event.reply.done():
        event.reply.set_exception(exc)
