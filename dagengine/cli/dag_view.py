"""The state of a DAG as known from its events, drawn by `start` and `show --follow`."""

from __future__ import annotations

import copy
from datetime import datetime

from dagengine.cli.render import Json, Layout, SubTaskLine, sub_task_line
from dagengine.client import Dto, Event

_NOT_BEGUN = ("PENDING", "READY")


class DagView:
    """The sub-tasks of a DAG, updated only by events.

    Args:
        dag: the DAG as it was read, with details.
        from_start: True if the events start with the first one; otherwise `dag` is the state before
            the first received event.
    """

    def __init__(self, dag: Json, *, from_start: bool) -> None:
        self._layout = Layout.of(dag)
        self._tasks: dict[str, tuple[int, Dto]] = {
            task["id"]: (stage, copy.copy(task))
            for stage, node in enumerate(dag["nodes"] or (), start=1)
            for task in node["sub_tasks"] or ()
        }
        if from_start:
            for _, task in self._tasks.values():
                task.update(state="PENDING", task_logs=None, execute_times=0)

    def apply(self, event: Event, now: datetime) -> SubTaskLine | None:
        """Apply an event; return the sub-task's line if the sub-task entered a state."""
        stage, task = self._tasks.get(event.data["id"], (0, {}))
        if event.kind == "line" and task:
            task["task_logs"] = [*(task["task_logs"] or ())[-1:], event.data["log_content"]]
        if event.kind != "sub_task" or not task:
            return None
        task.update({name: event.data[name] for name in ("state", "operator", "execute_times")})
        if task["state"] == "RUNNING":
            task["start_time"] = event.data["time"]
        if task["state"] in _NOT_BEGUN:
            return None
        task["end_time"] = event.data["time"]
        return sub_task_line(self._layout, stage, task, now)

    def lines(self, now: datetime) -> list[SubTaskLine]:
        """Return a line for each sub-task that has begun, in stage order."""
        return [
            sub_task_line(self._layout, stage, task, now)
            for stage, task in self._tasks.values()
            if task["state"] not in _NOT_BEGUN
        ]
