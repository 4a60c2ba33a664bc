"""What happened to a DAG, in order: the states that its parts entered, and its log lines.

The events of a DAG are numbered from 1 without a gap, in the order in which they became
durable; the numbers are stored, so they are the same after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from dagengine.model.records import LogRecord
from dagengine.model.states import Operator, State


@dataclass(frozen=True, slots=True)
class DagStateChanged:
    """The DAG's state, operator or stage became this."""

    stage: int
    state: State
    operator: Operator
    at: datetime


@dataclass(frozen=True, slots=True)
class NodeStateChanged:
    """A node's state or operator became this."""

    node_id: int
    state: State
    operator: Operator
    at: datetime


@dataclass(frozen=True, slots=True)
class SubTaskStateChanged:
    """A sub-task's state, operator or attempt became this."""

    sub_task_id: int
    state: State
    operator: Operator
    attempt_no: int
    execute_times: int
    at: datetime


EventPayload: TypeAlias = DagStateChanged | NodeStateChanged | SubTaskStateChanged | LogRecord


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event of a DAG.

    Attributes:
        seq: its number within the DAG, from 1.
        what: a state that was entered, or a log line.
    """

    seq: int
    what: EventPayload
