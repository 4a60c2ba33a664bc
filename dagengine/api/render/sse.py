"""Rendering of events as frames of a `text/event-stream` (not part of OBShell's API)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from dagengine.api.envelope import render_json, render_time
from dagengine.api.render.records import Dto, RecordRenderer
from dagengine.model.events import (
    DagStateChanged,
    EventRecord,
    NodeStateChanged,
    SubTaskStateChanged,
)
from dagengine.model.records import DagRecord, LogRecord, NodeRecord, SubTaskRecord

KEEPALIVE = b": nothing new\n\n"


class SseRenderer:
    """Renderer of the events of one DAG.

    Args:
        wire: renders ids.
        dag: the DAG; its name and number of stages are used.
        nodes: all nodes of the DAG, possibly outdated; only fields that never change are used.
        sub_tasks: all sub-tasks of the DAG, possibly outdated like `nodes`.
    """

    def __init__(
        self,
        wire: RecordRenderer,
        dag: DagRecord,
        nodes: Iterable[NodeRecord],
        sub_tasks: Iterable[SubTaskRecord],
    ) -> None:
        self._wire = wire
        self._dag = dag
        self._nodes = {node.node_id: node for node in nodes}
        self._sub_tasks = {task.sub_task_id: task for task in sub_tasks}

    def frame(self, event: EventRecord) -> bytes:
        """Render an event: its number, its kind, and its content as JSON."""
        kind, at, content = self._render(event)
        data = {"seq": event.seq, "time": render_time(at), **content}
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, kind, render_json(data))

    def end_frame(self, last: int) -> bytes:
        """Render the frame that ends the stream of a DAG whose last event is `last`.

        The frame itself is not an event and has no id.
        """
        return b"event: end\ndata: %s\n\n" % render_json({"seq": last})

    def _render(self, event: EventRecord) -> tuple[bytes, datetime, Dto]:
        match event.payload:
            case DagStateChanged() as dag:
                return b"dag", dag.at, self._render_dag(dag)
            case NodeStateChanged() as node:
                return b"node", node.at, self._render_node(node)
            case SubTaskStateChanged() as task:
                counts = {"execute_times": task.execute_times, "attempt_no": task.attempt_no}
                state = {"state": task.state, "operator": task.operator}
                return b"sub_task", task.at, self._place(task.sub_task_id) | state | counts
            case LogRecord() as line:
                counts = {"execute_times": line.execute_times, "attempt_no": line.attempt_no}
                content = {"log_content": line.content}
                return b"line", line.created_at, self._place(line.sub_task_id) | counts | content

    def _render_dag(self, entered: DagStateChanged) -> Dto:
        return {
            "id": self._wire.id(self._dag.dag_id),
            "name": self._dag.name,
            "stage": entered.stage,
            "max_stage": self._dag.max_stage,
            "state": entered.state,
            "operator": entered.operator,
        }

    def _render_node(self, entered: NodeStateChanged) -> Dto:
        node = self._nodes[entered.node_id]
        return {
            "id": self._wire.id(node.node_id),
            "name": node.name,
            "stage": node.stage,
            "state": entered.state,
            "operator": entered.operator,
        }

    def _place(self, sub_task_id: int) -> Dto:
        task = self._sub_tasks[sub_task_id]
        return {
            "id": self._wire.id(sub_task_id),
            "name": self._nodes[task.node_id].name,
            "stage": task.stage,
            "execute_agent": self._wire.agent(task.target),
        }
