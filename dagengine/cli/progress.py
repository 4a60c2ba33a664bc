"""Progress of a DAG from its events: live lines on a terminal, otherwise one line per change."""

from __future__ import annotations

import asyncio
import copy
import shutil
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from dagengine.cli import messages
from dagengine.cli.render import Json, Layout, SubTaskLine, render_end, sub_task_line

if TYPE_CHECKING:
    from dagengine.client import Client, Dto, Event
    from dagengine.runtime.clock import Clock

_REDRAW_S = 0.2  # interval for updating running times on a terminal

_UP = "\x1b[{}A"
_CLEAR_BELOW = "\r\x1b[J"
_NOT_BEGUN = ("PENDING", "READY")


async def find_last_event(client: Client, dag_id: str) -> int:
    """Return the number of a DAG's last event if it has ended; 0 if it is unfinished.

    Callers use it before they apply an operator: later events are the operator's effect.
    """
    last = 0
    if (await client.get_dag(dag_id, details=False))["state"] in ("SUCCEED", "FAILED"):
        async with aclosing(client.follow(dag_id)) as events:
            async for event in events:
                last = event.seq
    return last


async def follow(
    client: Client, dag_id: str, stream: TextIO, clock: Clock, *, after: int = 0
) -> Json:
    """Show a DAG until it ends, across restarts of the controller.

    Args:
        client: reads the DAG.
        dag_id: the DAG's id.
        stream: the output; live lines are used if it is a terminal.
        clock: for running times.
        after: number of the last event to skip; 0 shows all events.

    Returns:
        The DAG as it ended.
    """
    picture = DagView(await client.get_dag(dag_id), from_start=not after)
    progress = _LiveProgress(stream) if stream.isatty() else _PlainProgress(stream)
    drawing = asyncio.create_task(_draw(progress, picture, clock), name="drawing")
    try:
        async with aclosing(client.follow(dag_id, after=after)) as events:
            async for event in events:
                if (line := picture.apply(event, clock.now())) is not None:
                    progress.tell(line)
    finally:
        drawing.cancel()
        await asyncio.wait([drawing])
        progress.close()
    dag = await client.get_dag(dag_id)
    stream.write("".join(f"{line}\n" for line in render_end(dag)))
    stream.flush()
    return dag


async def _draw(progress: _PlainProgress, picture: DagView, clock: Clock) -> None:
    while True:
        progress.draw(picture.lines(clock.now()))
        await asyncio.sleep(_REDRAW_S)


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


class _PlainProgress:
    """Writes one line whenever a sub-task enters a state."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._written: set[tuple[str, str, int]] = set()

    def tell(self, line: SubTaskLine) -> None:
        """Write the line of a sub-task that entered a state, unless it was already written.

        A sub-task that continues after a restart repeats its state.
        """
        if line.key not in self._written:
            self._written.add(line.key)
            self._stream.write(f"{line.text}\n")
            self._stream.flush()

    def draw(self, lines: list[SubTaskLine]) -> None:
        """Ignore the current state of all sub-tasks."""

    def close(self) -> None:
        """Do nothing: no output has to be removed."""


class _LiveProgress(_PlainProgress):
    """Keeps the lines of ended sub-tasks above, and redraws running ones in place below them."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._drawn = 0

    def tell(self, line: SubTaskLine) -> None:
        if line.ended:
            self._erase()
            super().tell(line)

    def draw(self, lines: list[SubTaskLine]) -> None:
        size = shutil.get_terminal_size()
        running = [line.text[: size.columns - 1] for line in lines if not line.ended]
        room = max(size.lines - 2, 1)
        if len(running) > room:
            running[room - 1 :] = [messages.MORE_RUNNING(count=len(running) - room + 1)]
        self._erase()
        self._stream.writelines(f"{text}\n" for text in running)
        self._stream.flush()
        self._drawn = len(running)

    def close(self) -> None:
        self._erase()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(_UP.format(self._drawn) + _CLEAR_BELOW)
            self._drawn = 0
