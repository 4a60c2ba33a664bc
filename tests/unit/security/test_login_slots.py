"""Login slots: two concurrent logins per address; delayed rejections keep their slot."""

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


class LoginRecorder:
    """Checks logins in order, and records them."""

    def __init__(self) -> None:
        self.latch = Latch()  # delays rejections
        self.attempted: list[str] = []
        self._turns = LoginLimiter(self.latch.wait)

    async def attempt(self, address: str, error: Callable[[], Exception] | None = None) -> None:
        async with self._turns.take(address):
            self.attempted.append(address)
            if error is not None:
                raise error()

    async def run_pending(self) -> None:
        """Run the event loop until all tasks have ended or wait."""
        for _ in range(20):
            await asyncio.sleep(0)


def pause_error() -> Exception:
    return TooManyFailures(1.0)


async def finish(*tasks: asyncio.Task[None]) -> list[BaseException | None]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks, return_exceptions=True)


def start_login(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine, name="a login")


async def test_login_limiter_address_has_two_slots() -> None:
    recorder = LoginRecorder()
    refused = [start_login(recorder.attempt(ATTACKER, pause_error)) for _ in range(5)]
    await recorder.run_pending()
    assert recorder.attempted == [ATTACKER] * 2
    assert not any(task.done() for task in refused)
    await recorder.attempt(OTHER)
    assert recorder.attempted == [ATTACKER] * 2 + [OTHER]
    recorder.latch.open()
    assert all(isinstance(end, TooManyFailures) for end in await finish(*refused))
    assert recorder.attempted.count(ATTACKER) == 5


async def test_login_limiter_ipv6_network_shares_slots() -> None:
    recorder = LoginRecorder()
    refused = [start_login(recorder.attempt(SAME_NETWORK[n % 2], pause_error)) for n in range(4)]
    await recorder.run_pending()
    assert len(recorder.attempted) == 2
    recorder.latch.open()
    await finish(*refused)


@pytest.mark.parametrize("error", [None, HeaderDecryptFailed])
async def test_login_limiter_without_pause_releases_slot_at_once(
    error: Callable[[], Exception] | None,
) -> None:
    recorder = LoginRecorder()
    await finish(*(start_login(recorder.attempt(ATTACKER, error)) for _ in range(5)))
    assert len(recorder.attempted) == 5
    assert not recorder.latch.reached.is_set()


async def test_login_limiter_cancelled_login_releases_slot() -> None:
    recorder = LoginRecorder()
    refused = [start_login(recorder.attempt(ATTACKER, pause_error)) for _ in range(3)]
    await recorder.run_pending()
    for task in refused[:2]:
        task.cancel()
    await recorder.run_pending()
    assert len(recorder.attempted) == 3
    recorder.latch.open()
    await finish(*refused)
    await recorder.attempt(ATTACKER)
