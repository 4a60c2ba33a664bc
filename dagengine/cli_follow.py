"""Waits for a DAG and shows how it goes: live lines on a terminal, else a line per change."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import TextIO

from dagengine.cli_render import Json, SubTaskLine, render_end, sub_task_lines
from dagengine.clock import Clock

_FIRST_POLLS_S = 0.2
_LATER_POLLS_S = 1.0
_FIRST_POLLS_FOR_S = 30.0

_UP = "\x1b[{}A"
_CLEAR_BELOW = "\r\x1b[J"


async def follow(fetch: Callable[[], Awaitable[Json]], stream: TextIO, clock: Clock) -> Json:
    """Show a DAG until it has ended.

    Args:
        fetch: reads the DAG with details.
        stream: where to show it; live lines are used when it is a terminal.
        clock: for running times and the pace of reading.

    Returns:
        The DAG as it ended.
    """
    progress = _LiveProgress(stream) if stream.isatty() else _PlainProgress(stream)
    begun_at_s = clock.monotonic_s()
    try:
        while True:
            dag = await fetch()
            progress.show(list(sub_task_lines(dag, clock.now())))
            if dag["state"] in ("SUCCEED", "FAILED"):
                break
            early = clock.monotonic_s() - begun_at_s < _FIRST_POLLS_FOR_S
            await asyncio.sleep(_FIRST_POLLS_S if early else _LATER_POLLS_S)
    finally:
        progress.close()
    stream.write("".join(f"{line}\n" for line in render_end(dag)))
    stream.flush()
    return dag


class _PlainProgress:
    """One line whenever a sub-task's state changes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: set[tuple[str, str, int]] = set()

    def show(self, lines: list[SubTaskLine]) -> None:
        for line in self.take_new(lines):
            self._stream.write(f"{line.text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing to leave behind."""

    def take_new(self, lines: list[SubTaskLine]) -> list[SubTaskLine]:
        """The lines of this state that were not taken before."""
        new = [line for line in lines if line.key not in self._shown]
        self._shown.update(line.key for line in new)
        return new


class _LiveProgress(_PlainProgress):
    """Ended sub-tasks scroll up and stay; running ones are redrawn in place below them."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._drawn = 0

    def show(self, lines: list[SubTaskLine]) -> None:
        size = shutil.get_terminal_size()
        ended = [line for line in lines if line.ended]
        running = [line.text[: size.columns - 1] for line in lines if not line.ended]
        room = max(size.lines - 2, 1)
        if len(running) > room:
            running[room - 1 :] = [f"… and {len(running) - room + 1} more"]
        self._erase()
        self._stream.writelines(f"{line.text}\n" for line in self.take_new(ended))
        self._stream.writelines(f"{text}\n" for text in running)
        self._stream.flush()
        self._drawn = len(running)

    def close(self) -> None:
        self._drawn = 0

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(_UP.format(self._drawn) + _CLEAR_BELOW)
