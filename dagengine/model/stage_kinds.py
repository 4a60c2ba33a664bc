"""Values that stored records contain: kind and flags of a stage, and the wait of a sub-task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
