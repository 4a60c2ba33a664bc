"""Schemas of all responses (protocol 1.1, 2.1, 4).

A TypedDict is a plain dict at runtime, so it adds no cost to a response. mypy checks the renderers
against these types, and the OpenAPI document is generated from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from dagengine.model.states import Operator, State

_T = TypeVar("_T")

_AT = "2024-01-10T11:24:44.513664+08:00"
_ID = "201684300810288613"

Time = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time", "examples": [_AT]}),
]
TaskId = Annotated[
    str,
    WithJsonSchema({"type": "string", "pattern": "^[1-5][0-9]+$", "examples": [_ID]}),
]
Count = Annotated[int, Field(ge=0)]
Identity = Literal["CLUSTER AGENT"]
SeenAt = Annotated[
    Time,
    Field(description="when the servers were last looked at; left out before the first look"),
]
SeenAge = Annotated[int, Field(ge=0, description="how long ago that was, in milliseconds")]


# --- the envelope ------------------------------------------------------------------------------


class Envelope(TypedDict):
    """Around every answer."""

    successful: bool
    timestamp: Annotated[Time, Field(description="when the answer was ready")]
    duration: Annotated[int, Field(ge=0, description="milliseconds")]
    status: Annotated[int, Field(description="the HTTP status")]
    traceId: Annotated[
        str,
        Field(description="X-OBSHELL-Trace-ID of the request, else 16 hex digits; may be empty"),
    ]


class ErrorDto(TypedDict):
    """Why it was refused, and what to do next."""

    code: NotRequired[Annotated[int, Field(description="1 or 10008; left out when 0")]]
    errCode: str
    message: str


class Contents(TypedDict, Generic[_T]):
    """A list."""

    contents: list[_T]


# --- the controller ----------------------------------------------------------------------------


@with_config(ConfigDict(json_schema_extra={"examples": [{"ip": "10.10.10.1", "port": 2886}]}))
class AgentDto(TypedDict):
    """Where an agent, or a server, is known to be."""

    ip: str
    port: int


class SecretDto(TypedDict):
    """The key that headers are encrypted for."""

    ip: str
    port: int
    public_key: Annotated[str, Field(description="base64 of the PKCS#1 DER public key")]


class BuildDto(TypedDict):
    """Which build this is; empty texts when it is not known."""

    branch: str
    commitId: str
    shortCommitId: str
    commitTime: str


class InfoDto(TypedDict):
    """Who the controller is."""

    pid: int
    state: Annotated[int, Field(description="1 starting, 2 running, 3 stopping, 4 stopped")]
    startAt: Annotated[int, Field(description="nanoseconds since the epoch")]
    homePath: str
    obVersion: Annotated[str, Field(description="as last seen; empty before")]
    architecture: str
    ip: str
    port: int
    zone: str
    identity: Identity
    version: str
    isObproxyAgent: bool
    security: Annotated[bool, Field(description="an agent password is set")]
    supportedAuth: list[Literal["v2"]]
    observedAt: NotRequired[SeenAt]
    observedAgeMs: NotRequired[SeenAge]


class StatusAgentDto(TypedDict):
    """The controller in its status."""

    ip: str
    port: int
    identity: Identity


class StatusDto(TypedDict):
    """The controller's state, and the servers' as last known."""

    agent: StatusAgentDto
    state: Annotated[int, Field(description="1 starting, 2 running, 3 stopping, 4 stopped")]
    version: str
    pid: int
    startAt: Annotated[int, Field(description="nanoseconds since the epoch")]
    port: int
    obState: Annotated[
        int,
        Field(ge=0, le=3, description="0 not running, 1 not connected, 2 restricted, 3 available"),
    ]
    sqlPort: NotRequired[int]
    underMaintenance: Annotated[bool, Field(description="a task holds the cluster locked")]
    observedAt: NotRequired[SeenAt]
    observedAgeMs: NotRequired[SeenAge]


# --- tasks -------------------------------------------------------------------------------------

_TASK: JsonDict = {
    "id": "201684300810288617",
    "task_id": 7,
    "name": "Start observers",
    "state": "SUCCEED",
    "operator": "RUN",
    "start_time": _AT,
    "end_time": "2024-01-10T11:24:45.1+08:00",
    "additional_data": None,
    "execute_times": 1,
    "execute_agent": {"ip": "10.10.10.1", "port": 2886},
    "task_logs": ["10.10.10.1:2886: started, pid 4711"],
}
_NODE: JsonDict = {
    "id": "201684300810288615",
    "node_id": 5,
    "name": "Start observers",
    "state": "SUCCEED",
    "operator": "RUN",
    "start_time": _AT,
    "end_time": "2024-01-10T11:24:45.1+08:00",
    "additional_data": None,
    "sub_tasks": [_TASK],
}
_DAG: JsonDict = {
    "id": _ID,
    "dag_id": 3,
    "name": "Start OB",
    "stage": 1,
    "max_stage": 6,
    "maintenance_type": 1,
    "maintenance_key": "",
    "state": "READY",
    "operator": "RUN",
    "start_time": _AT,
    "end_time": _AT,
    "additional_data": None,
    "nodes": None,
}


@with_config(ConfigDict(json_schema_extra={"examples": [_TASK]}))
class TaskDetailDTO(TypedDict):
    """A sub-task: one server, or the whole cluster."""

    id: TaskId
    task_id: int
    name: str
    state: State
    operator: Operator
    start_time: Time
    end_time: Annotated[Time, Field(description="start_time until it has ended")]
    additional_data: dict[str, Any] | None
    execute_times: Count
    execute_agent: AgentDto
    task_logs: Annotated[
        list[str] | None, Field(description="lines of all attempts; null before it runs")
    ]


@with_config(ConfigDict(json_schema_extra={"examples": [_NODE]}))
class NodeDetailDTO(TypedDict):
    """One stage of a DAG."""

    id: TaskId
    node_id: int
    name: str
    state: State
    operator: Operator
    start_time: Time
    end_time: Annotated[Time, Field(description="start_time until it has ended")]
    additional_data: dict[str, Any] | None
    sub_tasks: list[TaskDetailDTO] | None


@with_config(ConfigDict(json_schema_extra={"examples": [_DAG]}))
class DagDetailDTO(TypedDict):
    """A task: one run of an operation."""

    id: TaskId
    dag_id: int
    name: str
    stage: Annotated[int, Field(ge=1, description="counts from 1")]
    max_stage: Annotated[int, Field(ge=1)]
    maintenance_type: Annotated[
        Literal[1, 2], Field(description="2 while it holds the cluster lock, else 1")
    ]
    maintenance_key: str
    state: State
    operator: Operator
    start_time: Time
    end_time: Annotated[Time, Field(description="start_time until it has ended")]
    additional_data: Annotated[
        dict[str, Any] | None,
        Field(description="`wait` and `evidence` by server, `summary`; null without details"),
    ]
    nodes: Annotated[
        list[NodeDetailDTO] | None, Field(description="in stage order; null without details")
    ]


class LogDto(TypedDict):
    """A log line of a sub-task."""

    id: int
    sub_task_id: int
    execute_times: Count
    log_content: str
    is_sync: bool
    create_time: Time
    update_time: Time


class AuditDto(TypedDict):
    """Who did what to which DAG, from where, and why. Not part of OBShell's API."""

    id: int
    time: Time
    dag_id: TaskId
    node_id: TaskId | None
    action: str
    by: str
    reason: str


