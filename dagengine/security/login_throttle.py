"""Failed logins: after a few of them an address has to pause. No other address notices."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

from dagengine.runtime.clock import Clock
from dagengine.security.errors import TooManyFailures

FREE_FAILURES = 10
"""So many failed logins cost nothing: official clients send each refused request two or three
times, and a person mistypes."""

_DRAIN_S = 20.0  # one failure is forgotten in so many seconds
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_MAX_ADDRESSES = 10_000
_IPV6_PREFIX = 64  # one customer's network: whoever has one address there has all of them


@dataclass(slots=True)
class _Record:
    level: float  # failures that are not forgotten yet
    at_s: float
    until_s: float = 0.0


class LoginBackoff:
    """Counts failed logins by address, in memory, of a bounded number of addresses.

    Beyond the free ones the pause doubles with each failure, from one second to a minute. While
    it lasts nothing of that address is looked at, so it neither learns anything nor costs an RSA
    operation; tries in the pause do not prolong it. A success forgives nothing: somebody who
    guesses beside a client that knows the password gains nothing by it. Three failures a minute
    can go on for ever, so a forgotten job with an old password does not shut out its neighbours.
    """

    def __init__(self, clock: Clock, *, max_addresses: int = _MAX_ADDRESSES) -> None:
        self._clock = clock
        self._max_addresses = max_addresses
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def refuse_paused(self, address: str) -> None:
        """Raise TooManyFailures while the address has to pause."""
        record = self._records.get(network_of(address)) if self._records else None
        if record is not None and (left_s := record.until_s - self._clock.monotonic_s()) > 0:
            raise TooManyFailures(left_s)

    def note_failure(self, address: str) -> None:
        """A login from there failed."""
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
            self._records.popitem(last=False)  # the one whose last failure is the oldest


def network_of(address: str) -> str:
    """What is counted as one address: of IPv6 the network of one customer."""
    if ":" not in address:
        return address
    try:
        ip = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((ip, _IPV6_PREFIX), strict=False))
