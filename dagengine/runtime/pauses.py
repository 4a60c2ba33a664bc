"""Detection of pauses of this process: a suspended machine, a stopped virtual machine, SIGSTOP.

A thread reads the clocks once per second. A longer gap since its last reading means that no
thread ran. The time of a process leaves these gaps out, so a deadline that passed during a pause is
extended, and the pauses are remembered, so an error after one can name it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

BEAT_S = 1.0
"""Time between two readings of the thread, in seconds."""
GAP_S = 4.0
"""The shortest gap that counts as a pause, in seconds. A busy machine causes shorter ones."""
_KEPT = 100


class Reading(NamedTuple):  # cheaper to create than a frozen dataclass; made at each reading
    """One reading of the clocks.

    Attributes:
        monotonic_s: the monotonic clock, which stops while the machine is suspended.
        boot_s: the same with the time in which the machine was suspended.
    """

    monotonic_s: float
    boot_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which this process did not run.

    Attributes:
        length_s: its length, in seconds.
        ended_s: its end, in the time of the process.
    """

    length_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class _State:
    """The last reading of the thread, and the pauses before it on the monotonic clock.

    It is replaced as a whole, so a caller without the lock never sees half of an update.
    """

    last: Reading
    excluded_s: float


def find_pause_s(last: Reading, now: Reading) -> float | None:
    """Return the length of the pause between two readings; None if the gap is a usual one."""
    gap_s = now.boot_s - last.boot_s
    return gap_s if gap_s > GAP_S else None


class ProcessTime:
    """Monotonic time of this process without its pauses, and what is known about them.

    Pauses are detected within `watching` only: without the thread, a gap does not show a pause.

    Args:
        read: reads the clocks.
    """

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._state = _State(read(), 0.0)
        self._latest_s = 0.0  # the last value that a caller has received
        self._pauses: deque[Pause] = deque(maxlen=_KEPT)
        self._unlogged: deque[float] = deque(maxlen=_KEPT)
        self._watchers = 0
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def monotonic_s(self) -> float:
        """Return seconds that never decrease and that do not count pauses."""
        state = self._state  # before the clocks: a pause in between then shows as a gap
        now = self._read()
        if now.boot_s - state.last.boot_s > GAP_S and self._is_watched:
            state, now = self._note_gap()
        latest_s = now.monotonic_s - state.excluded_s
        if latest_s < self._latest_s:
            return self._latest_s
        self._latest_s = latest_s
        return latest_s

    def paused_s(self, since_s: float) -> float:
        """Return the sum of the pauses that ended after an instant of `monotonic_s`, in seconds."""
        self.monotonic_s()  # the current gap may be a pause that the thread has not seen yet
        return sum(pause.length_s for pause in tuple(self._pauses) if pause.ended_s >= since_s)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Detect pauses within the context; contexts may overlap."""
        with self._lock:
            self._watchers += 1
            if not self._is_watched:
                self._state = _State(self._read(), self._state.excluded_s)
                self._ending = threading.Event()
                self._thread = threading.Thread(
                    target=self._beat, args=(self._ending,), name="pause detection", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._watchers -= 1
                if not self._watchers:
                    self._ending.set()
                    self._thread = None

    def beat(self) -> None:
        """Note that the process runs, and log a pause that has just ended."""
        state, now = self._note_gap()
        with self._lock:
            self._state = _State(now, state.excluded_s)
        while self._unlogged:
            _log_pause(self._unlogged.popleft())

    @property
    def _is_watched(self) -> bool:
        # After a fork the thread does not exist in the child.
        return self._thread is not None and self._thread.is_alive()

    def _beat(self, ending: threading.Event) -> None:
        while not ending.wait(BEAT_S):
            self.beat()

    def _note_gap(self) -> tuple[_State, Reading]:
        """Record the gap since the last reading if it is a pause; return state and reading."""
        with self._lock:
            state, now = self._state, self._read()
            length_s = find_pause_s(state.last, now)
            if length_s is not None:
                # Time continues where it stood at the last reading by the thread or by a caller.
                stood_s = max(state.last.monotonic_s - state.excluded_s, self._latest_s)
                state = self._state = _State(now, max(now.monotonic_s - stood_s, state.excluded_s))
                self._pauses.append(Pause(length_s, now.monotonic_s - state.excluded_s))
                self._unlogged.append(length_s)
            return state, now


def _log_pause(paused_s: float) -> None:
    import structlog  # noqa: PLC0415  # the commands that call a controller do not need it

    log = structlog.get_logger("dagengine.engine")
    log.warning("process_suspended", paused_s=round(paused_s, 1))
