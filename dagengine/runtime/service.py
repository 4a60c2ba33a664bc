"""One life cycle for everything that runs in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger("dagengine.engine")


class Service:
    """Owns named tasks; ends them all when it stops.

    A subclass may override `run` for a loop of its own. Starting twice or stopping twice,
    or stopping what was never started, does nothing.

    Attributes:
        name: of the loop's task; for logs.
        patience_s: before a task that has not ended is cancelled again, in seconds.
        patience: how often that is done before it is left behind.
    """

    name = "service"
    patience_s = 5.0
    patience = 4  # together less than a service manager waits before it kills

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started = False

    async def run(self) -> None:
        """The loop: wait; one pass. Returns only when there is nothing left to do."""

    @property
    def is_running(self) -> bool:
        """True from `start` to `stop`."""
        return self._started

    def start(self) -> None:
        if not self._started:
            self._started = True
            self.spawn(self._supervise(), name=self.name)

    async def stop(self) -> None:
        """Cancel every task and wait until each has ended.

        One that takes no notice is cancelled again, and left behind in the end: whoever waits for
        a step that swallows every cancel would wait for ever.
        """
        self._started = False
        for _ in range(self.patience):
            if not self._tasks:
                return
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=self.patience_s)
        if self._tasks:
            names = sorted(task.get_name() for task in self._tasks)
            _log.error("tasks_left_behind", service=self.name, tasks=names)

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` as a task that this service owns."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _supervise(self) -> None:
        while True:
            try:
                return await self.run()
            except Exception:  # noqa: BLE001
                # A loop that dies would leave every DAG standing still: say so and go on.
                _log.exception("service_failed", service=self.name)
                await asyncio.sleep(1.0)
