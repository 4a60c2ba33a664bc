"""What an author declares: an operation, its stages, their steps.

The store keeps names, versions, flags and parameters, never code: an attempt looks its
step up by (operation name, stage number) in the registry of the running engine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from dagengine.model.outcome import Json, Outcome

if TYPE_CHECKING:
    from dagengine.model.records import LockRecord, UnconfirmedRecord


class StageKind(StrEnum):
    """Normal: one sub-task for all. Parallel: one per target; neighbours form lanes."""

    NORMAL = "normal"
    PARALLEL = "parallel"


@dataclass(frozen=True, slots=True)
class Flags:
    """What may be done to a stage (protocol 5.2).

    Attributes:
        can_cancel: CANCEL may end it.
        can_continue: an interrupted attempt is run again; else it fails at restart.
        can_retry: RETRY may run it again.
        can_rollback: ROLLBACK may undo it.
        can_pass: PASS may call it done.
    """

    can_cancel: bool = True
    can_continue: bool = True
    can_retry: bool = True
    can_rollback: bool = False
    can_pass: bool = True


@dataclass(frozen=True, slots=True)
class Wait:
    """What an unfinished sub-task waits for: the answer to "why is it not moving?".

    Attributes:
        kind: what sort of thing, such as `lock`, `stage`, `ssh`, `sql`, `step`.
        on: which one.
        since_at: since when; aware UTC.
        last: what the last look at it gave.
        deadline_at: when the waiting ends all the same.
        next_at: when it is looked at again.
    """

    kind: str
    on: str
    since_at: datetime
    last: str = ""
    deadline_at: datetime | None = None
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LockResult:
    """The answer to a step that asked for its DAG's lock.

    Attributes:
        holder: who holds it; None when this DAG holds it now.
        broken: it was taken from a DAG that a force pass ended.
    """

    holder: LockRecord | None
    broken: bool = False


class StepContext(Protocol):
    """What a step may know and do while it runs."""

    @property
    def dag_id(self) -> int: ...

    @property
    def generic_id(self) -> str:
        """The DAG's id on the wire."""
        ...

    def id_of(self, dag_id: int) -> str:
        """Another DAG's id on the wire."""
        ...

    @property
    def params(self) -> Json:
        """The operation's parameters as submitted."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """All targets of the DAG, in submission order."""
        ...

    @property
    def survivors(self) -> tuple[str, ...]:
        """The targets whose lane has no failure so far, in submission order."""
        ...

    @property
    def target(self) -> str | None:
        """The target of this sub-task; None in a normal stage."""
        ...

    @property
    def attempt_no(self) -> int:
        """Counts every attempt of this sub-task from 1."""
        ...

    @property
    def resumed(self) -> bool:
        """True when the attempt before this one was interrupted: probe before acting."""
        ...

    @property
    def unproven(self) -> UnconfirmedRecord | None:
        """Set when a step was ended on this target without a proof: look before acting.

        Stays, also for later DAGs and over a restart, until `mark_proven`.
        """
        ...

    async def mark_proven(self) -> None:
        """Say that this step has looked and nothing that was ended runs on; then it is durable.

        It is said of the mark that `unproven` has shown last (before it is asked, the one at the
        attempt's beginning); one that was set since then stays.
        """
        ...

    def data_of(self, stage_name: str, target: str | None = None) -> Json | None:
        """What that stage returned for that target; None when it has not succeeded."""
        ...

    async def log(self, line: str) -> None:
        """Append one line to the sub-task's log; returns when it is durable."""
        ...

    def wait_for(
        self, kind: str, on: str, *, last: str = "", next_in_s: float | None = None
    ) -> None:
        """Say what this step waits for from now on. Not durable; costs nothing.

        Args:
            kind: see Wait.
            on: see Wait. Repeating kind and on keeps the instant since when.
            last: what the last look gave.
            next_in_s: seconds until the next look.
        """
        ...

    async def acquire_lock(self, force_pass: Sequence[str] = ()) -> LockResult:
        """Take the operation's lock for this DAG.

        Args:
            force_pass: generic ids. When one of them holds the lock, that DAG is cancelled and
                passed, and the lock comes here in the same commit; waits until then.
        """
        ...

    async def describe_holder(self, holder: LockRecord) -> str:
        """One sentence on who holds the lock: id, name, stage, since when."""
        ...


StepFunction: TypeAlias = Callable[[StepContext], Awaitable[Outcome]]
UndoFunction: TypeAlias = StepFunction
SettleFunction: TypeAlias = Callable[[StepContext], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of an operation.

    Attributes:
        name: shown everywhere; unique within the operation.
        kind: normal or parallel.
        run: the step. Must be idempotent: it asks for facts before it acts, because it is
            run again after an interruption. Raising is treated as Failed.
        undo: undoes, for a rollback, what the step did in this DAG; as idempotent as `run`.
            None: there is nothing to undo.
        settle: called after a cancel or time-out; True once nothing of the step runs on.
            None: ending the step here is proof enough.
        flags: what may be done to it.
        timeout_s: time for one attempt, in seconds, more than 0.
        node_timeout_s: time from the node's start to the end of its last attempt, in seconds;
            None: no such bound.
    """

    name: str
    kind: StageKind
    run: StepFunction
    settle: SettleFunction | None = None
    flags: Flags = Flags()
    timeout_s: float = 3600.0
    node_timeout_s: float | None = None
    undo: UndoFunction | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that the engine can run.

    Attributes:
        name: shown as the DAG's name; unique among registered operations.
        stages: at least one; runs of parallel stages form lanes.
        version: raised when stages change their meaning; a DAG of a newer version than
            the registered one is refused by name.
        lock_key: the lock its first stage takes, or None.
        timeout_s: time from the DAG's start (or retry) to the end of its last attempt, in
            seconds; None: no such bound.
    """

    name: str
    stages: tuple[Stage, ...]
    version: int = 1
    lock_key: str | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """By what a caller says that a submission is one that it made before.

    Attributes:
        text: chosen by the caller; makes one DAG, for as long as the DAG is kept.
        digest: of what was asked for; the same text with another digest is refused.
    """

    text: str
    digest: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A wish to run an operation.

    Attributes:
        operation: name of a registered operation.
        targets: one lane each; may be empty when no stage is parallel.
        params: JSON-able; names and choices only, no connection data, no secrets.
    """

    operation: str
    targets: tuple[str, ...] = ()
    params: Mapping[str, object] = field(default_factory=dict)
