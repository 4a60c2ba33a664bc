"""States and operators, spelled as on the wire (protocol 5.1)."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The state of a DAG, node or sub-task."""

    PENDING = "PENDING"  # not reached yet (nodes and sub-tasks only)
    READY = "READY"  # accepted, but not started (DAGs only)
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    SUCCEED = "SUCCEED"

    @property
    def is_final(self) -> bool:
        """True when only an operator can change the state."""
        return self is State.FAILED or self is State.SUCCEED


class Operator(StrEnum):
    """The command that a user applied to the DAG."""

    RUN = "RUN"
    RETRY = "RETRY"
    ROLLBACK = "ROLLBACK"
    CANCEL = "CANCEL"
    PASS = "PASS"  # noqa: S105


class Entity(StrEnum):
    """The kind of thing that has a state."""

    DAG = "dag"
    NODE = "node"
    SUB_TASK = "sub-task"
