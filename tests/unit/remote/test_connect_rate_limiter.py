"""The rate of new connections, and the number of concurrent logins."""

from __future__ import annotations

from random import Random

from dagengine.remote.ssh.connection import ConnectRateLimiter
from dagengine.testing import FakeClock


def test_connect_rate_limiter_burst_is_immediate_then_limited() -> None:
    limiter = ConnectRateLimiter(FakeClock(), Random(1), per_s=100, burst=10)
    delays = [limiter.delay_s() for _ in range(110)]
    assert delays[:6] == [0.0] * 6
    assert delays == sorted(delays)
    assert 0.8 < delays[-1] < 1.2


def test_connect_rate_limiter_idle_time_restores_burst() -> None:
    clock = FakeClock()
    limiter = ConnectRateLimiter(clock, Random(1), per_s=100, burst=10)
    for _ in range(50):
        limiter.delay_s()
    clock.advance(10)
    assert [limiter.delay_s() for _ in range(6)] == [0.0] * 6
