"""A DAG as it is known from its events: what `start` and `show --follow` draw."""

from __future__ import annotations

import copy
from datetime import datetime

from dagengine.cli.render import Json, Layout, SubTaskLine, sub_task_line
from dagengine.client import Dto, Event

_NOT_BEGUN = ("PENDING", "READY")


class DagView:
    """The sub-tasks of a DAG; changed by events alone.

    Args:
        dag: with details, as it was read.
        from_start: the events will tell everything from the first on; else `dag` is how it was
            before them.
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
        """Change what the event is about; the sub-task's line when it has entered a state."""
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
        """A line for each sub-task that has begun, in stage order."""
        return [
            sub_task_line(self._layout, stage, task, now)
            for stage, task in self._tasks.values()
            if task["state"] not in _NOT_BEGUN
        ]
