"""A thread that reports when the event loop is blocked, by which task, and where."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Mapping
from traceback import walk_stack
from types import FrameType
from typing import Any, Protocol

import structlog

from dagengine.runtime.clock import SystemClock

_log = structlog.get_logger("dagengine.engine")

_CHECKS = 4  # number of waits until the loop counts as blocked
_SUSPENDED_FACTOR = 3.0  # a wait this many times too long: the process did not run
_FRAMES = 5


class TaskOwner(Protocol):
    """The owner of the tasks that may block the event loop."""

    def has_tasks(self) -> bool:
        """Return True while a task runs."""
        ...

    def describe_task(self, task: asyncio.Task[Any] | None) -> Mapping[str, object]:
        """Return the fields of the log line that identify a task."""
        ...


class LoopWatchdog:
    """Checks, once per `limit_s`, that the event loop runs callbacks.

    A check wakes the loop once. While the owner has no tasks, the thread waits for `resume`. A
    pause of the whole process, such as a suspended virtual machine, is not reported.

    Args:
        owner: of the tasks that may block the loop; called in the thread.
        limit_s: time without a callback after which the loop counts as blocked, in seconds.
    """

    def __init__(
        self,
        owner: TaskOwner,
        *,
        limit_s: float = 1.0,
    ) -> None:
        self._owner = owner
        self._limit_s = limit_s
        self._clock = SystemClock()
        self._resumed = threading.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Watch the running event loop from now on."""
        self._stopped = threading.Event()
        arguments = (asyncio.get_running_loop(), threading.get_ident(), self._stopped)
        threading.Thread(
            target=self._watch, args=arguments, name="loop watchdog", daemon=True
        ).start()

    def resume(self) -> None:
        """Continue to check: the owner has a task."""
        self._resumed.set()

    def stop(self) -> None:
        """End the thread, without waiting for it."""
        self._stopped.set()
        self._resumed.set()

    def _watch(
        self, loop: asyncio.AbstractEventLoop, loop_thread: int, stopped: threading.Event
    ) -> None:
        while not stopped.wait(self._limit_s):
            self._resumed.clear()
            if not self._owner.has_tasks():
                if not stopped.is_set():  # `stop` resumes only a thread that waits already
                    self._resumed.wait()
                continue
            has_run = threading.Event()
            try:
                loop.call_soon_threadsafe(has_run.set)
            except RuntimeError:
                return  # the loop is closed
            started_s = self._clock.monotonic_s()
            if self._wait(has_run, stopped):
                continue
            task, frame = asyncio.current_task(loop), sys._current_frames().get(loop_thread)
            blocked_s = round(self._clock.monotonic_s() - started_s, 2)
            fields = {**self._owner.describe_task(task), "at": _locate(frame)}
            _log.error("event_loop_blocked", blocked_s=blocked_s, **fields)
            while not has_run.wait(self._limit_s / _CHECKS) and not stopped.is_set():
                pass
            blocked_s = round(self._clock.monotonic_s() - started_s, 2)
            _log.warning("event_loop_resumed", blocked_s=blocked_s, **fields)

    def _wait(self, has_run: threading.Event, stopped: threading.Event) -> bool:
        """Return False when the loop did not run the callback within the limit."""
        wait_s, count = self._limit_s / _CHECKS, 0
        while count < _CHECKS and not stopped.is_set():
            before_s = self._clock.monotonic_s()
            if has_run.wait(wait_s):
                return True
            was_suspended = self._clock.monotonic_s() - before_s > wait_s * _SUSPENDED_FACTOR + 1
            count = 0 if was_suspended else count + 1
        return stopped.is_set() or has_run.is_set()


def _locate(frame: FrameType | None) -> str:
    """Return the innermost calls of a stack, innermost first."""
    calls = []
    for current, line in walk_stack(frame) if frame is not None else ():
        calls.append(f"{current.f_code.co_name} ({current.f_code.co_filename}:{line})")
        if len(calls) == _FRAMES:
            break
    return ", called by ".join(calls)
