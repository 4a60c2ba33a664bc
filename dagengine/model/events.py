"""The events of a DAG in order: the states that its parts entered, and its log lines.

Events are numbered per DAG from 1 without a gap, in the order in which they became durable.
The numbers are stored, so they are the same after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from dagengine.model.records import LogRecord
from dagengine.model.states import Operator, State


@dataclass(frozen=True, slots=True)
class DagStateChanged:
    """The DAG's state, operator and stage after at least one of them changed."""

    stage: int
    state: State
    operator: Operator
    at: datetime


@dataclass(frozen=True, slots=True)
class NodeStateChanged:
    """A node's state and operator after at least one of them changed."""

    node_id: int
    state: State
    operator: Operator
    at: datetime


@dataclass(frozen=True, slots=True)
class SubTaskStateChanged:
    """A sub-task's state, operator and attempt after at least one of them changed."""

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
        seq: number within the DAG, from 1.
        payload: the state that was entered, or the log line.
    """

    seq: int
    payload: EventPayload
