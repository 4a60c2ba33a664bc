"""Replay protection: recorded keys are rejected, with bounded memory, across restarts."""

from __future__ import annotations

import asyncio

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.security.errors import HeaderNotNewer, HeaderReplayed, TooManyRequests
from dagengine.security.replay import (
    MAX_AHEAD_S,
    HeaderFingerprint,
    ReplayGuard,
    Reservation,
    find_newest_expired,
    fingerprint_header,
)
from dagengine.testing import FakeClock
from tests.support.replay_log import MemoryLog

BLOCK = 128
KEYS, OTHER_KEYS = bytes(range(32)), bytes(range(1, 33))


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


# --- a wrong clock -------------------------------------------------------------------------------

HOUR_S = 3600


class WrongClockCase:
    """A controller whose clock is wrong for some time, and a recorded request."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog()
        self.guard = ReplayGuard(self.clock, self.log, public_key="first")
        self._number = 0

    async def send_new(self, valid_s: int = 60) -> None:
        """Accept a request that was not sent before."""
        self._number += 1
        keys = self._number.to_bytes(32, "big")
        await self.guard.reserve(
            fingerprint(self._number, keys=keys), until_s=now_s(self.clock) + valid_s
        )

    async def record(self) -> int:
        """Accept the request that is replayed later; return its `ts`."""
        until_s = now_s(self.clock) + MAX_AHEAD_S
        await self.guard.reserve(fingerprint(200, keys=OTHER_KEYS), until_s=until_s)
        return until_s

    async def assert_replay_is_refused(self, until_s: int) -> None:
        with pytest.raises((HeaderReplayed, HeaderNotNewer)):
            await self.guard.reserve(fingerprint(200, keys=OTHER_KEYS), until_s=until_s)

    async def restart(self, public_key: str = "first") -> None:
        self.guard = ReplayGuard(self.clock, self.log, public_key=public_key)
        await self.guard.load()

    async def run_for(self, seconds: int) -> None:
        """Let time pass while requests arrive."""
        for _ in range(seconds // 60):
            self.clock.advance(60)
            await self.send_new()


@pytest.fixture
def case() -> WrongClockCase:
    return WrongClockCase()


@pytest.mark.parametrize("ahead_s", [MAX_AHEAD_S + 301, HOUR_S, 86_400, 10**9])
@pytest.mark.parametrize("restarts", [False, True])
async def test_replay_guard_after_clock_was_ahead_refuses_replay(
    case: WrongClockCase, ahead_s: int, restarts: bool
) -> None:
    until_s = await case.record()
    case.clock.advance(61)
    case.clock.jump(ahead_s)
    if restarts:
        await case.restart()
    await case.send_new()
    case.clock.jump(-ahead_s)
    if restarts:
        await case.restart()
    await case.assert_replay_is_refused(until_s)
    await case.send_new()


@pytest.mark.parametrize("restarts", [False, True])
async def test_replay_guard_clock_set_back_refuses_discarded_request(
    case: WrongClockCase, restarts: bool
) -> None:
    until_s = await case.record()
    await case.run_for(2 * HOUR_S)
    assert len(case.log.rows) < 40, "the recorded request is no longer stored"
    case.clock.jump(-2 * HOUR_S)
    if restarts:
        await case.restart()
    await case.assert_replay_is_refused(until_s)
    with pytest.raises(HeaderNotNewer, match="was set back"):
        await case.send_new()
    case.clock.advance(2 * HOUR_S)
    await case.send_new()


async def test_replay_guard_clock_long_ahead_refuses_replay(case: WrongClockCase) -> None:
    until_s = await case.record()
    case.clock.jump(HOUR_S)
    await case.run_for(HOUR_S)
    case.clock.jump(-2 * HOUR_S)
    await case.assert_replay_is_refused(until_s)


async def test_replay_guard_restart_keeps_entry_for_longest_validity(
    case: WrongClockCase,
) -> None:
    """The monotonic bound restarts with the process."""
    until_s = await case.record()
    case.clock.advance(60)
    case.clock.jump(HOUR_S)
    await case.restart()
    await case.run_for(MAX_AHEAD_S)
    case.clock.jump(-HOUR_S)
    await case.assert_replay_is_refused(until_s)
    await case.send_new()


async def test_replay_guard_small_clock_correction_is_harmless(case: WrongClockCase) -> None:
    await case.run_for(2 * HOUR_S)
    case.clock.jump(-300)
    await case.send_new()


async def test_replay_guard_new_key_forgets_newest_discarded(case: WrongClockCase) -> None:
    await case.run_for(2 * HOUR_S)
    case.clock.jump(-2 * HOUR_S)
    await case.restart()
    with pytest.raises(HeaderNotNewer):
        await case.send_new()
    await case.restart("second")
    await case.send_new()


@pytest.mark.parametrize(
    ("reservations", "newest_s"),
    [
        ([], None),
        ([(99, 0.0)], 99),
        ([(100, 0.0)], None),  # not expired by the wall clock
        ([(99, 50.5)], None),  # nor by the monotonic clock
        ([(98, 50.0), (99, 0.0)], 99),
        ([(97, 0.0), (98, 60.0), (99, 0.0)], 97),  # 99 would discard 98 as well
        ([(97, 60.0), (98, 0.0)], None),
        ([(98, 0.0), (98, 60.0)], None),  # of two requests
        ([(98, 0.0), (2000, 60.0)], 98),
    ],
)
def test_find_newest_expired_requires_both_clocks(
    reservations: list[tuple[int, float]], newest_s: int | None
) -> None:
    entries = [Reservation(*entry) for entry in reservations]
    assert find_newest_expired(entries, now_s=100, monotonic_s=50.0) == newest_s
