"""Named points at which a controller is held, so that a fault hits it exactly there.

A point is armed by a file in a directory that all controllers share. The first controller that gets
there takes the file, and blocks with its whole event loop until the test writes to the FIFO `go`.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path


class Point(StrEnum):
    """A point in the work of a controller."""

    PACKET_SENT = "packet sent"
    AFTER_1048 = "after 1048"
    COMMITTED = "committed but not reported"
    ACT = "between act and sending"
    COMMAND_RUNNING = "command running"
    TAKEN = "taken but not opened"
    HAND_OVER = "hand-over"
    CLEAN_UP = "clean-up"


class PointFiles:
    """The files of the points.

    Args:
        directory: shared by the test and all controllers.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writer: int | None = None

    @property
    def go(self) -> Path:
        return self.directory / "go"

    def armed(self, point: Point) -> Path:
        return self.directory / f"{point}.armed"

    def reached(self, point: Point) -> Path:
        """The file with the name of the controller that has reached the point."""
        return self.directory / f"{point}.reached"

    def hold(self, point: Point, controller: str) -> None:
        """Block the process if the point is armed. Called by a controller."""
        taken = self.directory / f"{point}.{controller}"
        try:
            self.armed(point).rename(taken)
        except FileNotFoundError:
            return
        taken.write_text(controller)
        taken.rename(self.reached(point))
        # Opened for writing as well, so that a signal in between cannot miss the writer.
        with self.go.open("r+b", buffering=0) as go:
            go.readline()

    def open(self) -> None:
        """Let the held process continue, or the next one. Called by the test."""
        if self._writer is not None:
            os.write(self._writer, b"\n")

    def clear(self) -> None:
        """Remove the files of all points, and what has been written for processes that ended."""
        for point in Point:
            self.armed(point).unlink(missing_ok=True)
            self.reached(point).unlink(missing_ok=True)
        self.close()
        self.go.unlink(missing_ok=True)
        os.mkfifo(self.go)
        self._writer = os.open(self.go, os.O_RDWR | os.O_NONBLOCK)

    def close(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None
