"""Declaration of an operation: its stages and their steps, and a request to run it.

The store keeps names, versions, flags and parameters, never code. An attempt looks up its
step by (operation name, stage number) in the registry of the running engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagengine.model.stage_kinds import Flags, StageKind
from dagengine.model.step import ConfirmStoppedFunction, StepFunction, UndoFunction


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
        confirm_stopped: called after a cancel or a time-out; returns True once nothing of the step
            is running any more. None: the end of the step in this process is sufficient.
        flags: the operators that the stage permits.
        timeout_s: maximum duration of one attempt, in seconds, more than 0.
        node_timeout_s: maximum time from the node's start to the end of its last attempt, in
            seconds; None: unlimited.
    """

    name: str
    kind: StageKind
    run: StepFunction
    confirm_stopped: ConfirmStoppedFunction | None = None
    flags: Flags = Flags()  # noqa: RUF009  # frozen
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
        lock_key: the lock that the stage `takes_lock` takes, or None.
        timeout_s: maximum time from the DAG's start (or retry) to the end of its last attempt,
            in seconds; None: unlimited.
        takes_lock: the name of the normal stage whose step calls `acquire_lock`; required with
            `lock_key`. A DAG that ends this stage without the lock is FAILED.
    """

    name: str
    stages: tuple[Stage, ...]
    version: int = 1
    lock_key: str | None = None
    timeout_s: float | None = None
    takes_lock: str | None = None


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