class Page(TypedDict, Generic[_T]):
    """A part of a list."""

    contents: list[_T]
    next_cursor: Annotated[str | None, Field(description="of the next page; null on the last")]


class LockDto(TypedDict):
    """A lock. Not part of OBShell's API."""

    key: str
    dag_id: Annotated[TaskId | None, Field(description="who holds it; null when it is free")]
    name: Annotated[str, Field(description="of the holder; empty when it is free")]
    since: Annotated[Time, Field(description="it was taken, or became free")]
    token: Annotated[int, Field(ge=1, description="grows with every taking")]
    about: Annotated[str, Field(description="the holder in words, and what it waits for")]


class HolderDto(TypedDict):
    """The state of a lock. Not part of OBShell's API."""

    key: str
    dag_id: Annotated[TaskId | None, Field(description="who holds it; null when it is free")]
    about: Annotated[str, Field(description="the holder in words, or `free`")]


class ServerPlanDto(TypedDict):
    """What would be done on one server. Not part of OBShell's API."""

    server: str
    verdict: Literal["start", "stop", "nothing", "blocked", "unknown"]
    reason: str
    checks: Annotated[list[dict[str, Any]], Field(description="how each check ended")]
    commands: Annotated[list[str], Field(description="what would be run, secrets masked")]


class PlanDto(TypedDict):
    """What a request would do (`dryRun`). Not part of OBShell's API."""

    dry_run: Literal[True]
    name: Annotated[str, Field(description="of the task that would be made")]
    lock: HolderDto | None
    servers: list[ServerPlanDto]


class AttemptDto(TypedDict):
    """One execution of a sub-task. Not part of OBShell's API."""

    attempt_no: int
    outcome: Annotated[str | None, Field(description="null while it runs")]
    error: str | None
    start_time: Time
    end_time: Time
    task_logs: list[str]
