"""How fast connections are started, and how many hosts at once are logged in to."""

from __future__ import annotations

from random import Random

from dagengine.remote.ssh.connection import ConnectRateLimiter
from dagengine.testing import FakeClock


def test_a_burst_starts_at_once_and_the_rest_at_the_rate_of_the_long_run() -> None:
    pacing = ConnectRateLimiter(FakeClock(), Random(1), per_s=100, burst=10)
    delays = [pacing.delay_s() for _ in range(110)]
    assert delays[:6] == [0.0] * 6
    assert delays == sorted(delays)
    assert 0.8 < delays[-1] < 1.2


def test_after_a_pause_a_new_burst_is_free() -> None:
    clock = FakeClock()
    pacing = ConnectRateLimiter(clock, Random(1), per_s=100, burst=10)
    for _ in range(50):
        pacing.delay_s()
    clock.advance(10)
    assert [pacing.delay_s() for _ in range(6)] == [0.0] * 6
