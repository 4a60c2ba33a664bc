"""Failed logins cost the address that makes them time, and no other address anything."""

from __future__ import annotations

import pytest

from dagengine.security.errors import TooManyFailures
from dagengine.security.login_throttle import FREE_FAILURES, LoginBackoff
from dagengine.testing import FakeClock

HERE, THERE = "192.0.2.1", "192.0.2.2"


def fail(backoff: LoginBackoff, address: str, times: int) -> None:
    for _ in range(times):
        backoff.note_failure(address)


def pause_of(backoff: LoginBackoff, address: str) -> int:
    """Whole seconds that the address has to wait; 0 for none."""
    try:
        backoff.ensure_not_paused(address)
    except TooManyFailures as exc:
        return exc.retry_after_s
    return 0


def test_a_few_failures_cost_nothing() -> None:
    backoff = LoginBackoff(FakeClock())
    fail(backoff, HERE, FREE_FAILURES - 1)
    assert pause_of(backoff, HERE) == 0


def test_the_pause_doubles_up_to_a_minute() -> None:
    clock = FakeClock()
    backoff = LoginBackoff(clock)
    fail(backoff, HERE, FREE_FAILURES - 1)
    pauses = []
    for _ in range(8):
        backoff.note_failure(HERE)
        pauses.append(pause_of(backoff, HERE))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_no_other_address_has_to_pause() -> None:
    backoff = LoginBackoff(FakeClock())
    fail(backoff, HERE, 100)
    assert pause_of(backoff, HERE) > 0
    assert pause_of(backoff, THERE) == 0


def test_after_the_pause_a_login_is_looked_at_again_although_it_was_tried_meanwhile() -> None:
    clock = FakeClock()
    backoff = LoginBackoff(clock)
    fail(backoff, HERE, 100)
    for _ in range(60):
        assert pause_of(backoff, HERE) > 0
        clock.advance(1)
    assert pause_of(backoff, HERE) == 0


def test_three_failures_a_minute_may_go_on_for_ever() -> None:
    clock = FakeClock()
    backoff = LoginBackoff(clock)
    for _ in range(1000):
        backoff.note_failure(HERE)
        clock.advance(20)
        assert pause_of(backoff, HERE) == 0


def test_one_network_of_ipv6_is_one_address() -> None:
    backoff = LoginBackoff(FakeClock())
    for host in range(FREE_FAILURES):
        backoff.note_failure(f"2001:db8:1:2::{host:x}")
    assert pause_of(backoff, "2001:db8:1:2:ffff::1") == 1
    assert pause_of(backoff, "2001:db8:1:3::1") == 0
    fail(backoff, "::ffff:192.0.2.9", FREE_FAILURES)
    assert pause_of(backoff, "192.0.2.9") == 1
    assert pause_of(backoff, "::ffff:192.0.2.8") == 0


@pytest.mark.parametrize("address", ["", "unix", "fe80::1%eth0", "a:b"])
def test_any_text_may_be_an_address(address: str) -> None:
    backoff = LoginBackoff(FakeClock())
    fail(backoff, address, FREE_FAILURES)
    assert pause_of(backoff, address) == 1


def test_only_so_many_addresses_are_remembered_and_the_oldest_failure_goes_first() -> None:
    backoff = LoginBackoff(FakeClock(), max_addresses=3)
    for address in ("a", "b", "c"):
        fail(backoff, address, FREE_FAILURES)
    backoff.note_failure("a")
    backoff.note_failure("d")
    assert [pause_of(backoff, a) > 0 for a in ("a", "b", "c")] == [True, False, True]
