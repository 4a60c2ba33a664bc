"""The text of API tokens, without I/O: `dag_<cluster>_<secret>`.

The cluster is for people and for scanners of secrets; only the secret identifies a token. Tokens
of the service have an empty cluster.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

SECRET_BYTES = 32
SERVICE = ""
"""The cluster of a token of the service."""

_TOKEN = re.compile(r"dag_([A-Za-z0-9_.~%-]*)_([A-Za-z0-9_-]{43})")
_TOKEN_IN_TEXT = re.compile(r"dag_[A-Za-z0-9_.~%-]*?_[A-Za-z0-9_-]{43}")


class ParsedToken(NamedTuple):
    """The parts of a token.

    Attributes:
        cluster: name of the cluster; SERVICE for a token of the service.
        digest: SHA-256 of the secret, by which a store finds the token.
    """

    cluster: str
    digest: bytes


def render_token(cluster: str, secret: bytes) -> str:
    """Return the text of a token.

    Args:
        cluster: name of the cluster, or SERVICE.
        secret: 32 random bytes.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")
    text = base64.urlsafe_b64encode(secret).decode("ascii").rstrip("=")
    return f"dag_{quote(cluster, safe='')}_{text}"


def parse_token(text: str) -> ParsedToken | None:
    """Return the parts of a token; None for a text of another form."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        return None
    secret = base64.urlsafe_b64decode(match[2] + "=")
    if render_token("", secret) != f"dag__{match[2]}":
        return None  # the unused bits at the end are set
    return ParsedToken(unquote(match[1]), digest_secret(secret))


def digest_secret(secret: bytes) -> bytes:
    """Return the digest under which a secret is stored; it is long enough to need no salt."""
    return hashlib.sha256(secret).digest()


def contains_token(text: str) -> bool:
    """Return True if a text contains a token."""
    return "dag_" in text and _TOKEN_IN_TEXT.search(text) is not None


def mask_tokens(text: str) -> str:
    """Return the text with `dag_…` in place of each token."""
    return _TOKEN_IN_TEXT.sub("dag_…", text) if "dag_" in text else text
