"""Replay protection: a signed request that was used is rejected until it expires.

The protocol does not bind the RSA blocks of a header to each other, and official clients split the
header into blocks of 53 bytes. Therefore a header is recognised by any of its blocks, not only by
its AES key and IV: an eavesdropper who combines a recorded block that contains the password with
new blocks sends a block that was seen before. See
docs/decisions/0007-a-signed-request-acts-once.md.

The wall clock may be wrong for some time. Therefore a reservation is discarded only once it has
expired by the wall clock and by the monotonic clock, and from then on no request is accepted whose
`ts` is not later than that of the newest discarded one.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from dagengine.runtime.clock import Clock
from dagengine.security import messages
from dagengine.security.errors import HeaderNotNewer, HeaderReplayed, TooManyRequests

MAX_AHEAD_S = 900
"""How far in the future `ts` of a request that changes something may be, in seconds."""

KEYS_BYTES = 32
"""Length of AES key and IV together."""

# A reservation is kept for this long after its `ts`, so that after a small correction of the clock
# new requests are still later than the discarded ones.
_CLOCK_SLACK_S = 300
_SWEEP_S = 60.0
_PRINT_BYTES = 16


class ReplayLog(Protocol):
    """Durable storage for reservations, implemented by the store."""

    async def reserve(
        self, entries: Sequence[tuple[bytes, datetime]], *, delete_before: datetime | None
    ) -> None:
        """Store digests with their expiry durably; first delete those that expire earlier."""
        ...

    async def load_reserved(self) -> Sequence[tuple[bytes, datetime]]:
        """Return all stored digests with their expiry."""
        ...


class Reservation(NamedTuple):
    """The expiry of a reserved digest.

    Attributes:
        until_s: by the wall clock, in whole seconds since the epoch.
        monotonic_s: by the monotonic clock of this process.
    """

    until_s: int
    monotonic_s: float


def find_newest_expired(
    reservations: Iterable[Reservation], *, now_s: int, monotonic_s: float
) -> int | None:
    """Return the expiry up to which reservations can be discarded; None if there are none.

    All reservations up to it have expired by both clocks.

    Args:
        reservations: all reservations, in any order.
        now_s: the wall clock, in whole seconds since the epoch.
        monotonic_s: the monotonic clock.
    """
    expired: set[int] = set()
    oldest_kept_s: int | None = None
    for until_s, until_monotonic_s in reservations:
        if until_s < now_s and until_monotonic_s <= monotonic_s:
            expired.add(until_s)
        elif oldest_kept_s is None or until_s < oldest_kept_s:
            oldest_kept_s = until_s
    return max((s for s in expired if oldest_kept_s is None or s < oldest_kept_s), default=None)


@dataclass(frozen=True, slots=True)
class HeaderFingerprint:
    """Digests that identify a header and do not reveal its content.

    Attributes:
        header: digest of the whole cipher text.
        blocks: digest of each RSA block; blocks never repeat because the encryption is randomised.
        keys: digest of the decoded AES key and IV; None if one of them is missing.
    """

    header: bytes
    blocks: tuple[bytes, ...]
    keys: bytes | None

    @property
    def prints(self) -> tuple[bytes, ...]:
        """Return all digests that must not occur again."""
        return self.blocks if self.keys is None else (self.keys, *self.blocks)


def fingerprint_header(cipher: bytes, block_bytes: int, keys: bytes) -> HeaderFingerprint:
    """Compute the fingerprint of a header.

    Args:
        cipher: the header's cipher text.
        block_bytes: size of an RSA block.
        keys: the decoded field `keys`, of any length.
    """
    return HeaderFingerprint(
        header=_digest(b"header", cipher),
        blocks=tuple(
            _digest(b"block", cipher[at : at + block_bytes])
            for at in range(0, len(cipher), block_bytes)
        ),
        keys=_digest(b"keys", keys[:KEYS_BYTES]) if len(keys) >= KEYS_BYTES else None,
    )


class ReplayGuard:
    """Stores fingerprints of requests, within limits.

    - Authenticated requests that change something: durably, until their `ts` has passed by both
      clocks. Only these are written to disk, so only authenticated callers can use disk space.
    - The expiry of the newest discarded one: durably, for as long as the controller has the same
      key. Requests recorded before a change of the key cannot be decrypted any more.
    - Authenticated reads, and rejected requests with a body: in memory, the newest ones. This is
      sufficient for reads, because a repeated read reveals nothing new. For rejected requests, a
      second use of the same keys must fail, because otherwise the responses would reveal how the
      body decrypts.
    """

    def __init__(
        self,
        clock: Clock,
        log: ReplayLog | None = None,
        *,
        public_key: str = "",
        limit: int = 300_000,
    ) -> None:
        """Create a guard.

        Args:
            clock: source of time.
            log: durable storage; None to lose the reservations on a restart.
            public_key: the key that headers are encrypted for.
            limit: maximum number of reserved digests; the digests of reads and those of rejected
                requests are each limited to a tenth of it.
        """
        self._clock = clock
        self._log = log
        self._limit = limit
        self._marker = _digest(b"discarded", public_key.encode())  # its expiry is the newest
        self._discarded_s: int | None = None
        self._stored_discarded_s: int | None = None
        self._reserved: dict[bytes, Reservation] = {}
        self._read: OrderedDict[bytes, bytes] = OrderedDict()  # block: header
        self._rejected: OrderedDict[bytes, bytes] = OrderedDict()
        self._next_sweep_s = 0.0

    async def load(self) -> None:
        """Load the reservations from before a restart.

        The monotonic clock does not continue over a restart, so each is kept for the longest
        validity of a request.
        """
        if self._log is None:
            return
        monotonic_s = self._clock.monotonic_s() + MAX_AHEAD_S + _CLOCK_SLACK_S
        for digest, until in await self._log.load_reserved():
            until_s = int(until.timestamp())
            if digest == self._marker:
                self._discarded_s = self._stored_discarded_s = until_s
            else:
                self._reserved[digest] = Reservation(until_s, monotonic_s)

    async def reserve(self, fingerprint: HeaderFingerprint, *, until_s: int) -> None:
        """Reserve the digests of a request, so that it can act only once; durable on return.

        Args:
            fingerprint: fingerprint of the header.
            until_s: `ts` of the request in whole seconds since the epoch, at most `MAX_AHEAD_S`
                in the future.

        Raises:
            HeaderReplayed: the request, or a part of its header, was seen before.
            HeaderNotNewer: it is not newer than the newest discarded one, so it may be a replay.
            TooManyRequests: the limit on reserved digests is reached.
            StoreError: the reservation could not be stored, so the request must not act.
        """
        self._sweep()
        until_s += _CLOCK_SLACK_S
        self._ensure_unseen(fingerprint.prints)
        if self._discarded_s is not None and until_s <= self._discarded_s:
            raise HeaderNotNewer
        if len(self._reserved) + len(fingerprint.prints) > self._limit:
            raise TooManyRequests(messages.TOO_MANY_REQUESTS())
        left_s = until_s - int(self._clock.now().timestamp())
        reservation = Reservation(until_s, self._clock.monotonic_s() + left_s)
        # Reserve before the first await, so that only one of two concurrent copies succeeds.
        self._reserved.update(dict.fromkeys(fingerprint.prints, reservation))
        if self._log is not None:
            await self._store(self._log, fingerprint.prints, until_s)

    def note_try(self, fingerprint: HeaderFingerprint) -> None:
        """Record a rejected request that has a body or a changing method; raises HeaderReplayed."""
        self._ensure_unseen(fingerprint.prints)
        _put(self._rejected, dict.fromkeys(fingerprint.prints, b""), self._limit // 10)

    def note_read(self, fingerprint: HeaderFingerprint) -> None:
        """Record an authenticated read; raises HeaderReplayed if it reuses another header's blocks.

        An identical repetition of a read is allowed.
        """
        header = fingerprint.header
        for block in fingerprint.blocks:
            if block in self._reserved or self._read.get(block, header) != header:
                raise HeaderReplayed
        _put(self._read, dict.fromkeys(fingerprint.blocks, header), self._limit // 10)

    async def _store(self, log: ReplayLog, prints: Iterable[bytes], until_s: int) -> None:
        """Store the digests, and with the same commit what was discarded since the last one."""
        until, discarded_s = _instant(until_s), self._discarded_s
        entries = [(digest, until) for digest in prints]
        delete_before = None
        if discarded_s is not None and discarded_s != self._stored_discarded_s:
            entries.append((self._marker, _instant(discarded_s)))
            delete_before = _instant(discarded_s + 1)
        await log.reserve(entries, delete_before=delete_before)
        if delete_before is not None:
            self._stored_discarded_s = discarded_s

    def _ensure_unseen(self, prints: Iterable[bytes]) -> None:
        recorded = (self._reserved, self._read, self._rejected)
        if any(digest in digests for digest in prints for digests in recorded):
            raise HeaderReplayed

    def _sweep(self) -> None:
        """Discard expired reservations, at most once per `_SWEEP_S`."""
        monotonic_s = self._clock.monotonic_s()
        if monotonic_s < self._next_sweep_s:
            return
        self._next_sweep_s = monotonic_s + _SWEEP_S
        now_s = int(self._clock.now().timestamp())
        newest_s = find_newest_expired(
            self._reserved.values(), now_s=now_s, monotonic_s=monotonic_s
        )
        if newest_s is None:
            return
        self._reserved = {d: r for d, r in self._reserved.items() if r.until_s > newest_s}
        self._discarded_s = max(newest_s, self._discarded_s or newest_s)


def _put(entries: OrderedDict[bytes, bytes], added: dict[bytes, bytes], limit: int) -> None:
    entries.update(added)
    while len(entries) > limit:
        entries.popitem(last=False)


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _digest(kind: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_PRINT_BYTES, person=kind).digest()
