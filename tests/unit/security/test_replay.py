"""Replay protection: recorded keys are rejected, with bounded memory, across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.security.errors import HeaderReplayed, TooManyRequests
from dagengine.security.replay import HeaderFingerprint, ReplayGuard, fingerprint_header
from dagengine.testing import FakeClock

BLOCK = 128
KEYS, OTHER_KEYS = bytes(range(32)), bytes(range(1, 33))


class MemoryLog:
    """An in-memory store of fingerprints."""

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


def fingerprint(*blocks: int, keys: bytes = KEYS) -> HeaderFingerprint:
    return fingerprint_header(header(*blocks), BLOCK, keys)


def now_s(clock: FakeClock) -> int:
    return int(clock.now().timestamp())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_replay_guard_repeated_keys_or_block_are_rejected(clock: FakeClock) -> None:
    guard = ReplayGuard(clock)
    until_s = now_s(clock) + 60
    await guard.reserve(fingerprint(1, 2), until_s=until_s)
    for repeated in (
        fingerprint(1, 2),
        fingerprint(3, 4),  # the same keys in a header of their own
        fingerprint(1, 9, keys=OTHER_KEYS),  # a recorded block before another client's blocks
        fingerprint(9, 2, keys=b""),
    ):
        with pytest.raises(HeaderReplayed):
            await guard.reserve(repeated, until_s=until_s)
    await guard.reserve(fingerprint(5, 6, keys=OTHER_KEYS), until_s=until_s)


async def test_replay_guard_without_keys_compares_headers(clock: FakeClock) -> None:
    guard = ReplayGuard(clock)
    for keys in (b"", b"short"):
        first, second = len(keys), len(keys) + 20
        await guard.reserve(fingerprint(first, keys=keys), until_s=now_s(clock))
        await guard.reserve(fingerprint(second, keys=keys), until_s=now_s(clock))
        with pytest.raises(HeaderReplayed):
            await guard.reserve(fingerprint(first, keys=keys), until_s=now_s(clock))


async def test_replay_guard_concurrent_duplicates_pass_once(clock: FakeClock) -> None:
    guard = ReplayGuard(clock, MemoryLog())
    results = await asyncio.gather(
        *(guard.reserve(fingerprint(1), until_s=now_s(clock) + 60) for _ in range(5)),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, HeaderReplayed) for result in results) == 4


async def test_replay_guard_restart_keeps_unexpired_entries(clock: FakeClock) -> None:
    log = MemoryLog()
    await ReplayGuard(clock, log).reserve(fingerprint(1), until_s=now_s(clock) + 60)
    clock.advance(61)
    guard = ReplayGuard(clock, log)
    await guard.load()
    with pytest.raises(HeaderReplayed):  # its ts has passed, but the clock may be set back
        await guard.reserve(fingerprint(1), until_s=now_s(clock))


async def test_replay_guard_expired_entries_are_discarded(clock: FakeClock) -> None:
    log = MemoryLog()
    guard = ReplayGuard(clock, log, limit=4)
    for number in range(40):
        keys = bytes([number]) * 32
        await guard.reserve(fingerprint(100 + number, keys=keys), until_s=now_s(clock) + 60)
        clock.advance(361)
    assert len(log.rows) <= 4


async def test_replay_guard_failed_write_rejects_header_for_good(clock: FakeClock) -> None:
    log = MemoryLog()
    log.is_broken = True
    guard = ReplayGuard(clock, log)
    with pytest.raises(StoreUnavailable):
        await guard.reserve(fingerprint(1), until_s=now_s(clock) + 60)
    log.is_broken = False
    with pytest.raises(HeaderReplayed):
        await guard.reserve(fingerprint(1), until_s=now_s(clock) + 60)


async def test_replay_guard_at_limit_rejects_until_expiry(
    clock: FakeClock,
) -> None:
    guard = ReplayGuard(clock, limit=4)
    for number in (1, 2):
        await guard.reserve(
            fingerprint(number, keys=bytes([number]) * 32), until_s=now_s(clock) + 60
        )
    with pytest.raises(TooManyRequests):
        await guard.reserve(fingerprint(3, keys=OTHER_KEYS), until_s=now_s(clock) + 60)
    clock.advance(361)
    await guard.reserve(fingerprint(3, keys=OTHER_KEYS), until_s=now_s(clock) + 60)


async def test_replay_guard_unauthenticated_headers_are_bounded(clock: FakeClock) -> None:
    log = MemoryLog()
    guard = ReplayGuard(clock, log, limit=100)
    for number in range(200):
        guard.note_try(fingerprint(number, keys=bytes([number]) * 32))
    assert log.rows == {}
    await guard.reserve(fingerprint(250, keys=OTHER_KEYS), until_s=now_s(clock) + 60)
    with pytest.raises(HeaderReplayed):  # the newest attempts are known
        guard.note_try(fingerprint(251, keys=bytes([199]) * 32))
    guard.note_try(fingerprint(252, keys=bytes([0]) * 32))  # the oldest are not


async def test_replay_guard_known_keys_are_rejected_before_decryption(
    clock: FakeClock,
) -> None:
    guard = ReplayGuard(clock)
    await guard.reserve(fingerprint(1), until_s=now_s(clock) + 60)
    with pytest.raises(HeaderReplayed):
        guard.note_try(fingerprint(2))
    guard.note_try(fingerprint(3, keys=OTHER_KEYS))
    with pytest.raises(HeaderReplayed):
        guard.note_try(fingerprint(4, keys=OTHER_KEYS))
    with pytest.raises(HeaderReplayed):
        await guard.reserve(fingerprint(5, keys=OTHER_KEYS), until_s=now_s(clock) + 60)


async def test_replay_guard_read_may_repeat_but_not_in_other_request(
    clock: FakeClock,
) -> None:
    guard = ReplayGuard(clock)
    guard.note_read(fingerprint(1, 2))
    guard.note_read(fingerprint(1, 2))
    with pytest.raises(HeaderReplayed):
        guard.note_read(fingerprint(1, 9))
    with pytest.raises(HeaderReplayed):
        await guard.reserve(fingerprint(1, 9, keys=OTHER_KEYS), until_s=now_s(clock) + 60)
    await guard.reserve(fingerprint(5, keys=OTHER_KEYS), until_s=now_s(clock) + 60)
    with pytest.raises(HeaderReplayed):
        guard.note_read(fingerprint(5, 6))
