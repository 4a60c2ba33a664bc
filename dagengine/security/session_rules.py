"""Rules for the sessions of browsers, without I/O: ids, cookies, form tokens and lifetimes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from dagengine.model.credentials import SessionRecord
from dagengine.security.request_origin import parse_authority, parse_origin, with_port

ID_BYTES = 32
MAX_IDLE = timedelta(hours=12)
"""A session ends after this time without a request."""
MAX_AGE = timedelta(hours=24)
"""A session ends this long after the log-in."""
LAST_USE_STEP = timedelta(minutes=1)
"""Times of the last use are stored with this precision."""

_ID_CHARS = 43


@dataclass(frozen=True, slots=True)
class CookieNames:
    """The names of the cookies of one origin.

    Attributes:
        session: the cookie with the id of the session.
        before_login: the cookie with the id that replaces it on the log-in page.
    """

    session: str
    before_login: str


def cookie_names(host: str, *, is_secure: bool) -> CookieNames:
    """Return the names of cookies for an origin.

    They contain the port, because a browser sends the cookies of a host to all its ports. Under
    TLS, browsers accept the prefix only from the host itself, over TLS.

    Args:
        host: the header `Host`.
        is_secure: the request came over TLS.
    """
    authority = parse_authority(host)
    default_port = 443 if is_secure else 80
    port = default_port if authority is None or authority.port is None else authority.port
    prefix = "__Host-" if is_secure else ""
    return CookieNames(f"{prefix}dagengine-{port}", f"{prefix}dagengine-login-{port}")


def render_id(random: bytes) -> str:
    """Return an id, as in a cookie, of 32 random bytes."""
    return base64.urlsafe_b64encode(random).decode("ascii").rstrip("=")


def digest_id(text: str) -> bytes | None:
    """Return the digest under which an id is stored; None for a text that is not an id."""
    try:
        random = base64.urlsafe_b64decode(text.encode("ascii") + b"=")
    except (UnicodeEncodeError, binascii.Error):
        return None
    if len(text) != _ID_CHARS or render_id(random) != text:
        return None
    return hashlib.sha256(random).digest()


def csrf_token(session_id: str) -> str:
    """Return the token that the forms of a session contain: HMAC(session id, "csrf")."""
    return hmac.new(session_id.encode(), b"csrf", hashlib.sha256).hexdigest()


def is_csrf_token(text: str, session_id: str) -> bool:
    """Return True if the text is the token of the session; takes the same time for any text."""
    return hmac.compare_digest(text.encode("utf-8", "replace"), csrf_token(session_id).encode())


def fingerprint_password(key: bytes, owner: str, password: str) -> bytes:
    """Return a keyed digest of a password: a session ends when the password has another one."""
    text = f"{owner}\0{password}".encode("utf-8", "surrogatepass")
    return hmac.new(key, text, hashlib.sha256).digest()


def has_ended(session: SessionRecord, now: datetime) -> bool:
    """Return True if the session is too old, or was not used for too long."""
    return now - session.created_at >= MAX_AGE or now - session.last_seen_at >= MAX_IDLE


def last_use(now: datetime) -> datetime:
    """Return the instant of a use with the precision with which it is stored."""
    return now.replace(second=0, microsecond=0)


def is_own_form(host: str, origin: str | None, fetch_site: str | None) -> bool:
    """Return True if a browser sent a form from a page of the origin to which it sent it.

    Args:
        host: the header `Host`.
        origin: the header `Origin`; None if missing.
        fetch_site: the header `Sec-Fetch-Site`, which counts if `Origin` is missing; None if it
            is missing, too.
    """
    if origin is None:
        return fetch_site == "same-origin"
    parsed, own = parse_origin(origin), parse_authority(host)
    if parsed is None or own is None:
        return False
    return with_port(parsed.authority, parsed.scheme) == with_port(own, parsed.scheme)
