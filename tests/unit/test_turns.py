"""Turns: two logins of one address at once; a refusal of one that has to pause keeps its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dagengine.security.errors import HeaderDecryptFailed, TooManyFailures
from dagengine.security.login_throttle import LoginLimiter
from dagengine.testing import Latch

ATTACKER, OTHER = "192.0.2.1", "192.0.2.2"
SAME_NETWORK = ("2001:db8::1", "2001:db8::2:1")


class Transport:
    """Judges logins in turn; writes down whose turn came."""

    def __init__(self) -> None:
        self.gate = Latch()  # what a refusal lingers at
        self.judged: list[str] = []
        self._turns = LoginLimiter(self.gate.wait)

    async def judge(self, address: str, error: Callable[[], Exception] | None = None) -> None:
        async with self._turns.take(address):
            self.judged.append(address)
            if error is not None:
                raise error()

    async def confirm_stopped(self) -> None:
        """Until everything that can go on has."""
        for _ in range(20):
            await asyncio.sleep(0)


def pause() -> Exception:
    return TooManyFailures(1.0)


async def finish(*tasks: asyncio.Task[None]) -> list[BaseException | None]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks, return_exceptions=True)


def begin(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine, name="a login")


async def test_refusals_of_one_address_come_two_at_a_time_and_no_other_address_waits() -> None:
    door = Transport()
    refused = [begin(door.judge(ATTACKER, pause)) for _ in range(5)]
    await door.confirm_stopped()
    assert door.judged == [ATTACKER] * 2
    assert not any(task.done() for task in refused)
    await door.judge(OTHER)
    assert door.judged == [ATTACKER] * 2 + [OTHER]
    door.gate.open()
    assert all(isinstance(end, TooManyFailures) for end in await finish(*refused))
    assert door.judged.count(ATTACKER) == 5


async def test_one_network_of_ipv6_has_the_turns_of_one_address() -> None:
    door = Transport()
    refused = [begin(door.judge(SAME_NETWORK[n % 2], pause)) for n in range(4)]
    await door.confirm_stopped()
    assert len(door.judged) == 2
    door.gate.open()
    await finish(*refused)


@pytest.mark.parametrize("error", [None, HeaderDecryptFailed])
async def test_who_need_not_pause_gives_the_turn_back_at_once(
    error: Callable[[], Exception] | None,
) -> None:
    door = Transport()
    await finish(*(begin(door.judge(ATTACKER, error)) for _ in range(5)))
    assert len(door.judged) == 5
    assert not door.gate.reached.is_set()


async def test_who_goes_away_while_it_is_refused_leaves_its_turn() -> None:
    door = Transport()
    refused = [begin(door.judge(ATTACKER, pause)) for _ in range(3)]
    await door.confirm_stopped()
    for task in refused[:2]:
        task.cancel()
    await door.confirm_stopped()
    assert len(door.judged) == 3
    door.gate.open()
    await finish(*refused)
    await door.judge(ATTACKER)
