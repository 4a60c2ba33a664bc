"""Replay protection: a signed request that was used is rejected until it expires.

The protocol does not bind the RSA blocks of a header to each other, and official clients split the
header into blocks of 53 bytes. Therefore a header is recognised by any of its blocks, not only by
its AES key and IV: an eavesdropper who combines a recorded block that contains the password with
new blocks sends a block that was seen before. See
docs/decisions/0007-a-signed-request-acts-once.md.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from dagengine.runtime.clock import Clock
from dagengine.security import messages
from dagengine.security.errors import HeaderReplayed, TooManyRequests

MAX_AHEAD_S = 900
"""How far in the future `ts` of a request that changes something may be, in seconds."""

KEYS_BYTES = 32
"""Length of AES key and IV together."""

# A reservation is kept for this long after its `ts`, in case the clock is set back.
_CLOCK_SLACK_S = 300
_SWEEP_S = 60.0
_PRINT_BYTES = 16


class ReplayLog(Protocol):
    """Durable storage for reservations, implemented by the store."""

    async def reserve(self, prints: Sequence[bytes], until: datetime, now: datetime) -> None:
        """Store the digests durably until `until`; entries expired at `now` may be deleted."""
        ...

    async def load_reserved(self) -> Sequence[tuple[bytes, datetime]]:
        """Return all stored digests that may not have expired, with their expiry."""
        ...


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

    - Authenticated requests that change something: durably, until their `ts` has passed. Only
      these are written to disk, so only authenticated callers can use disk space.
    - Authenticated reads, and rejected requests with a body: in memory, the newest ones. This is
      sufficient for reads, because a repeated read reveals nothing new. For rejected requests, a
      second use of the same keys must fail, because otherwise the responses would reveal how the
      body decrypts.
    """

    def __init__(self, clock: Clock, log: ReplayLog | None = None, *, limit: int = 300_000) -> None:
        """Create a guard.

        Args:
            clock: source of time.
            log: durable storage; None to lose the reservations on a restart.
            limit: maximum number of reserved digests; the digests of reads and those of rejected
                requests are each limited to a tenth of it.
        """
        self._clock = clock
        self._log = log
        self._limit = limit
        self._reserved: dict[bytes, int] = {}  # until: whole seconds since the epoch
        self._read: OrderedDict[bytes, bytes] = OrderedDict()  # block: header
        self._rejected: OrderedDict[bytes, bytes] = OrderedDict()
        self._next_sweep_s = 0.0

    async def load(self) -> None:
        """Load the reservations from before a restart."""
        if self._log is not None:
            for mark, until in await self._log.load_reserved():
                self._reserved[mark] = int(until.timestamp())

    async def reserve(self, fingerprint: HeaderFingerprint, *, until_s: int) -> None:
        """Reserve the digests of a request, so that it can act only once; durable on return.

        Args:
            fingerprint: fingerprint of the header.
            until_s: `ts` of the request in whole seconds since the epoch, at most `MAX_AHEAD_S`
                in the future.

        Raises:
            HeaderReplayed: the request, or a part of its header, was seen before.
            TooManyRequests: the limit on reserved digests is reached.
            StoreError: the reservation could not be stored, so the request must not act.
        """
        self._sweep()
        self._ensure_unseen(fingerprint.prints)
        if len(self._reserved) + len(fingerprint.prints) > self._limit:
            raise TooManyRequests(messages.TOO_MANY_REQUESTS())
        until_s += _CLOCK_SLACK_S
        # Reserve before the first await, so that only one of two concurrent copies succeeds.
        self._reserved.update(dict.fromkeys(fingerprint.prints, until_s))
        if self._log is not None:
            now = self._clock.now()
            until = now + timedelta(seconds=until_s - int(now.timestamp()))
            await self._log.reserve(fingerprint.prints, until, now)

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

    def _ensure_unseen(self, prints: Iterable[bytes]) -> None:
        recorded = (self._reserved, self._read, self._rejected)
        if any(digest in digests for digest in prints for digests in recorded):
            raise HeaderReplayed

    def _sweep(self) -> None:
        """Discard expired reservations, at most once per `_SWEEP_S`."""
        if self._clock.monotonic_s() >= self._next_sweep_s:
            self._next_sweep_s = self._clock.monotonic_s() + _SWEEP_S
            now_s = int(self._clock.now().timestamp())
            self._reserved = {p: until for p, until in self._reserved.items() if until >= now_s}


def _put(entries: OrderedDict[bytes, bytes], added: dict[bytes, bytes], limit: int) -> None:
    entries.update(added)
    while len(entries) > limit:
        entries.popitem(last=False)


def _digest(kind: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_PRINT_BYTES, person=kind).digest()
