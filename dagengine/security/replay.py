"""No signed request acts twice (docs/decisions: what was seen is refused until it expires).

Nothing in the protocol ties the RSA blocks of a header to each other, and official clients cut
it into blocks of 53 bytes. So a header is known again by any of its blocks, not only by its AES
key and IV: an eavesdropper who glues a recorded block that holds the password to blocks of his
own sends a block that was seen before.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from dagengine.runtime.clock import Clock
from dagengine.security.errors import HeaderReplayed, TooManyRequests

MAX_AHEAD_S = 900
"""How far ahead the ts of a request that acts may lie, in seconds."""

KEYS_BYTES = 32
"""AES key and IV."""

# A reservation outlives its ts by this much, in case the clock is set back.
_CLOCK_SLACK_S = 300
_SWEEP_S = 60.0
_PRINT_BYTES = 16


class ReplayLog(Protocol):
    """What a restart must not forget; the store implements it."""

    async def reserve(self, prints: Sequence[bytes], until: datetime, now: datetime) -> None:
        """Keep these durably until then; what has expired by now may be dropped."""
        ...

    async def load_reserved(self) -> Sequence[tuple[bytes, datetime]]:
        """All that were kept and may not have expired."""
        ...


@dataclass(frozen=True, slots=True)
class HeaderFingerprint:
    """What a header is known again by: digests, from which nothing can be computed back.

    Attributes:
        header: of the whole cipher text.
        blocks: of each of its RSA blocks; encryption is randomised, so no two are ever the same.
        keys: of AES key and IV, however they were spelled; None when they are not both there.
    """

    header: bytes
    blocks: tuple[bytes, ...]
    keys: bytes | None

    @property
    def prints(self) -> tuple[bytes, ...]:
        """All that must not be seen again."""
        return self.blocks if self.keys is None else (self.keys, *self.blocks)


def sight(cipher: bytes, block_bytes: int, keys: bytes) -> HeaderFingerprint:
    """The sighting of a header.

    Args:
        cipher: the header's cipher text.
        block_bytes: size of an RSA block.
        keys: decoded `keys`, of any length.
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
    """Remembers what was seen, within bounds.

    - Requests that act and whose caller knows the password: until their ts, over a restart. Only
      these are durable, so only who may come in can fill the disk.
    - Reads of such callers, and bodies of strangers: in memory, the newest ones. A read needs no
      more (the same one again shows nothing new), and of a stranger's body the second use of a
      key must fail, or the answers would tell how it decrypts.
    """

    def __init__(self, clock: Clock, log: ReplayLog | None = None, *, limit: int = 300_000) -> None:
        """`log` None: a restart forgets. `limit` bounds how many digests are held of each kind."""
        self._clock = clock
        self._log = log
        self._limit = limit
        self._reserved: dict[bytes, int] = {}  # until: whole seconds since the epoch
        self._read: OrderedDict[bytes, bytes] = OrderedDict()  # block: header
        self._tried: OrderedDict[bytes, bytes] = OrderedDict()
        self._next_sweep_s = 0.0

    async def load(self) -> None:
        """Remember what was reserved before a restart."""
        if self._log is not None:
            for mark, until in await self._log.load_reserved():
                self._reserved[mark] = int(until.timestamp())

    async def reserve(self, sighting: HeaderFingerprint, *, until_s: int) -> None:
        """Let a request act once; it is durable on return.

        Args:
            sighting: of its header.
            until_s: its ts, whole seconds since the epoch, at most `MAX_AHEAD_S` ahead.

        Raises:
            HeaderReplayed: it, or a part of its header, was seen before.
            TooManyRequests: no more can be remembered for now.
            StoreError: it could not be made durable, so it must not act.
        """
        self._sweep()
        self._refuse_seen(sighting.prints)
        if len(self._reserved) + len(sighting.prints) > self._limit:
            raise TooManyRequests("too many requests are remembered until they expire")
        until_s += _CLOCK_SLACK_S
        # Before anything is awaited: of two that arrive together one is the second.
        self._reserved.update(dict.fromkeys(sighting.prints, until_s))
        if self._log is not None:
            now = self._clock.now()
            until = now + timedelta(seconds=until_s - int(now.timestamp()))
            await self._log.reserve(sighting.prints, until, now)

    def note_try(self, sighting: HeaderFingerprint) -> None:
        """A stranger's request with a body; raises HeaderReplayed."""
        self._refuse_seen(sighting.prints)
        _put(self._tried, dict.fromkeys(sighting.prints, b""), self._limit // 10)

    def note_read(self, sighting: HeaderFingerprint) -> None:
        """A read that may pass; raises HeaderReplayed when it is made of another header's parts."""
        for block in sighting.blocks:
            if block in self._reserved or self._read.get(block, sighting.header) != sighting.header:
                raise HeaderReplayed
        _put(self._read, dict.fromkeys(sighting.blocks, sighting.header), self._limit // 10)

    def _refuse_seen(self, prints: Iterable[bytes]) -> None:
        if any(p in seen for p in prints for seen in (self._reserved, self._read, self._tried)):
            raise HeaderReplayed

    def _sweep(self) -> None:
        """Now and then forget what has expired."""
        if self._clock.monotonic_s() >= self._next_sweep_s:
            self._next_sweep_s = self._clock.monotonic_s() + _SWEEP_S
            now_s = int(self._clock.now().timestamp())
            self._reserved = {p: until for p, until in self._reserved.items() if until >= now_s}


def _put(kept: OrderedDict[bytes, bytes], new: dict[bytes, bytes], limit: int) -> None:
    kept.update(new)
    while len(kept) > limit:
        kept.popitem(last=False)


def _digest(kind: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_PRINT_BYTES, person=kind).digest()
