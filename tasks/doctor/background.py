"""An examination in the background: a request need not wait for a host that does not respond."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from dagengine import Clock
from dagengine.extension import SelfCheckResult
from tasks.doctor.examine import Report

Examine: TypeAlias = Callable[[Report], Awaitable[Sequence[SelfCheckResult]]]
"""Runs all checks; reports the results of each part as soon as they are known."""


@dataclass(frozen=True, slots=True)
class Examination:
    """An examination, and its results so far.

    Attributes:
        begun_at: when it was begun.
        ended_at: when it ended; None while it runs.
        results: the results so far; all of them after the end.
    """

    begun_at: datetime
    ended_at: datetime | None = None
    results: tuple[SelfCheckResult, ...] = ()


class BackgroundDoctor:
    """Runs one examination at a time, and keeps the last one.

    Attributes:
        last: the running or the last examination; None before the first.
    """

    def __init__(self, clock: Clock) -> None:
        self.last: Examination | None = None
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def begin(self, examine: Examine) -> None:
        """Begin an examination; does nothing while one runs."""
        if self._task is not None and not self._task.done():
            return
        examination = self.last = Examination(self._clock.now())
        self._task = asyncio.create_task(self._run(examination, examine), name="examination")

    async def wait(self) -> None:
        """Wait for the end of the running examination."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Cancel a running examination."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, examination: Examination, examine: Examine) -> None:
        results_so_far: list[SelfCheckResult] = []

        def report(results: Sequence[SelfCheckResult]) -> None:
            results_so_far.extend(results)
            self.last = replace(examination, results=tuple(results_so_far))

        results = tuple(await examine(report))
        self.last = Examination(examination.begun_at, self._clock.now(), results)
