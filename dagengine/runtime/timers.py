"""Time-outs and timers that follow a clock, and the event loop of a controller."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol, TypeVar, TypeVarTuple, runtime_checkable

from dagengine.runtime.clock import PROCESS_TIME, Clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_COARSE_FROM_S = 5.0  # delays from which a call is late by up to _COARSE_S
_COARSE_S = 0.5


class Timer(Protocol):
    """A call that is scheduled."""

    def cancel(self) -> None:
        """Do not make the call."""
        ...


@runtime_checkable
class TimerClock(Clock, Protocol):
    """A clock whose time-outs and timers follow its own time instead of that of the event loop."""

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """Return a context manager that behaves like `asyncio.timeout`."""
        ...

    def call_later(self, delay_s: float, function: Callable[[], None]) -> Timer:
        """Call a function after some time."""
        ...


class Timers:
    """Time-outs and timers by the time of a clock, or else by that of the running event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock if isinstance(clock, TimerClock) else None

    def timeout(self, delay_s: float) -> asyncio.Timeout:
        """Bound a block, as `asyncio.timeout` does."""
        return asyncio.timeout(delay_s) if self._clock is None else self._clock.timeout(delay_s)

    def call_later(self, delay_s: float, function: Callable[[], None]) -> Timer:
        """Call a function of the running event loop after some time."""
        if self._clock is None:
            return asyncio.get_running_loop().call_later(delay_s, function)
        return self._clock.call_later(delay_s, function)


def latest_s(delay_s: float) -> float:
    """Return after how many seconds `ProcessTimeLoop` makes such a call at the latest."""
    return delay_s + _COARSE_S if delay_s >= _COARSE_FROM_S else delay_s


class ProcessTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers run in the time of the process.

    After a pause, no time-out expires for the time of the pause. A response that arrived during
    the pause is read first, whatever waits for it: SSH, SQL, HTTP or a step.

    Calls with a long delay are made together, up to 0.5 s late: an idle controller of hundreds of
    hosts then wakes up for all of their keep-alives at once. `asyncio.timeout` is not late;
    `asyncio.wait` with a time-out of 5 s or more is.
    """

    def time(self) -> float:
        return PROCESS_TIME.monotonic_s()

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        when_s = self.time() + delay
        if _COARSE_FROM_S <= delay < math.inf:
            when_s = math.ceil(when_s / _COARSE_S) * _COARSE_S
        return self.call_at(when_s, callback, *args, context=context)


def run_in_process_time(main: Coroutine[Any, Any, T]) -> T:
    """Run like `asyncio.run`, with time-outs that do not count the pauses of the process."""
    with PROCESS_TIME.watching(), asyncio.Runner(loop_factory=ProcessTimeLoop) as runner:
        return runner.run(main)
