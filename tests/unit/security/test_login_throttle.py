"""Failed logins throttle the client address that makes them, and no other address."""

from __future__ import annotations

import pytest

from dagengine.security.errors import TooManyFailures
from dagengine.security.login_throttle import FREE_FAILURES, LoginBackoff
from dagengine.testing import FakeClock

ADDRESS, OTHER_ADDRESS = "192.0.2.1", "192.0.2.2"


def fail(backoff: LoginBackoff, address: str, times: int) -> None:
    for _ in range(times):
        backoff.note_failure(address)


def pause_of(backoff: LoginBackoff, address: str) -> int:
    """Return the remaining pause of an address in whole seconds; 0 if it may log in."""
    try:
        backoff.ensure_not_paused(address)
    except TooManyFailures as exc:
        return exc.retry_after_s
    return 0


def test_login_backoff_few_failures_do_not_pause() -> None:
    backoff = LoginBackoff(FakeClock())
    fail(backoff, ADDRESS, FREE_FAILURES - 1)
    assert pause_of(backoff, ADDRESS) == 0


def test_login_backoff_pause_doubles_up_to_one_minute() -> None:
    clock = FakeClock()
    backoff = LoginBackoff(clock)
    fail(backoff, ADDRESS, FREE_FAILURES - 1)
    pauses = []
    for _ in range(8):
        backoff.note_failure(ADDRESS)
        pauses.append(pause_of(backoff, ADDRESS))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_login_backoff_other_address_is_not_paused() -> None:
    backoff = LoginBackoff(FakeClock())
    fail(backoff, ADDRESS, 100)
    assert pause_of(backoff, ADDRESS) > 0
    assert pause_of(backoff, OTHER_ADDRESS) == 0


def test_login_backoff_attempt_during_pause_does_not_extend_it() -> None:
    clock = FakeClock()
    backoff = LoginBackoff(clock)
    fail(backoff, ADDRESS, 100)
    for _ in range(60):
        assert pause_of(backoff, ADDRESS) > 0
        clock.advance(1)
    assert pause_of(backoff, ADDRESS) == 0


def test_login_backoff_three_failures_per_minute_never_pause() -> None:
    clock = FakeClock()
    backoff = LoginBackoff(clock)
    for _ in range(1000):
        backoff.note_failure(ADDRESS)
        clock.advance(20)
        assert pause_of(backoff, ADDRESS) == 0


def test_login_backoff_ipv6_network_counts_as_one_address() -> None:
    backoff = LoginBackoff(FakeClock())
    for host in range(FREE_FAILURES):
        backoff.note_failure(f"2001:db8:1:2::{host:x}")
    assert pause_of(backoff, "2001:db8:1:2:ffff::1") == 1
    assert pause_of(backoff, "2001:db8:1:3::1") == 0
    fail(backoff, "::ffff:192.0.2.9", FREE_FAILURES)
    assert pause_of(backoff, "192.0.2.9") == 1
    assert pause_of(backoff, "::ffff:192.0.2.8") == 0


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.255.3.7", "::1", "::ffff:127.0.0.1", "::ffff:127.9.9.9"]
)
def test_login_backoff_loopback_counts_as_one_address(address: str) -> None:
    backoff = LoginBackoff(FakeClock())
    for number in range(FREE_FAILURES):
        backoff.note_failure(f"127.0.{number}.1")
    assert pause_of(backoff, address) == 1
    assert [pause_of(backoff, other) for other in (ADDRESS, "128.0.0.1", "::2", "0.0.0.1")] == [
        0
    ] * 4


@pytest.mark.parametrize("address", ["", "unix", "fe80::1%eth0", "a:b"])
def test_login_backoff_accepts_any_text_as_address(address: str) -> None:
    backoff = LoginBackoff(FakeClock())
    fail(backoff, address, FREE_FAILURES)
    assert pause_of(backoff, address) == 1


def test_login_backoff_at_capacity_forgets_oldest_failure() -> None:
    backoff = LoginBackoff(FakeClock(), max_addresses=3)
    for address in ("a", "b", "c"):
        fail(backoff, address, FREE_FAILURES)
    backoff.note_failure("a")
    backoff.note_failure("d")
    assert [pause_of(backoff, a) > 0 for a in ("a", "b", "c")] == [True, False, True]
