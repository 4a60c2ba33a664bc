"""Progress of a DAG from its events: live lines on a terminal, otherwise one line per change."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import aclosing
from typing import TextIO

from dagengine.cli.dag_view import DagView
from dagengine.cli.render import Json, SubTaskLine, render_end
from dagengine.client import Client
from dagengine.runtime.clock import Clock

_REDRAW_S = 0.2  # interval for updating running times on a terminal

_UP = "\x1b[{}A"
_CLEAR_BELOW = "\r\x1b[J"


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


class _PlainProgress:
    """Writes one line whenever a sub-task enters a state."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: set[tuple[str, str, int]] = set()

    def tell(self, line: SubTaskLine) -> None:
        """Write the line of a sub-task that entered a state, unless it was already written.

        A sub-task that continues after a restart repeats its state.
        """
        if line.key not in self._told:
            self._told.add(line.key)
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
            running[room - 1 :] = [f"… and {len(running) - room + 1} more"]
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
