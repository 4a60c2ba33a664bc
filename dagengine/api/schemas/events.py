"""Schemas of the events of a DAG; `render/sse.py` renders them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from dagengine.api.schemas.base import AgentDto, Count, TaskId, Time
from dagengine.model.states import Operator, State

Seq = Annotated[int, Field(ge=1, description="number of the event within the DAG")]


class _EventBase(TypedDict):
    """The fields that all events have."""

    seq: Seq
    time: Time
    id: TaskId
    name: str
    stage: Annotated[int, Field(ge=1, description="counts from 1")]


class DagEvent(_EventBase):
    """The DAG entered a state."""

    max_stage: Annotated[int, Field(ge=1)]
    state: State
    operator: Operator


class NodeEvent(_EventBase):
    """A node entered a state."""

    state: State
    operator: Operator


class SubTaskEvent(_EventBase):
    """A sub-task entered a state."""

    execute_agent: AgentDto
    state: State
    operator: Operator
    execute_times: Count
    attempt_no: Count


class LineEvent(_EventBase):
    """A sub-task logged a line."""

    execute_agent: AgentDto
    execute_times: Count
    attempt_no: Count
    log_content: str


class EndEvent(TypedDict):
    """Sent after the last event of a DAG; not an event, so it has no id."""

    seq: Annotated[int, Field(ge=1, description="number of the last event")]


EVENTS: Mapping[str, Any] = {
    "dag": DagEvent,
    "node": NodeEvent,
    "sub_task": SubTaskEvent,
    "line": LineEvent,
    "end": EndEvent,
}
"""The schemas, by the field `event` of the frame."""
