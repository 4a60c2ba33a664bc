"""The header's plain text: one JSON object, names without regard to case (protocol 2.3)."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from dagengine.security.errors import HeaderDecryptFailed

_TEXTS = ("auth", "ts", "uri", "keys", "token", "session_id", "ssotoken", "sha256")


@dataclass(frozen=True, slots=True, repr=False)
class _Pairs:
    """A JSON object as it was written."""

    items: list[tuple[str, Any]]


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs)


@dataclass(frozen=True, slots=True, repr=False)
class SignedHeader:
    """What the caller says of itself. Has no repr: it holds a password.

    Attributes:
        auth: password in clear.
        ts: decimal seconds since the epoch until which it is valid, as sent.
        uri: the request target it was made for.
        keys: AES key (16 bytes) and IV (16 bytes); empty when none were sent.
        is_agent: it came as X-OCS-Agent-Header.
    """

    auth: str
    ts: str
    uri: str
    keys: bytes
    is_agent: bool


def decode_header(value: str) -> bytes:
    """The cipher text of a header's value; raises HeaderDecryptFailed."""
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise HeaderDecryptFailed from None


def parse_header(plain: bytes, *, is_agent: bool) -> SignedHeader:
    """The fields of a decrypted header; raises HeaderDecryptFailed for anything unexpected."""
    try:
        text = plain.decode("utf-8")
        # Only the first JSON value counts; what follows is ignored.
        value, _ = _DECODER.raw_decode(text.lstrip(" \t\r\n"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise HeaderDecryptFailed from None
    if not isinstance(value, _Pairs):
        raise HeaderDecryptFailed
    pairs = value.items
    fields: dict[str, Any] = {str(name).lower(): item for name, item in pairs}
    if len(fields) != len(pairs):
        raise HeaderDecryptFailed  # a name twice: no client writes that, a splicer would
    texts = {name: fields.get(name) for name in _TEXTS}
    if any(text is not None and not isinstance(text, str) for text in texts.values()):
        raise HeaderDecryptFailed
    return SignedHeader(
        auth=texts["auth"] or "",
        ts=texts["ts"] or "",
        uri=texts["uri"] or "",
        keys=decode_header(texts["keys"] or ""),
        is_agent=is_agent,
    )
