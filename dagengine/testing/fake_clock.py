"""A clock that moves only on request, and its timers."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import count


@dataclass(slots=True)
class FakeTimer:
    """A call that a FakeClock makes."""

    due_s: float
    function: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Do not make the call."""
        self.is_cancelled = True


class FakeTimers:
    """The calls that a FakeClock makes, in the order of their times."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, FakeTimer]] = []
        self._numbers = count()

    def add(self, due_s: float, function: Callable[[], None]) -> FakeTimer:
        """Add a call."""
        timer = FakeTimer(due_s, function)
        heappush(self._heap, (due_s, next(self._numbers), timer))
        return timer

    def pop_due(self, until_s: float) -> FakeTimer | None:
        """Remove and return the first call that is due by then; None when there is none."""
        while self._heap and self._heap[0][0] <= until_s:
            _, _, timer = heappop(self._heap)
            if not timer.is_cancelled:
                return timer
        return None


def _expire(reference: weakref.ref[asyncio.Timeout]) -> None:
    """Expire a time-out, unless its block has ended."""
    timeout = reference()
    if timeout is not None:
        with suppress(RuntimeError):
            timeout.reschedule(asyncio.get_running_loop().time())


class FakeClock:
    """A clock that moves only on request.

    The time limits of an engine with this clock end when `advance` passes them, and not before.
    """

    def __init__(self, now: datetime = datetime(2024, 1, 10, 3, 24, 44, 513664, UTC)) -> None:
        self._now = now
        self._monotonic_s = 0.0
        self._timers = FakeTimers()

    def now(self) -> datetime:
        return self._now

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def boot_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward; expire the time limits on the way, in order."""
        end_s = self._monotonic_s + seconds
        while (timer := self._timers.pop_due(end_s)) is not None:
            self._move(max(timer.due_s - self._monotonic_s, 0.0))
            timer.function()
        self._move(end_s - self._monotonic_s)

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """Return a context manager like `asyncio.timeout`, for the time of this clock."""
        if delay_s is None or delay_s <= 0:
            return asyncio.timeout(delay_s)
        timeout = asyncio.timeout(None)
        self._timers.add(self._monotonic_s + delay_s, partial(_expire, weakref.ref(timeout)))
        return timeout

    def call_later(self, delay_s: float, function: Callable[[], None]) -> FakeTimer:
        """Call a function when the clock has moved so far."""
        return self._timers.add(self._monotonic_s + delay_s, function)

    def jump(self, seconds: float) -> None:
        """Move only the wall clock, forward or back, as an administrator would."""
        self._now += timedelta(seconds=seconds)

    def _move(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic_s += seconds
