"""The clock of the test kit: its time-outs and timers end when it moves, and only then."""

from __future__ import annotations

import asyncio

import pytest

from dagengine.runtime.clock import SystemClock
from dagengine.runtime.timers import Timers
from dagengine.testing import FakeClock


async def end_of_time_out(clock: FakeClock, limit_s: float, steps: list[float]) -> list[float]:
    """Return the elapsed times of the clock at which a block of a time limit ended."""
    started = asyncio.Event()
    ends: list[float] = []

    async def block() -> None:
        try:
            async with clock.timeout(limit_s):
                started.set()
                await asyncio.Event().wait()
        except TimeoutError:
            ends.append(clock.monotonic_s())

    task = asyncio.create_task(block())
    await started.wait()
    for step in steps:
        clock.advance(step)
        for _ in range(5):
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return ends


@pytest.mark.parametrize(
    ("limit_s", "steps", "ends"),
    [
        (10.0, [9.0], []),
        (10.0, [9.0, 1.0], [10.0]),
        (10.0, [100.0], [100.0]),
        (1e9, [1e8], []),
    ],
)
async def test_fake_clock_advance_expires_time_out(
    limit_s: float, steps: list[float], ends: list[float]
) -> None:
    assert await end_of_time_out(FakeClock(), limit_s, steps) == ends


async def test_fake_clock_jump_expires_no_time_out() -> None:
    clock = FakeClock()
    async with clock.timeout(1):
        clock.jump(3600)
        await asyncio.sleep(0)


async def test_fake_clock_ended_time_out_is_ignored() -> None:
    clock = FakeClock()
    async with clock.timeout(1):
        pass
    clock.advance(2)
    await asyncio.sleep(0)


async def test_fake_clock_timers_run_in_order_at_their_times() -> None:
    clock, calls = FakeClock(), []
    for delay_s in (3.0, 1.0, 2.0):
        Timers(clock).call_later(delay_s, lambda: calls.append(clock.monotonic_s()))
    Timers(clock).call_later(1.5, lambda: calls.append(-1.0)).cancel()
    clock.advance(2.5)
    assert calls == [1.0, 2.0]
    assert clock.monotonic_s() == 2.5
    clock.advance(1)
    assert calls == [1.0, 2.0, 3.0]


async def test_system_clock_uses_timers_of_event_loop() -> None:
    with pytest.raises(TimeoutError):
        async with Timers(SystemClock()).timeout(0.01):
            await asyncio.Event().wait()
    called = asyncio.Event()
    Timers(SystemClock()).call_later(0, called.set)
    await called.wait()
