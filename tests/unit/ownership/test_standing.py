"""When commands may be sent to hosts."""

from __future__ import annotations

import asyncio

import pytest

from dagengine.errors import ConfigError
from dagengine.ownership.standing import Standing
from dagengine.ownership.timings import Timings
from dagengine.testing import FakeClock

TIMINGS = Timings(lease_s=2.5)


def test_standing_ends_before_lease_with_margin() -> None:
    clock = FakeClock()
    standing = Standing(clock, TIMINGS)
    assert not standing.may_act
    standing.renew(clock.boot_s())
    clock.advance(1.69)
    assert standing.may_act
    clock.advance(0.02)
    assert not standing.may_act


def test_standing_counts_from_sending_of_heartbeat() -> None:
    clock = FakeClock()
    standing = Standing(clock, TIMINGS)
    sent_s = clock.boot_s()
    clock.advance(1.5)
    standing.renew(sent_s)
    clock.advance(0.3)
    assert not standing.may_act


def test_standing_ignores_older_heartbeat() -> None:
    clock = FakeClock()
    standing = Standing(clock, TIMINGS)
    clock.advance(5)
    standing.renew(clock.boot_s())
    standing.renew(0.0)
    assert standing.may_act


def test_fenced_standing_is_never_renewed() -> None:
    clock = FakeClock()
    standing = Standing(clock, TIMINGS)
    standing.renew(clock.boot_s())
    standing.fence()
    standing.renew(clock.boot_s())
    assert not standing.may_act
    assert standing.age_s is None


async def test_wait_until_allowed_ends_with_next_heartbeat() -> None:
    clock = FakeClock()
    standing = Standing(clock, TIMINGS)
    standing.renew(clock.boot_s())
    await standing.wait_until_allowed()
    clock.advance(2)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(standing.wait_until_allowed(), name="step")
        await asyncio.sleep(0)
        standing.renew(0.1)  # too old
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        standing.renew(clock.boot_s())


@pytest.mark.parametrize("lease_s", [1.9, 60.1])
def test_lease_out_of_range_is_refused(lease_s: float) -> None:
    with pytest.raises(ConfigError, match="it must be 2"):
        Timings(lease_s=lease_s)
