"""Stored records, one frozen value per row, and the details that callers read.

Every step creates new values of three of the records. These three are named tuples, because
copying one with a change costs a third of copying a frozen dataclass (docs/decisions/0010).

Instants are aware UTC. `end_at` equals `start_at` until the DAG, node or sub-task has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from dagengine.model.outcome import Json
from dagengine.model.stage_kinds import Flags, StageKind, Wait
from dagengine.model.states import Operator, State

_KEPT_LINES = 2000  # maximum log lines of a DAG that may be cached


class DagRecord(NamedTuple):
    """One tracked run of an operation."""

    dag_id: int
    name: str  #: the operation's name
    version: int  #: the operation's version when it was submitted
    params: Json  #: names and the resolved scope; never connection data or secrets
    targets: tuple[str, ...]  #: one lane each
    stage: int  #: the first unfinished node; after the end, the node at which the DAG ended
    max_stage: int
    state: State
    operator: Operator
    lock_key: str | None  #: key of the lock that the DAG needs; None when it needs no lock
    lock_token: int  #: token of the lock that the DAG holds; 0 when it does not hold it
    last_lock_token: int  #: token of the lock that the DAG held last; 0 when it never held it
    lock_successor_id: (
        int | None
    )  #: lock successor: the DAG that gets the lock at the end of a force pass
    created_at: datetime
    start_at: datetime
    end_at: datetime


class NodeRecord(NamedTuple):
    """One stage of a DAG."""

    node_id: int
    dag_id: int
    stage: int  #: number of the stage, from 1
    name: str
    kind: StageKind
    flags: Flags
    state: State
    operator: Operator
    start_at: datetime
    end_at: datetime


class SubTaskRecord(NamedTuple):
    """The unit that executes, for one server or for the whole cluster."""

    sub_task_id: int
    node_id: int
    dag_id: int
    stage: int
    target: str | None  #: the lane of the sub-task; None in a normal node
    state: State
    operator: Operator
    attempt_no: int  #: number of attempts, including resumed ones
    execute_times: int  #: number of attempts, excluding resumed ones
    start_at: datetime
    end_at: datetime
    data: Json | None  #: for later stages
    evidence: Json | None  #: for users
    summary: str


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One execution of a sub-task. `outcome` is None while it runs; its row is written later."""

    sub_task_id: int
    attempt_no: int
    outcome: str | None  #: class name from dagengine.model.outcome
    error: str | None
    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line of a sub-task's log."""

    log_id: int
    sub_task_id: int
    attempt_no: int
    execute_times: int
    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LockRecord:
    """The exclusive right to change the cluster."""

    key: str
    dag_id: int | None  #: None when free
    token: int  #: fencing token; increases each time the lock is taken
    reason: str
    since_at: datetime


@dataclass(frozen=True, slots=True)
class UnconfirmedRecord:
    """The marker of an unconfirmed target: something of an ended step may still run on it.

    The marker is kept until a step has probed the target.
    """

    target: str
    dag_id: int  #: the DAG of the step
    stage: str  #: the name of the step's stage
    since_at: datetime


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An action of a user, or of a DAG on a user's behalf. Never changed or deleted."""

    audit_id: int
    at: datetime
    dag_id: int  #: 0 when the action concerned no DAG
    node_id: int | None  #: the node, when the action concerned one node only
    action: str
    """An operator, `START`, `FORCE_PASS`, `NEW_EPOCH`, `CLAIM`, `CREATE_TOKEN`, `REVOKE_TOKEN`."""
    by: str  #: the user and the origin of the request
    reason: str  #: as given by the user; may be empty


@dataclass(frozen=True, slots=True)
class SubTaskDetail:
    """A sub-task with the log lines of all its attempts, oldest first.

    Attributes:
        wait: why it does not progress, if it is unfinished and its DAG is active (rules.waits).
    """

    sub_task: SubTaskRecord
    node_name: str
    logs: tuple[LogRecord, ...]
    wait: Wait | None = None


@dataclass(frozen=True, slots=True)
class NodeDetail:
    """A node with its sub-tasks in creation order; empty when read without details."""

    node: NodeRecord
    sub_tasks: tuple[SubTaskDetail, ...]


@dataclass(frozen=True, slots=True)
class DagDetail:
    """A DAG with its nodes in stage order; `nodes` is None when read without details."""

    dag: DagRecord
    nodes: tuple[NodeDetail, ...] | None

    @property
    def is_cacheable(self) -> bool:
        """True when the detail may be cached for the next reader; its log may be too large."""
        lines = (len(task.logs) for node in self.nodes or () for task in node.sub_tasks)
        return sum(lines) <= _KEPT_LINES
