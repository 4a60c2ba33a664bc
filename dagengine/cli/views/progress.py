"""Progress of a DAG from its events: live lines on a terminal, otherwise one line per change."""

from __future__ import annotations

import asyncio
import copy
import os
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from dagengine.cli import messages
from dagengine.cli.views.render import (
    Json,
    Layout,
    SubTaskLine,
    render_end,
    server_label,
    sub_task_line,
)
from dagengine.cli.views.screen import Screen, open_console, style_line, write_screen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rich.text import Text

    from dagengine.client import Client, Dto, StreamEvent
    from dagengine.runtime.clock import Clock

_REDRAW_S = 0.2  # interval for updating running times on a terminal
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
    client: Client,
    dag_id: str,
    stream: TextIO,
    clock: Clock,
    *,
    after: int = 0,
    has_hints: bool = True,
) -> Json:
    """Show a DAG until it ends, across restarts of the controller.

    Args:
        client: reads the DAG.
        dag_id: the DAG's id.
        stream: the output; live lines are used if it is a capable terminal.
        clock: for running times.
        after: number of the last event to skip; 0 shows all events.
        has_hints: whether the end names the commands to run next.

    Returns:
        The DAG as it ended.
    """
    screen = Screen.of(stream, os.environ)
    controller = server_label(await client.info())
    picture = DagView(await client.get_dag(dag_id), from_start=not after, screen=screen)
    opened = _LiveProgress(stream, screen) if screen.is_capable else _PlainProgress(stream, screen)
    progress: _PlainProgress = opened
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
    write_screen(stream, screen, render_end(dag, controller, has_hints=has_hints))
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
        screen: for the times of the lines.
    """

    def __init__(self, dag: Json, *, from_start: bool, screen: Screen) -> None:
        self._layout = Layout.of(dag)
        self._screen = screen
        self._tasks: dict[str, tuple[int, Dto]] = {
            task["id"]: (stage, copy.copy(task))
            for stage, node in enumerate(dag["nodes"] or (), start=1)
            for task in node["sub_tasks"] or ()
        }
        if from_start:
            for _, task in self._tasks.values():
                task.update(state="PENDING", task_logs=None, execute_times=0)

    def apply(self, event: StreamEvent, now: datetime) -> SubTaskLine | None:
        """Apply an event; return the sub-task's line if the sub-task entered a state.

        The line has the event's own time: the event may be an old one.
        """
        stage, task = self._tasks.get(event.data["id"], (0, {}))
        if event.kind == "line" and task:
            task["task_logs"] = [*(task["task_logs"] or ())[-1:], event.data["log_content"]]
        if event.kind != "sub_task" or not task:
            return None
        task.update({name: event.data[name] for name in ("state", "operator", "execute_times")})
        at = event.data["time"]
        if task["state"] == "RUNNING":
            task.update(start_time=at, task_logs=None)  # those were an earlier attempt's
        if task["state"] in _NOT_BEGUN:
            return None
        task["end_time"] = at
        return self._line(stage, task, datetime.fromisoformat(at), self._screen.short_time(at, now))

    def lines(self, now: datetime) -> list[SubTaskLine]:
        """Return a line for each sub-task that has begun, in stage order."""
        return [
            self._line(stage, task, now, self._screen.short_time(task["start_time"], now))
            for stage, task in self._tasks.values()
            if task["state"] not in _NOT_BEGUN
        ]

    def _line(self, stage: int, task: Json, now: datetime, time: str) -> SubTaskLine:
        return sub_task_line(self._layout, stage, task, now, time)


class _PlainProgress:
    """Writes one line whenever a sub-task enters a state."""

    def __init__(self, stream: TextIO, screen: Screen) -> None:
        self._stream = stream
        self._screen = screen
        self._written: set[tuple[str, str, int]] = set()

    def tell(self, line: SubTaskLine) -> None:
        """Write the line of a sub-task that entered a state, unless it was already written.

        A sub-task that continues after a restart repeats its state.
        """
        if line.key not in self._written:
            self._written.add(line.key)
            self._write(line.text)

    def draw(self, lines: list[SubTaskLine]) -> None:
        """Ignore the current state of all sub-tasks."""

    def close(self) -> None:
        """Do nothing: no output has to be removed."""

    def _write(self, text: str) -> None:
        write_screen(self._stream, self._screen, [text])


class _LiveProgress(_PlainProgress):
    """Keeps the lines of ended sub-tasks above, and redraws running ones in place below them."""

    def __init__(self, stream: TextIO, screen: Screen) -> None:
        from rich.live import Live  # noqa: PLC0415  # only a capable terminal needs it

        super().__init__(stream, screen)
        self._console = open_console(stream, screen)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def tell(self, line: SubTaskLine) -> None:
        if line.ended:
            super().tell(line)

    def draw(self, lines: list[SubTaskLine]) -> None:
        from rich.text import Text  # noqa: PLC0415

        screen = Screen.of(self._stream, os.environ)  # the terminal's size may have changed
        self._console.size = (screen.width or self._console.width, screen.height)
        running = [line.text for line in lines if not line.ended]
        rows = running_rows(running, screen.width, max(screen.height - 2, 1))
        block = Text("\n", no_wrap=True, overflow="ellipsis", end="").join(rows)
        self._live.update(block, refresh=True)

    def close(self) -> None:
        self._live.update("", refresh=True)
        self._live.stop()

    def _write(self, text: str) -> None:
        for row in style_line(text, self._console.width):
            self._console.print(row, soft_wrap=True)


def running_rows(texts: Sequence[str], width: int | None, room: int) -> list[Text]:
    """Return the rows of running sub-tasks for a capable terminal, broken as those of ended ones.

    Args:
        texts: one for each sub-task.
        width: columns of the terminal.
        room: maximum number of rows; the last one counts the sub-tasks that are not shown.
    """
    rows: list[Text] = []
    for number, text in enumerate(texts):
        block, remaining = style_line(text, width), len(texts) - number
        needed = len(block) + (remaining > 1)  # with a row that counts the others
        if len(rows) + needed > room:
            return [*rows, *style_line(messages.MORE_RUNNING(count=remaining), width)]
        rows += block
    return rows


async def watch(
    stream: TextIO, screen: Screen, blocks: AsyncIterator[tuple[object, Sequence[str]]]
) -> None:
    """Show each block of lines in place of the previous one; on a plain stream, each change.

    Args:
        stream: the output.
        screen: what it can display.
        blocks: the lines, with the data that they show; the age of an instant is not among them.
    """
    if not screen.is_capable:
        previous: object = None
        async for data, lines in blocks:
            if data != previous:
                write_screen(stream, screen, [*([""] if previous else []), *lines])
                previous = data
        return
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = open_console(stream, screen)
    with Live(console=console, auto_refresh=False, redirect_stdout=False) as live:
        async for _, lines in blocks:
            size = Screen.of(stream, os.environ)
            console.size = (size.width or console.width, size.height)
            rows = [row for line in lines for row in style_line(line, size.width)]
            live.update(Text("\n").join(rows), refresh=True)
