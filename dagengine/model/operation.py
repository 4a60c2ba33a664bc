"""Declaration of an operation: its stages, their steps, and the contract of a running step.

The store keeps names, versions, flags and parameters, never code. An attempt looks up its
step by (operation name, stage number) in the registry of the running engine.
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
    """How a stage is divided into sub-tasks.

    NORMAL has one sub-task for all targets. PARALLEL has one per target, and consecutive
    parallel stages form lanes.
    """

    NORMAL = "normal"
    PARALLEL = "parallel"


@dataclass(frozen=True, slots=True)
class Flags:
    """The operators that a stage permits (protocol 5.2).

    Attributes:
        can_cancel: CANCEL may end the stage.
        can_continue: an interrupted attempt is run again after a restart; if False, it fails.
        can_retry: RETRY may run the stage again.
        can_rollback: ROLLBACK may undo the stage.
        can_pass: PASS may mark the stage as done.
    """

    can_cancel: bool = True
    can_continue: bool = True
    can_retry: bool = True
    can_rollback: bool = False
    can_pass: bool = True


@dataclass(frozen=True, slots=True)
class Wait:
    """Reason why an unfinished sub-task does not progress: the thing that it waits for.

    Attributes:
        kind: category, such as `lock`, `stage`, `ssh`, `sql`, `step`.
        on: name of the thing, such as a stage or a holder of the lock.
        since_at: when the wait began; aware UTC.
        last: result of the last probe.
        deadline_at: when the wait ends at the latest.
        next_at: when the next probe is due.
    """

    kind: str
    on: str
    since_at: datetime
    last: str = ""
    deadline_at: datetime | None = None
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LockResult:
    """The result of a step's request for its DAG's lock.

    Attributes:
        holder: the lock with the DAG that holds it; None when this DAG now holds it.
        broken: True if the lock was taken from a DAG that a force pass ended.
    """

    holder: LockRecord | None
    was_forced: bool = False


class StepContext(Protocol):
    """The interface that a running step has to the engine."""

    @property
    def dag_id(self) -> int: ...

    @property
    def generic_id(self) -> str:
        """The DAG's id on the wire."""
        ...

    def id_of(self, dag_id: int) -> str:
        """Return another DAG's id on the wire."""
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
    def healthy_targets(self) -> tuple[str, ...]:
        """The targets whose lanes have not failed so far, in submission order."""
        ...

    @property
    def target(self) -> str | None:
        """The target of this sub-task; None in a normal stage."""
        ...

    @property
    def attempt_no(self) -> int:
        """The number of this attempt; all attempts of the sub-task count, from 1."""
        ...

    @property
    def resumed(self) -> bool:
        """True when the previous attempt was interrupted; the step must probe before it acts."""
        ...

    @property
    def unconfirmed(self) -> UnconfirmedRecord | None:
        """The marker of an unconfirmed target, or None.

        It is set when a step on this target was ended without confirmation that nothing of it
        still runs; the step must probe before it acts. The marker also applies to later DAGs
        and survives a restart. `mark_confirmed` clears it.
        """
        ...

    async def mark_confirmed(self) -> None:
        """Confirm that nothing of an ended step still runs on this target; durable on return.

        Clears the marker last returned by `unconfirmed` (or, if it was never read, the one present
        when the attempt started). A newer marker is kept.
        """
        ...

    def data_of(self, stage_name: str, target: str | None = None) -> Json | None:
        """Return a stage's data for a target; None when the sub-task has not succeeded."""
        ...

    async def log(self, line: str) -> None:
        """Append one line to the sub-task's log; the line is durable on return."""
        ...

    def wait_for(
        self, kind: str, on: str, *, last: str = "", next_in_s: float | None = None
    ) -> None:
        """Report what this step waits for from now on. The report is not stored, so it is cheap.

        Args:
            kind: see Wait.
            on: see Wait. Repeating the same kind and name keeps `since_at`.
            last: result of the last probe.
            next_in_s: seconds until the next probe.
        """
        ...

    async def acquire_lock(self, force_pass: Sequence[str] = ()) -> LockResult:
        """Take the operation's lock for this DAG.

        Args:
            force_pass: generic ids of DAGs. If one of them holds the lock, that DAG is cancelled
                and passed, and this DAG gets the lock in the same commit; the call waits for it.
        """
        ...

    async def describe_holder(self, holder: LockRecord) -> str:
        """Describe the holder of a lock in one sentence: name, id, stage, start of the hold."""
        ...


StepFunction: TypeAlias = Callable[[StepContext], Awaitable[Outcome]]
UndoFunction: TypeAlias = StepFunction
ConfirmStoppedFunction: TypeAlias = Callable[[StepContext], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of an operation.

    Attributes:
        name: shown to users everywhere; unique within the operation.
        kind: normal or parallel.
        run: the step. It must be idempotent: it probes before it acts, because it is run again
            after an interruption. An exception is treated as Failed.
        undo: reverts, for a rollback, what the step did in this DAG; as idempotent as `run`.
            None: the step leaves nothing to undo.
        settle: called after a cancel or a time-out; returns True once nothing of the step is
            running any more. None: the end of the step in this process is sufficient proof.
        flags: the operators that the stage permits.
        timeout_s: maximum duration of one attempt, in seconds, more than 0.
        node_timeout_s: maximum time from the node's start to the end of its last attempt, in
            seconds; None: unlimited.
    """

    name: str
    kind: StageKind
    run: StepFunction
    confirm_stopped: ConfirmStoppedFunction | None = None
    flags: Flags = Flags()
    timeout_s: float = 3600.0
    node_timeout_s: float | None = None
    undo: UndoFunction | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that the engine can run.

    Attributes:
        name: shown as the DAG's name; unique among registered operations.
        stages: at least one; consecutive parallel stages form lanes.
        version: increase it when stages change their meaning. A DAG of a newer version than the
            registered one is rejected with a message that names both versions.
        lock_key: the lock that the first stage takes, or None.
        timeout_s: maximum time from the DAG's start (or retry) to the end of its last attempt,
            in seconds; None: unlimited.
    """

    name: str
    stages: tuple[Stage, ...]
    version: int = 1
    lock_key: str | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller-chosen key that identifies a repeated submission.

    Attributes:
        text: chosen by the caller; creates only one DAG for as long as that DAG is kept.
        digest: digest of the request; the same text with another digest is rejected.
    """

    text: str
    digest: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to run an operation.

    Attributes:
        operation: name of a registered operation.
        targets: one lane each; may be empty when the operation has no parallel stage.
        params: JSON-serializable names and choices; no connection data, no secrets.
    """

    operation: str
    targets: tuple[str, ...] = ()
    params: Mapping[str, object] = field(default_factory=dict)
