"""The contract between the engine and a running step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dagengine.model.fencing import FencingToken
from dagengine.model.outcome import Json, Outcome
from dagengine.model.records import LockRecord, UnconfirmedRecord


@dataclass(frozen=True, slots=True)
class LockResult:
    """The result of a step's request for its DAG's lock.

    Attributes:
        holder: the lock with the DAG that holds it; None when this DAG now holds it.
        was_forced: True if the lock was taken from a DAG that a force pass ended.
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
    def fencing_token(self) -> FencingToken:
        """The token by which other systems recognise commands of a DAG that another one replaced.

        Its lock token is that of the lock which the DAG holds now, 0 for none.
        """
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
