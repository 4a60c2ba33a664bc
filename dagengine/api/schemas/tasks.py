"""Schemas of the responses about DAGs, nodes, sub-tasks, locks and plans (protocol 4)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from dagengine.api.schemas.base import EXAMPLE_ID, EXAMPLE_TIME, AgentDto, Count, TaskId, Time
from dagengine.model.states import Operator, State

_TASK: JsonDict = {
    "id": "201684300810288617",
    "task_id": 7,
    "name": "Start observers",
    "state": "SUCCEED",
    "operator": "RUN",
    "start_time": EXAMPLE_TIME,
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
    "start_time": EXAMPLE_TIME,
    "end_time": "2024-01-10T11:24:45.1+08:00",
    "additional_data": None,
    "sub_tasks": [_TASK],
}
_DAG: JsonDict = {
    "id": EXAMPLE_ID,
    "dag_id": 3,
    "name": "Start OB",
    "stage": 1,
    "max_stage": 6,
    "maintenance_type": 1,
    "maintenance_key": "",
    "state": "READY",
    "operator": "RUN",
    "start_time": EXAMPLE_TIME,
    "end_time": EXAMPLE_TIME,
    "additional_data": None,
    "nodes": None,
}


@with_config(ConfigDict(json_schema_extra={"examples": [_TASK]}))
class TaskDetailDto(TypedDict):
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
class NodeDetailDto(TypedDict):
    """One stage of a DAG."""

    id: TaskId
    node_id: int
    name: str
    state: State
    operator: Operator
    start_time: Time
    end_time: Annotated[Time, Field(description="start_time until it has ended")]
    additional_data: dict[str, Any] | None
    sub_tasks: list[TaskDetailDto] | None


@with_config(ConfigDict(json_schema_extra={"examples": [_DAG]}))
class DagDetailDto(TypedDict):
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
        list[NodeDetailDto] | None, Field(description="in stage order; null without details")
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
    """Who did what to which DAG (null: to none), from where, and why. Not part of OBShell's API."""

    id: int
    time: Time
    dag_id: TaskId | None
    node_id: TaskId | None
    action: str
    by: str
    reason: str


class LockDto(TypedDict):
    """A lock. Not part of OBShell's API."""

    key: str
    dag_id: Annotated[TaskId | None, Field(description="the holder; null when the lock is free")]
    name: Annotated[str, Field(description="name of the holder; empty when the lock is free")]
    since: Annotated[Time, Field(description="time of the last change")]
    token: Annotated[int, Field(ge=1, description="increases each time the lock is taken")]
    about: Annotated[str, Field(description="describes the holder and what it waits for")]


class SummaryDto(TypedDict):
    """A cluster in brief. Not part of OBShell's API."""

    cluster_id: int
    servers: Annotated[int, Field(description="number of servers")]
    ob_state: Annotated[
        int, Field(description="0 not running, 1 without connection, 2 restricted, 3 available")
    ]
    dags: Annotated[dict[str, int], Field(description="number of tasks by state")]
    lock: Annotated[str, Field(description="who holds it; empty if it is free")]
    last: Annotated[DagDetailDto | None, Field(description="the newest task, without details")]
    notices: list[str]


class HolderDto(TypedDict):
    """The state of a lock. Not part of OBShell's API."""

    key: str
    dag_id: Annotated[TaskId | None, Field(description="the holder; null when the lock is free")]
    about: Annotated[str, Field(description="describes the holder; `free` without one")]


class ServerPlanDto(TypedDict):
    """What would be done on one server. Not part of OBShell's API."""

    server: str
    verdict: Literal["start", "stop", "nothing", "blocked", "unknown"]
    reason: str
    checks: Annotated[list[dict[str, Any]], Field(description="how each check ended")]
    commands: Annotated[list[str], Field(description="what would be run, secrets masked")]


class PlanPart(StrEnum):
    """A part of a plan's decisions."""

    TARGETS = "targets"
    VERDICTS = "verdicts"
    LOCK = "lock"
    CLUSTER_FILE = "cluster_file"


class PlanDto(TypedDict):
    """What a request would do (`dryRun`). Not part of OBShell's API."""

    dry_run: Literal[True]
    digest: Annotated[
        str, Field(description="of targets, verdicts, lock and cluster file: see If-Plan-Matches")
    ]
    name: Annotated[str, Field(description="name of the task that would be created")]
    notices: Annotated[
        list[str],
        Field(description="what to know about the plan, such as that the cluster file is refused"),
    ]
    lock: HolderDto | None
    servers: list[ServerPlanDto]
    changed: NotRequired[
        Annotated[
            list[PlanPart],
            Field(description="with status 412: what differs from the plan of If-Plan-Matches"),
        ]
    ]


class AttemptDto(TypedDict):
    """One execution of a sub-task. Not part of OBShell's API."""

    attempt_no: int
    outcome: Annotated[str | None, Field(description="null while it runs")]
    error: str | None
    start_time: Time
    end_time: Time
    task_logs: list[str]
