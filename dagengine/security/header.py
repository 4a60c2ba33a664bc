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
        value, _ = json.JSONDecoder().raw_decode(text.lstrip(" \t\r\n"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise HeaderDecryptFailed from None
    if not isinstance(value, dict):
        raise HeaderDecryptFailed
    fields: dict[str, Any] = {str(name).lower(): item for name, item in value.items()}
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
