"""What was seen is refused, within bounds, over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.security.errors import HeaderReplayed, TooManyRequests
from dagengine.security.replay import HeaderFingerprint, ReplayGuard, sight
from dagengine.testing import FakeClock

BLOCK = 128
KEYS, OTHER_KEYS = bytes(range(32)), bytes(range(1, 33))


class MemoryLog:
    """What a store keeps."""

    def __init__(self) -> None:
        self.rows: dict[bytes, datetime] = {}
        self.is_broken = False
        self.written = asyncio.Event()

    async def reserve(self, prints: Sequence[bytes], until: datetime, now: datetime) -> None:
        if self.is_broken:
            raise StoreUnavailable("full")
        await asyncio.sleep(0)
        self.rows = {p: at for p, at in self.rows.items() if at >= now}
        self.rows |= dict.fromkeys(prints, until)
        self.written.set()

    async def load_reserved(self) -> Sequence[tuple[bytes, datetime]]:
        return list(self.rows.items())


def header(*blocks: int) -> bytes:
    return b"".join(bytes([block]) * BLOCK for block in blocks)


def seen(*blocks: int, keys: bytes = KEYS) -> HeaderFingerprint:
    return sight(header(*blocks), BLOCK, keys)


def now_s(clock: FakeClock) -> int:
    return int(clock.now().timestamp())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_the_same_keys_or_a_block_of_the_same_header_act_once(clock: FakeClock) -> None:
    guard = ReplayGuard(clock)
    until_s = now_s(clock) + 60
    await guard.reserve(seen(1, 2), until_s=until_s)
    for again in (
        seen(1, 2),
        seen(3, 4),  # the same keys in a header of its own
        seen(1, 9, keys=OTHER_KEYS),  # a recorded block before blocks of somebody else
        seen(9, 2, keys=b""),
    ):
        with pytest.raises(HeaderReplayed):
            await guard.reserve(again, until_s=until_s)
    await guard.reserve(seen(5, 6, keys=OTHER_KEYS), until_s=until_s)


async def test_requests_without_keys_are_told_apart_by_their_headers(clock: FakeClock) -> None:
    guard = ReplayGuard(clock)
    for keys in (b"", b"short"):
        first, second = len(keys), len(keys) + 20
        await guard.reserve(seen(first, keys=keys), until_s=now_s(clock))
        await guard.reserve(seen(second, keys=keys), until_s=now_s(clock))
        with pytest.raises(HeaderReplayed):
            await guard.reserve(seen(first, keys=keys), until_s=now_s(clock))


async def test_of_two_that_come_together_one_is_refused(clock: FakeClock) -> None:
    guard = ReplayGuard(clock, MemoryLog())
    results = await asyncio.gather(
        *(guard.reserve(seen(1), until_s=now_s(clock) + 60) for _ in range(5)),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, HeaderReplayed) for result in results) == 4


async def test_a_restart_forgets_nothing_that_has_not_expired(clock: FakeClock) -> None:
    log = MemoryLog()
    await ReplayGuard(clock, log).reserve(seen(1), until_s=now_s(clock) + 60)
    clock.advance(61)
    guard = ReplayGuard(clock, log)
    await guard.load()
    with pytest.raises(HeaderReplayed):  # its ts has passed, but the clock may be set back
        await guard.reserve(seen(1), until_s=now_s(clock))


async def test_what_has_expired_is_dropped_here_and_in_the_log(clock: FakeClock) -> None:
    log = MemoryLog()
    guard = ReplayGuard(clock, log, limit=4)
    for number in range(40):
        keys = bytes([number]) * 32
        await guard.reserve(seen(100 + number, keys=keys), until_s=now_s(clock) + 60)
        clock.advance(361)
    assert len(log.rows) <= 4


async def test_what_could_not_be_written_does_not_act_not_even_later(clock: FakeClock) -> None:
    log = MemoryLog()
    log.is_broken = True
    guard = ReplayGuard(clock, log)
    with pytest.raises(StoreUnavailable):
        await guard.reserve(seen(1), until_s=now_s(clock) + 60)
    log.is_broken = False
    with pytest.raises(HeaderReplayed):
        await guard.reserve(seen(1), until_s=now_s(clock) + 60)


async def test_when_no_more_can_be_remembered_nothing_more_acts_until_some_has_expired(
    clock: FakeClock,
) -> None:
    guard = ReplayGuard(clock, limit=4)
    for number in (1, 2):
        await guard.reserve(seen(number, keys=bytes([number]) * 32), until_s=now_s(clock) + 60)
    with pytest.raises(TooManyRequests):
        await guard.reserve(seen(3, keys=OTHER_KEYS), until_s=now_s(clock) + 60)
    clock.advance(361)
    await guard.reserve(seen(3, keys=OTHER_KEYS), until_s=now_s(clock) + 60)


async def test_a_stranger_cannot_fill_what_is_durable_nor_the_memory(clock: FakeClock) -> None:
    log = MemoryLog()
    guard = ReplayGuard(clock, log, limit=100)
    for number in range(200):
        guard.note_try(seen(number, keys=bytes([number]) * 32))
    assert log.rows == {}
    await guard.reserve(seen(250, keys=OTHER_KEYS), until_s=now_s(clock) + 60)
    with pytest.raises(HeaderReplayed):  # the newest tries are known
        guard.note_try(seen(251, keys=bytes([199]) * 32))
    guard.note_try(seen(252, keys=bytes([0]) * 32))  # the oldest are not


async def test_a_strangers_body_with_keys_that_were_seen_is_not_decrypted(
    clock: FakeClock,
) -> None:
    guard = ReplayGuard(clock)
    await guard.reserve(seen(1), until_s=now_s(clock) + 60)
    with pytest.raises(HeaderReplayed):
        guard.note_try(seen(2))
    guard.note_try(seen(3, keys=OTHER_KEYS))
    with pytest.raises(HeaderReplayed):
        guard.note_try(seen(4, keys=OTHER_KEYS))
    with pytest.raises(HeaderReplayed):
        await guard.reserve(seen(5, keys=OTHER_KEYS), until_s=now_s(clock) + 60)


async def test_the_same_read_may_come_again_but_not_as_a_part_of_another_request(
    clock: FakeClock,
) -> None:
    guard = ReplayGuard(clock)
    guard.note_read(seen(1, 2))
    guard.note_read(seen(1, 2))
    with pytest.raises(HeaderReplayed):
        guard.note_read(seen(1, 9))
    with pytest.raises(HeaderReplayed):
        await guard.reserve(seen(1, 9, keys=OTHER_KEYS), until_s=now_s(clock) + 60)
    await guard.reserve(seen(5, keys=OTHER_KEYS), until_s=now_s(clock) + 60)
    with pytest.raises(HeaderReplayed):
        guard.note_read(seen(5, 6))
