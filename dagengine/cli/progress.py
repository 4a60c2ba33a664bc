"""Follows a DAG by its events and shows how it goes: live lines on a terminal, else a line each."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import aclosing
from typing import TextIO

from dagengine.cli.dag_view import DagView
from dagengine.cli.render import Json, SubTaskLine, render_end
from dagengine.client import Client
from dagengine.runtime.clock import Clock

_REDRAW_S = 0.2  # of running times, on a terminal

_UP = "\x1b[{}A"
_CLEAR_BELOW = "\r\x1b[J"


async def find_last_event(client: Client, dag_id: str) -> int:
    """Number of the last event of a DAG that has ended; 0 for one that goes on.

    For those who are about to ask something of it: what comes after that is the answer.
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
    """Show a DAG until it has ended, over restarts of the controller.

    Args:
        client: reads it.
        dag_id: which.
        stream: where to show it; live lines are used when it is a terminal.
        clock: for running times.
        after: number of the last event that need not be shown; 0 for all that happened to it.

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
    """One line whenever a sub-task enters a state."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: set[tuple[str, str, int]] = set()

    def tell(self, line: SubTaskLine) -> None:
        """A sub-task has entered a state; one that only goes on after a restart says nothing."""
        if line.key not in self._told:
            self._told.add(line.key)
            self._stream.write(f"{line.text}\n")
            self._stream.flush()

    def draw(self, lines: list[SubTaskLine]) -> None:
        """How all of them stand at this moment."""

    def close(self) -> None:
        """Nothing to leave behind."""


class _LiveProgress(_PlainProgress):
    """Ended sub-tasks scroll up and stay; running ones are redrawn in place below them."""

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
