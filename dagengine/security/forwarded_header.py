"""The header by which a controller passes an authenticated request on to the cluster's owner.

Every controller of a service has the same RSA key. A key derived from it authenticates the header
and, with it, the request; so the owner trusts the caller that the other controller names.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from dagengine.security import messages
from dagengine.security.errors import ForwardingRefused

FORWARDED_HEADER = "Dagengine-Forwarded"
KEY_PURPOSE = "dagengine forwarding v1"
NONCE_BYTES = 16
VALIDITY = timedelta(seconds=30)
"""How far the instant of a header may be from the owner's clock, in either direction."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_CHARS = 4096  # far more than any header has; bounds the work before the MAC is checked


@dataclass(frozen=True, slots=True)
class ForwardedHeader:
    """The fields of the header, except the MAC.

    Attributes:
        controller_id: the controller that authenticated the caller.
        cluster: name of the cluster that the request is for.
        epoch: the cluster's epoch as that controller knows it.
        at: when the request was forwarded, by that controller's clock.
        nonce: random, 32 hexadecimal digits; accepted once.
        caller: name of the caller, for the audit.
        rights: the caller's rights, separated by commas; empty for a caller without a login.
        scheme: how the caller was authenticated.
        address: where the caller's request came from.
    """

    controller_id: int
    cluster: str
    epoch: int
    at: datetime
    nonce: str
    caller: str
    rights: str
    scheme: str
    address: str


def digest_request(method: str, target: str, body: bytes) -> bytes:
    """Return the SHA-256 of a request.

    Args:
        method: the HTTP method.
        target: path and query as sent.
        body: the body as sent, that is, encrypted if the caller encrypted it.
    """
    return hashlib.sha256(f"{method}\n{target}\n".encode() + body).digest()


def render_forwarded(key: bytes, header: ForwardedHeader, request_digest: bytes) -> str:
    """Return the header's value: the fields, percent-encoded and separated by spaces, and the MAC.

    Args:
        key: derived from the RSA key for `KEY_PURPOSE`.
        header: the fields.
        request_digest: see `digest_request`.
    """
    text = " ".join(map(_render_field, astuple(header)))
    return f"{text} {_mac(key, text, request_digest)}"


def parse_forwarded(key: bytes, value: str, request_digest: bytes) -> ForwardedHeader:
    """Return the fields of an authentic header.

    Raises:
        ForwardingRefused: the header has another form, or its MAC does not match the request.
    """
    text, _, mac = value.rpartition(" ")
    parts = text.split(" ")
    is_complete = len(value) <= _MAX_CHARS and len(parts) == len(fields(ForwardedHeader))
    expected = _mac(key, text, request_digest) if is_complete else ""
    # The MAC is compared as bytes, because the header may contain any characters.
    if not is_complete or not hmac.compare_digest(mac.encode(), expected.encode()):
        raise ForwardingRefused(messages.FORWARDED_NOT_AUTHENTIC())
    return _parse_fields(parts)


class NonceLog:
    """The nonces of accepted headers, kept for as long as their headers are valid.

    Only authentic headers are recorded, so other controllers alone determine the size.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._expiry: deque[tuple[datetime, str]] = deque()

    def take(self, header: ForwardedHeader, now: datetime) -> None:
        """Accept a header once.

        Raises:
            ForwardingRefused: the header has expired, is from the future, or was accepted before.
        """
        while self._expiry and self._expiry[0][0] <= now:
            self._seen.discard(self._expiry.popleft()[1])
        if abs(header.at - now) > VALIDITY:
            raise ForwardingRefused(
                messages.FORWARDED_AT_OTHER_TIME(
                    seconds=round(abs(header.at - now).total_seconds())
                ),
                remedy=messages.SYNCHRONISE_CLOCKS(),
            )
        if header.nonce in self._seen:
            raise ForwardingRefused(messages.FORWARDED_BEFORE())
        self._seen.add(header.nonce)
        self._expiry.append((now + 2 * VALIDITY, header.nonce))

    def __len__(self) -> int:
        return len(self._seen)


def _mac(key: bytes, text: str, request_digest: bytes) -> str:
    return hmac.new(key, text.encode() + b"\n" + request_digest, hashlib.sha256).hexdigest()


def _render_field(value: object) -> str:
    if isinstance(value, datetime):
        return str((value - _EPOCH) // _MICROSECOND)
    return quote(str(value), safe="") or "-"


def _parse_fields(parts: list[str]) -> ForwardedHeader:
    """Convert fields whose MAC has been verified, so that their form is ours."""
    controller_id, cluster, epoch, at, nonce, *rest = parts
    caller, rights, scheme, address = ("" if part == "-" else unquote(part) for part in rest)
    return ForwardedHeader(
        controller_id=int(controller_id),
        cluster=unquote(cluster),
        epoch=int(epoch),
        at=_EPOCH + int(at) * _MICROSECOND,
        nonce=nonce,
        caller=caller,
        rights=rights,
        scheme=scheme,
        address=address,
    )
