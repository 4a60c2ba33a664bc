"""The clocks. Only this module and `dagengine.client.signing` read the system time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from dagengine.runtime.pauses import ProcessTime, Reading

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # only Linux has it


class Clock(Protocol):
    """Source of time; passed as an argument, so that tests can control it."""

    def now(self) -> datetime:
        """Return the wall clock time, aware and in UTC. It may jump; for display and storage."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never decrease; for durations and deadlines."""
        ...


class BootClock(Protocol):
    """The time of this machine since its start, time in suspension included.

    A lease counts pauses of the process, unlike `Clock.monotonic_s`.
    """

    def boot_s(self) -> float:
        """Return seconds of CLOCK_BOOTTIME."""
        ...


class SystemClock:
    """The clocks of this machine. While an engine runs, pauses of the process do not count."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return PROCESS_TIME.monotonic_s()

    def boot_s(self) -> float:
        return time.clock_gettime(_BOOT)


def _read() -> Reading:
    return Reading(time.monotonic(), time.clock_gettime(_BOOT))


PROCESS_TIME = ProcessTime(_read)
"""The time of this process: a pause stops all of it, so there is one for all clocks and loops."""
