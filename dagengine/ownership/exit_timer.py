"""A limit on the clean-up of a controller; it also holds while the event loop is blocked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from dagengine.runtime.cancellation import running_phases

_log = structlog.get_logger("dagengine.ownership")


class ExitTimer:
    """Ends the process, from another thread, unless the timer is cancelled in time.

    Args:
        limit_s: time from `start` to the end of the process, in seconds.
        exit_process: ends the process immediately.
        event: the event in the log, with the phases of a shutdown that have not ended.
    """

    def __init__(self, limit_s: float, exit_process: Callable[[], None], event: str) -> None:
        self._limit_s = limit_s
        self._exit_process = exit_process
        self._event = event
        self._timer = threading.Timer(limit_s, self._expire)
        self._timer.name, self._timer.daemon = f"limit: {event}", True

    def start(self) -> None:
        """Begin to measure the time. Called once."""
        self._timer.start()

    def cancel(self) -> None:
        """Let the process live. Safe to call without `start`, and twice."""
        self._timer.cancel()

    def _expire(self) -> None:
        try:
            _log.critical(self._event, limit_s=self._limit_s, phases=running_phases())
        finally:
            self._exit_process()


@contextmanager
def exit_after(limit_s: float, exit_process: Callable[[], None]) -> Iterator[None]:
    """Call `exit_process`, in another thread, unless the context ends within `limit_s` seconds.

    Args:
        limit_s: the limit, in seconds.
        exit_process: ends the process immediately; the service manager starts it again.
    """
    timer = ExitTimer(limit_s, exit_process, "clean_up_late")
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
