"""Rendering of records as DTOs: field order, null rules and ids of protocol section 4. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from dagengine.api.envelope import render_time, sort_keys
from dagengine.api.schemas.base import AgentDto
from dagengine.api.schemas.tasks import (
    AttemptDto,
    AuditDto,
    DagDetailDto,
    LogDto,
    NodeDetailDto,
    TaskDetailDto,
)
from dagengine.model.ids import AgentAddress, IdKind, encode_id
from dagengine.model.records import (
    AttemptRecord,
    AuditRecord,
    DagDetail,
    LogRecord,
    NodeDetail,
    SubTaskDetail,
)
from dagengine.model.stage_kinds import Wait
from dagengine.model.states import State
from dagengine.runtime.addresses import parse_host_port

Dto = dict[str, Any]

_FREE: Literal[1] = 1  # maintenance_type
_GLOBAL: Literal[2] = 2
_NOT_RUN = (State.PENDING, State.READY)


class RecordRenderer:
    """Renderer of the records of one controller, whose address is part of every id."""

    def __init__(self, agent: AgentAddress) -> None:
        self._agent = agent
        # Compute the common prefix of all ids once, because a DAG with details has many ids.
        self._prefix = encode_id(IdKind.LOCAL, agent, 0).removesuffix("0")
        self._last: tuple[DagDetail, DagDetailDto] | None = None

    def dag(self, detail: DagDetail) -> DagDetailDto:
        """Render a DAG (4.1). The result is cached: do not modify it.

        The store returns the same DagDetail object until something is written; its rendering is
        then reused.
        """
        if self._last is not None and self._last[0] is detail:
            return self._last[1]
        rendered = self._dag(detail)
        self._last = (detail, rendered) if detail.is_cacheable else None
        return rendered

    def _dag(self, detail: DagDetail) -> DagDetailDto:
        dag, nodes = detail.dag, detail.nodes
        tasks = [task for node in nodes or () for task in node.sub_tasks]
        return {
            "id": self.id(dag.dag_id),
            "dag_id": dag.dag_id,
            "name": dag.name,
            "stage": dag.stage,
            "max_stage": dag.max_stage,
            "maintenance_type": _GLOBAL if dag.lock_token else _FREE,
            "maintenance_key": "",
            "state": dag.state,
            "operator": dag.operator,
            "start_time": render_time(dag.start_at),
            "end_time": render_time(dag.end_at),
            "additional_data": self._merged(tasks),
            "nodes": None if nodes is None else [self.node(n, own_data=False) for n in nodes],
        }

    def node(self, detail: NodeDetail, *, own_data: bool = True) -> NodeDetailDto:
        """Render a node (4.2); `own_data` is False inside a DAG, which has the additional data."""
        node = detail.node
        return {
            "id": self.id(node.node_id),
            "node_id": node.node_id,
            "name": node.name,
            "state": node.state,
            "operator": node.operator,
            "start_time": render_time(node.start_at),
            "end_time": render_time(node.end_at),
            "additional_data": self._merged(detail.sub_tasks) if own_data else None,
            "sub_tasks": [self.sub_task(t, own_data=False) for t in detail.sub_tasks] or None,
        }

    def sub_task(self, detail: SubTaskDetail, *, own_data: bool = True) -> TaskDetailDto:
        """Render a sub-task (4.2); `own_data` is False inside a node."""
        task = detail.sub_task
        has_run = task.state not in _NOT_RUN
        return {
            "id": self.id(task.sub_task_id),
            "task_id": task.sub_task_id,
            "name": detail.node_name,
            "state": task.state,
            "operator": task.operator,
            "start_time": render_time(task.start_at),
            "end_time": render_time(task.end_at),
            "additional_data": self._merged([detail]) if own_data else None,
            "execute_times": task.execute_times,
            "execute_agent": self.agent(task.target),
            "task_logs": [line.content for line in detail.logs] if has_run else None,
        }

    def log(self, line: LogRecord) -> LogDto:
        """Render a log line (3.4)."""
        at = render_time(line.created_at)
        return {
            "id": line.log_id,
            "sub_task_id": line.sub_task_id,
            "execute_times": line.execute_times,
            "log_content": line.content,
            "is_sync": False,
            "create_time": at,
            "update_time": at,
        }

    def audit(self, row: AuditRecord) -> AuditDto:
        """Render an audit row (not part of OBShell's API)."""
        return {
            "id": row.audit_id,
            "time": render_time(row.at),
            "dag_id": self.id(row.dag_id) if row.dag_id else None,
            "node_id": None if row.node_id is None else self.id(row.node_id),
            "action": row.action,
            "by": row.by,
            "reason": row.reason,
        }

    def attempt(self, attempt: AttemptRecord, lines: Iterable[LogRecord]) -> AttemptDto:
        """Render an attempt (not part of OBShell's API); `lines` may include other attempts."""
        return {
            "attempt_no": attempt.attempt_no,
            "outcome": attempt.outcome,
            "error": attempt.error,
            "start_time": render_time(attempt.start_at),
            "end_time": render_time(attempt.end_at),
            "task_logs": [line.content for line in lines if line.attempt_no == attempt.attempt_no],
        }

    def agent(self, target: str | None) -> AgentDto:
        """Render the address of a sub-task's target; without a target, that of the controller."""
        return _render_agent(parse_agent(target) or self._agent)

    def id(self, row_id: int) -> str:
        """Return the generic id of a row of this controller."""
        return f"{self._prefix}{row_id}"

    def _merged(self, details: Sequence[SubTaskDetail]) -> Any:
        """Return `additional_data`; `wait` has the first waiting sub-task of each server."""
        merged = _merge(_own_data(detail) for detail in details)
        waits: Dto = {}
        for detail in details:
            if detail.wait is not None:
                key = detail.sub_task.target or str(self._agent)
                waits.setdefault(key, _render_wait(detail.wait))
        return sort_keys({**(merged or {}), "wait": waits}) if waits else merged


def parse_agent(name: str | None) -> AgentAddress | None:
    """Parse the address in a server's name (`ip:port`, `[v6]:port`); None for other names."""
    try:
        return AgentAddress(*parse_host_port(name or ""))
    except ValueError:
        return None


def _render_agent(agent: AgentAddress) -> AgentDto:
    return {"ip": agent.ip, "port": agent.port}


def _render_wait(wait: Wait) -> Dto:
    optional = {"deadline": wait.deadline_at, "next": wait.next_at}
    return {
        "kind": wait.kind,
        "on": wait.on,
        "since": render_time(wait.since_at),
        **({"last": wait.last} if wait.last else {}),
        **{name: render_time(at) for name, at in optional.items() if at is not None},
    }


def _own_data(detail: SubTaskDetail) -> Dto | None:
    task = detail.sub_task
    data: Dto = {}
    if task.evidence:
        data["evidence"] = {task.target: task.evidence} if task.target else task.evidence
    if task.summary:
        data["summary"] = task.summary
    return data or None


def _merge(parts: Iterable[Mapping[str, Any] | None]) -> Any:
    """Return a single part unchanged, or merge several parts key by key into an object (4.3)."""
    objects = list(parts)
    if len(objects) <= 1:
        return sort_keys(objects[0]) if objects else None
    merged: Dto = {}
    for part in objects:
        _merge_into(merged, part or {})
    return sort_keys(merged)


def _merge_into(merged: Dto, part: Mapping[str, Any]) -> None:
    for key, value in part.items():
        present = merged.get(key)
        if isinstance(present, dict) and isinstance(value, Mapping):
            _merge_into(present, value)
        elif isinstance(value, Mapping):
            merged[key] = {}
            _merge_into(merged[key], value)
        else:
            merged[key] = value
