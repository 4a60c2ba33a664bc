"""States and operators, spelled as on the wire (protocol 5.1)."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a DAG, node or sub-task is."""

    PENDING = "PENDING"  # not reached yet (nodes and sub-tasks only)
    READY = "READY"  # accepted, nothing of it has run (DAGs only)
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    SUCCEED = "SUCCEED"

    @property
    def is_final(self) -> bool:
        """True when only an operator can change it."""
        return self in (State.FAILED, State.SUCCEED)


class Operator(StrEnum):
    """What a person asked of the DAG."""

    RUN = "RUN"
    RETRY = "RETRY"
    ROLLBACK = "ROLLBACK"
    CANCEL = "CANCEL"
    PASS = "PASS"  # noqa: S105


class Entity(StrEnum):
    """What a state belongs to."""

    DAG = "dag"
    NODE = "node"
    SUB_TASK = "sub-task"
