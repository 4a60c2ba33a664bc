"""The event loop of a controller: calls with a long delay are made together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from dagengine.runtime.timers import run_in_process_time


@dataclass(frozen=True, slots=True)
class Call:
    """A scheduled call, in instants of the loop's clock.

    Attributes:
        earliest_s: the exact instant, counted from just before it was scheduled.
        latest_s: the exact instant, counted from just after that.
        made_s: when the loop makes the call.
    """

    earliest_s: float
    latest_s: float
    made_s: float


def schedule(delays_s: Sequence[float]) -> list[Call]:
    async def run() -> list[Call]:
        loop, calls = asyncio.get_running_loop(), []
        for delay_s in delays_s:
            before_s = loop.time()
            timer = loop.call_later(delay_s, lambda: None)
            calls.append(Call(before_s + delay_s, loop.time() + delay_s, timer.when()))
            timer.cancel()
        return calls

    return run_in_process_time(run())


@pytest.mark.parametrize("delay_s", [5.0, 20.0, 3600.0])
def test_calls_with_long_delays_are_made_together(delay_s: float) -> None:
    calls = schedule([delay_s + number / 400 for number in range(200)])  # within 0.5 s
    assert len({call.made_s for call in calls}) < 10
    assert all(call.earliest_s <= call.made_s < call.latest_s + 0.5 for call in calls)


@pytest.mark.parametrize("delay_s", [0.0, 0.3, 4.9])
def test_calls_with_short_delays_are_exact(delay_s: float) -> None:
    (call,) = schedule([delay_s])
    assert call.earliest_s <= call.made_s <= call.latest_s


def test_timeouts_are_exact() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        async with asyncio.timeout(7.3) as timeout:
            await asyncio.sleep(0)
            expires_s = timeout.when()
        assert expires_s is not None
        assert before_s + 7.3 <= expires_s <= loop.time() + 7.3

    run_in_process_time(run())
