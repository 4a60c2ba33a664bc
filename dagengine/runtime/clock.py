"""The only file that reads a clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from; passed in, so that tests can hold it."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC. May jump; for showing and storing."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back; for durations and deadlines."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()
