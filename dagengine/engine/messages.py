"""The messages that the scheduler decides, and the interface that attempts have to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from dagengine.errors import DagengineError
from dagengine.model.outcome import Outcome, Problem
from dagengine.model.records import AuditRecord, LockRecord, LogRecord, UnconfirmedRecord
from dagengine.model.states import Operator
from dagengine.model.step import LockResult

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


Message: TypeAlias = (
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

    def post(self, dag_id: int, message: Message) -> None:
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


def refuse(message: Message, exc: DagengineError) -> None:
    """Report an error to the caller that waits for this message."""
    if isinstance(message, LockRequested | OperatorRequested) and not message.reply.done():
        message.reply.set_exception(exc)
