"""Limits on the logins of one address, without effect on other addresses.

`LoginBackoff` throttles an address after failed logins. `LoginLimiter` limits its concurrent
logins, so that it cannot occupy the RSA thread.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dagengine.runtime.clock import Clock
from dagengine.security.errors import TooManyFailures

FREE_FAILURES = 10
"""Number of failed logins without throttling: official clients send each rejected request two or
three times, and people mistype."""

_DRAIN_S = 20.0  # time after which one failure is no longer counted
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_MAX_ADDRESSES = 10_000
_IPV6_PREFIX = 64  # network of one customer, who can use all its addresses
_LOOPBACK = "loopback"
_AT_ONCE = 2  # enough to keep the one RSA thread busy
_LINGER_S = 0.005


@dataclass(slots=True)
class _Record:
    level: float  # failures that still count
    at_s: float
    until_s: float = 0.0


class LoginBackoff:
    """Counts failed logins per address, in memory, for a bounded number of addresses.

    After the free failures, the pause doubles with each failure, from one second to one minute.
    During a pause, requests from the address are rejected without evaluating them, so the caller
    learns nothing and costs no RSA operation; these requests do not prolong the pause. A success
    does not reset the count, so an attacker gains nothing from a client at the same address that
    knows the password. A steady rate of three failures per minute is never throttled, so a
    forgotten job with an old password does not lock out other clients at its address.
    """

    def __init__(self, clock: Clock, *, max_addresses: int = _MAX_ADDRESSES) -> None:
        self._clock = clock
        self._max_addresses = max_addresses
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def ensure_not_paused(self, address: str) -> None:
        """Raise TooManyFailures while the address is throttled."""
        record = self._records.get(network_of(address)) if self._records else None
        if record is not None and (left_s := record.until_s - self._clock.monotonic_s()) > 0:
            raise TooManyFailures(left_s)

    def note_failure(self, address: str) -> None:
        """Count a failed login from the address."""
        now_s = self._clock.monotonic_s()
        network = network_of(address)
        record = self._records.pop(network, None) or _Record(0.0, now_s)
        record.level = max(0.0, record.level - (now_s - record.at_s) / _DRAIN_S) + 1
        record.at_s = now_s
        if (over := record.level - FREE_FAILURES) >= 0:
            pause_s = _FIRST_PAUSE_S * 2.0 ** min(over, 16.0)
            record.until_s = now_s + min(pause_s, _LONGEST_PAUSE_S)
        self._records[network] = record
        while len(self._records) > self._max_addresses:
            self._records.popitem(last=False)  # the address with the oldest last failure


async def _linger() -> None:
    await asyncio.sleep(_LINGER_S)


@dataclass(slots=True)
class _Queue:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    users: int = 0


class LoginLimiter:
    """Limits concurrent credential checks per client address; further requests wait.

    Without the limit, a burst of guesses would be decrypted completely before the first failure is
    counted, and callers at other addresses would have to wait for the whole burst.

    Rejections for a throttled address are delayed by 5 ms while they hold their slot. This caps
    them at about 400 per second over any number of connections and keeps the event loop free for
    other callers. Without the delay, a client that retries immediately would do so as fast as the
    machine can respond.

    Args:
        linger: delays a rejection while it holds its slot.
    """

    def __init__(self, linger: Callable[[], Awaitable[None]] = _linger) -> None:
        self._linger = linger
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def take(self, address: str) -> AsyncIterator[None]:
        """Wait for a slot, and hold it within the context."""
        network = network_of(address)
        queue = self._queues.setdefault(network, _Queue())
        queue.users += 1
        try:
            async with queue.free:
                try:
                    yield
                except TooManyFailures:
                    await self._linger()
                    raise
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[network]


def network_of(address: str) -> str:
    """Return the key under which an address is counted.

    That is the /64 network for IPv6, and one key for all of loopback, because every process of this
    machine can use any of its addresses.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return _LOOPBACK
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ipaddress.IPv6Network((ip, _IPV6_PREFIX), strict=False))
