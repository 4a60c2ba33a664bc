"""Time of the process: pauses are left out, remembered and logged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from dagengine.runtime.pauses import GAP_S, ProcessTime, Reading, find_pause_s

START = Reading(1000.0, 5000.0)


class Clocks:
    """The clocks of a machine; `ProcessTime` reads them."""

    def __init__(self) -> None:
        self.reading = START

    def read(self) -> Reading:
        return self.reading

    def advance(self, monotonic_s: float, boot_s: float | None = None) -> None:
        now = self.reading
        boot_s = monotonic_s if boot_s is None else boot_s
        self.reading = Reading(now.monotonic_s + monotonic_s, now.boot_s + boot_s)


@contextmanager
def watched(clocks: Clocks) -> Iterator[ProcessTime]:
    """Watch with clocks that stand still: only the test's readings see them advance."""
    time = ProcessTime(clocks.read)
    with time.watching():
        yield time


@pytest.mark.parametrize(
    ("monotonic_s", "boot_s", "pause_s"),
    [
        (0.0, 0.0, None),
        (0.3, 0.3, None),
        (GAP_S, GAP_S, None),  # a busy machine
        (45.0, 45.0, 45.0),  # SIGSTOP, or a stopped virtual machine
        (0.3, 3600.0, 3600.0),  # a suspended laptop: its monotonic clock stops
        (3.0, 9.0, 9.0),
    ],
)
def test_find_pause_depends_on_boot_clock(
    monotonic_s: float, boot_s: float, pause_s: float | None
) -> None:
    now = Reading(START.monotonic_s + monotonic_s, START.boot_s + boot_s)
    assert find_pause_s(START, now) == pause_s


def test_process_time_does_not_count_pause() -> None:
    clocks = Clocks()
    with watched(clocks) as time:
        before_s = time.monotonic_s()
        clocks.advance(45.0)
        assert time.monotonic_s() == before_s
        assert time.paused_s(before_s) == 45.0
        clocks.advance(1.0)
        assert time.monotonic_s() - before_s == 1.0


def test_process_time_counts_reads_before_pause() -> None:
    clocks = Clocks()
    with watched(clocks) as time:
        before_s = time.monotonic_s()
        clocks.advance(GAP_S)
        assert time.monotonic_s() - before_s == GAP_S  # the thread has not run since
        clocks.advance(45.0)
        assert time.monotonic_s() - before_s == GAP_S


def test_process_time_never_decreases() -> None:
    clocks = Clocks()
    with watched(clocks) as time:
        readings = [time.monotonic_s()]
        for step_s in (1.0, 1.0, 0.5, 45.0, 0.1, 1.9, 0.2, 9.0, 0.0):
            clocks.advance(step_s)
            readings.append(time.monotonic_s())
    readings.append(time.monotonic_s())
    assert readings == sorted(readings)


def test_process_time_sums_pauses_since_instant() -> None:
    clocks = Clocks()
    with watched(clocks) as time:
        begun_s = time.monotonic_s()
        clocks.advance(30.0)
        time.beat()
        clocks.advance(1.0)
        time.beat()
        later_s = time.monotonic_s()
        clocks.advance(0.1, 12.0)
        assert time.paused_s(begun_s) == 42.0
        assert time.paused_s(later_s) == 12.0
        clocks.advance(1.0)
        assert time.paused_s(time.monotonic_s()) == 0


def test_process_time_counts_gap_without_watching() -> None:
    clocks = Clocks()
    time = ProcessTime(clocks.read)
    before_s = time.monotonic_s()
    clocks.advance(45.0)
    assert time.monotonic_s() - before_s == 45.0
    with time.watching():
        assert time.paused_s(before_s) == 0


def test_process_time_logs_each_pause_once() -> None:
    clocks = Clocks()
    with watched(clocks) as time, capture_logs() as lines:
        clocks.advance(45.0)
        time.monotonic_s()  # the loop notices the pause before the thread does
        time.beat()
        time.beat()
    assert [(line["event"], line["paused_s"]) for line in lines] == [("process_suspended", 45.0)]
