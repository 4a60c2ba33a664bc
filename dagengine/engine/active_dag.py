"""A DAG that the scheduler works on, its messages, and the interface that attempts have to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar

from dagengine.engine import messages
from dagengine.engine.deadlines import StartTimes
from dagengine.errors import DagengineError
from dagengine.model.ids import OwnIds
from dagengine.model.outcome import Outcome, Problem
from dagengine.model.records import AuditRecord, LockRecord, LogRecord, UnconfirmedRecord
from dagengine.model.stage_kinds import Wait
from dagengine.model.states import Operator
from dagengine.model.step import LockResult
from dagengine.rules import waits
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


DagMessage: TypeAlias = (
    DagRecovered
    | AttemptsLost
    | AttemptEnded
    | LockRequested
    | ForcePassRequested
    | OperatorRequested
)


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """A result for a caller that waits for it, to send once the decision is durable."""

    future: asyncio.Future[T]
    result: T

    def send(self) -> None:
        """Send the result, unless the caller no longer waits for it."""
        if not self.future.done():
            self.future.set_result(self.result)


class Mailbox(Protocol):
    """The interface that running attempts have to the scheduler."""

    @property
    def is_running(self) -> bool:
        """False when the engine is stopping: attempts stay open in the store."""
        ...

    def post(self, dag_id: int, message: DagMessage) -> None:
        """Queue a message for a DAG. It is discarded if the DAG has ended."""
        ...

    async def append_log(self, dag_id: int, line: LogRecord) -> None:
        """Append a line to a sub-task's log; durable on return.

        Raises:
            StaleWrite: another attempt of the sub-task has become current.
        """
        ...

    def find_unconfirmed(self, target: str | None) -> UnconfirmedRecord | None:
        """Return the marker of a target, or None."""
        ...

    async def mark_confirmed(self, dag_id: int, marker: UnconfirmedRecord) -> None:
        """Clear a marker unless it was replaced; durable on return."""
        ...

    async def request_lock(self, dag_id: int, force_pass: Sequence[str]) -> LockResult:
        """Request a DAG's lock; see StepContext.acquire_lock."""
        ...

    def describe_holder(self, holder: LockRecord) -> str:
        """Describe the holder of a lock in one sentence: DAG, stage, waits, start of the hold."""
        ...


def refuse(message: DagMessage, exc: DagengineError) -> None:
    """Report an error to the caller that waits for this message."""
    if isinstance(message, LockRequested | OperatorRequested) and not message.reply.done():
        message.reply.set_exception(exc)


@dataclass(slots=True)
class ActiveDag:
    """A DAG that the scheduler works on.

    Attributes:
        snapshot: its in-memory state; read again when a write turns out to be stale.
        inbox: messages that have not been decided yet.
        begun_s: start times from which time limits are measured.
        reported_waits: what running steps wait for, by sub-task id and attempt number.
        last_decision_failed: the last decision could not be made or written.
    """

    snapshot: Snapshot
    inbox: list[DagMessage] = field(default_factory=list)
    begun_s: StartTimes = field(default_factory=dict)
    reported_waits: dict[tuple[int, int], Wait] = field(default_factory=dict)
    last_decision_failed: bool = False

    def explain_wait(self, sub_task_id: int) -> Wait | None:
        """Return what an unfinished sub-task waits for; None when it has ended or is unknown."""
        sub_task = self.snapshot.sub_tasks.get(sub_task_id)
        if sub_task is None:
            return None
        reported = self.reported_waits.get((sub_task_id, sub_task.attempt_no))
        return waits.explain_wait(self.snapshot, sub_task, reported)


def describe_holder(holder: LockRecord, active_dag: ActiveDag | None, ids: OwnIds) -> str:
    """Describe the holder of a lock in one sentence: DAG, stage, waits, start of the hold.

    Args:
        holder: a lock that is held.
        active_dag: the DAG that holds it; None when it is not active.
        ids: renders the DAG's id.
    """
    since = holder.since_at.astimezone().isoformat(timespec="seconds")
    fields = {"name": holder.reason, "dag_id": ids.render(holder.dag_id or 0), "since": since}
    if active_dag is None:
        return messages.HOLDER(**fields)
    snapshot = active_dag.snapshot
    dag, node = snapshot.dag, snapshot.nodes[snapshot.dag.stage]
    at_stage = {**fields, "stage": dag.stage, "stages": dag.max_stage, "stage_name": node.name}
    explained = [active_dag.explain_wait(task.sub_task_id) for task in snapshot.running]
    subjects = sorted({f"{wait.kind} {wait.on}" for wait in explained if wait is not None})
    if not subjects:
        return messages.HOLDER_AT_STAGE(**at_stage)
    return messages.HOLDER_WAITING(**at_stage, waits=", ".join(subjects[:3]))
