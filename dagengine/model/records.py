"""What is stored, one frozen value per row, and the details that callers read.

The three records that every step makes anew are named tuples, because those are copied with a
change at a third of a frozen dataclass's cost (docs/decisions/0010).

Instants are aware UTC. `end_at` equals `start_at` until the thing has finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from dagengine.model.operation import Flags, StageKind, Wait
from dagengine.model.outcome import Json
from dagengine.model.states import Operator, State

_KEPT_LINES = 2000  # of one DAG


class DagRecord(NamedTuple):
    """One tracked run of an operation."""

    dag_id: int
    name: str  #: the operation's name
    version: int  #: the operation's version when it was submitted
    params: Json  #: names and the resolved scope; never connection data or secrets
    targets: tuple[str, ...]  #: one lane each
    stage: int  #: first unfinished node while running; where it ended afterwards
    max_stage: int
    state: State
    operator: Operator
    lock_key: str | None  #: which lock it needs, None for none
    fence: int  #: token of the lock it holds; 0 when it holds none
    held: int  #: token of the lock it held last; 0 when it never held one
    heir: int | None  #: the DAG that gets its lock when it ends, by a force pass
    created_at: datetime
    start_at: datetime
    end_at: datetime


class NodeRecord(NamedTuple):
    """One stage of a DAG."""

    node_id: int
    dag_id: int
    stage: int  #: counts from 1
    name: str
    kind: StageKind
    flags: Flags
    state: State
    operator: Operator
    start_at: datetime
    end_at: datetime


class SubTaskRecord(NamedTuple):
    """What executes: one server, or the whole cluster."""

    sub_task_id: int
    node_id: int
    dag_id: int
    stage: int
    target: str | None  #: the lane it belongs to; None in a normal node
    state: State
    operator: Operator
    attempt_no: int  #: every attempt counts
    execute_times: int  #: attempts that were not merely resumed
    start_at: datetime
    end_at: datetime
    data: Json | None  #: what later stages read
    evidence: Json | None  #: what a person reads
    summary: str


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One execution of a sub-task. `outcome` is None while it runs (then it has no row yet)."""

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
    token: int  #: grows with every taking; fences the store
    reason: str
    since_at: datetime


@dataclass(frozen=True, slots=True)
class UnconfirmedRecord:
    """A target on which something of an ended step may still run. Stays until a step has looked."""

    target: str
    dag_id: int  #: whose step
    stage: str  #: its name
    since_at: datetime


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What a person, or a DAG in a person's name, did to a DAG. Never changed, never deleted."""

    audit_id: int
    at: datetime
    dag_id: int
    node_id: int | None  #: when it was done to one node
    action: str  #: an operator, `START`, or `FORCE_PASS`
    by: str  #: who, from where
    reason: str  #: as given; may be empty


@dataclass(frozen=True, slots=True)
class SubTaskDetail:
    """A sub-task with the log lines of all its attempts, oldest first.

    Attributes:
        wait: what it waits for, when it is unfinished and its DAG is live (see rules.waits).
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
    def is_keepable(self) -> bool:
        """True when it may be kept in memory for the next reader: some MB of lines may not."""
        lines = (len(task.logs) for node in self.nodes or () for task in node.sub_tasks)
        return sum(lines) <= _KEPT_LINES
