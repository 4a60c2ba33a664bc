"""The plain text of a header: one JSON object with case-insensitive names (protocol 2.3)."""

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
    """A JSON object that preserves duplicate names."""

    items: list[tuple[str, Any]]


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs)


@dataclass(frozen=True, slots=True, repr=False)
class SignedHeader:
    """The fields of a decrypted header. It has no repr because it contains a password.

    Attributes:
        auth: password in clear text.
        ts: end of the validity as sent: decimal seconds since the epoch.
        uri: the request target that the header was signed for.
        keys: AES key (16 bytes) and IV (16 bytes); empty if the caller sent none.
        is_agent: True for X-OCS-Agent-Header, False for X-OCS-Header.
    """

    auth: str
    ts: str
    uri: str
    keys: bytes
    is_agent: bool


def decode_header(value: str) -> bytes:
    """Decode the value of a header into cipher text; raises HeaderDecryptFailed."""
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise HeaderDecryptFailed from None


def parse_header(plain: bytes, *, is_agent: bool) -> SignedHeader:
    """Parse a decrypted header; raises HeaderDecryptFailed for anything unexpected."""
    try:
        text = plain.decode("utf-8")
        # Read only the first JSON value and ignore the rest.
        value, _ = _DECODER.raw_decode(text.lstrip(" \t\r\n"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise HeaderDecryptFailed from None
    if not isinstance(value, _Pairs):
        raise HeaderDecryptFailed
    pairs = value.items
    fields: dict[str, Any] = {str(name).lower(): item for name, item in pairs}
    if len(fields) != len(pairs):
        raise HeaderDecryptFailed  # a duplicate name: only a spliced header has one
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
