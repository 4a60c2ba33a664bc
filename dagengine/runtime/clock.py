"""The clocks. Only this module and `dagengine.client.signing` read the system time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Source of time; passed as an argument, so that tests can control it."""

    def now(self) -> datetime:
        """Return the wall clock time, aware and in UTC. It may jump; for display and storage."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never decrease; for durations and deadlines."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()
