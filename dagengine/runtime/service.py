"""Base class for everything that runs in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger("dagengine.engine")


class Service:
    """Owns named tasks and ends all of them when it stops.

    A subclass may override `run` with its own loop. A second start, a second stop, and a stop
    without a start do nothing.

    Attributes:
        name: name of the loop's task; for logs.
        patience_s: time after which a task that has not ended is cancelled again, in seconds.
        patience: number of cancellations after which a task is abandoned.
    """

    name = "service"
    patience_s = 5.0
    patience = 4  # in total 20 s, less than a service manager waits before it kills the process

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started = False

    async def run(self) -> None:
        """Run the loop "wait; one pass". Return only when no work is left."""

    @property
    def is_running(self) -> bool:
        """True from `start` to `stop`."""
        return self._started

    def start(self) -> None:
        if not self._started:
            self._started = True
            self.spawn(self._supervise(), name=self.name)

    async def stop(self) -> None:
        """Cancel every task and wait until all have ended.

        A task that ignores cancellation is cancelled up to `patience` times, then abandoned.
        Otherwise a step that suppresses every cancellation would block the stop forever.
        """
        self._started = False
        count = 0
        while self.may_wait(count):
            if not self._tasks:
                return
            count += 1
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=self.patience_s)
        if self._tasks:
            names = sorted(task.get_name() for task in self._tasks)
            _log.error("tasks_not_stopped", service=self.name, tasks=names)

    def may_wait(self, count: int) -> bool:
        """Return whether `stop` cancels its tasks once more, after `count` times."""
        return count < self.patience

    @property
    def tasks(self) -> frozenset[asyncio.Task[Any]]:
        """The tasks that this service owns and that have not ended."""
        return frozenset(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` as a task that this service owns."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def release(self, task: asyncio.Task[Any]) -> None:
        """Stop owning a task: `stop` neither cancels it nor waits for it."""
        self._tasks.discard(task)

    async def _supervise(self) -> None:
        while True:
            try:
                return await self.run()
            except Exception:  # noqa: BLE001
                # If the loop ended, all DAGs would stop: log the error and continue.
                _log.exception("service_failed", service=self.name)
                await asyncio.sleep(1.0)
