"""Who may pass: pure rules for an agent of identity CLUSTER AGENT (protocol 2.5, 2.6)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from dagengine.security.errors import (
    AgentPasswordUnset,
    AgentTaskWithoutPassword,
    AgentTaskWithRootPassword,
    HeaderExpired,
    HeaderTooFarAhead,
    IncorrectAgentPassword,
    IncorrectRootPassword,
    TimestampInvalid,
    UriMismatch,
)
from dagengine.security.header import SignedHeader

_MAX_INT64 = 2**63 - 1
_INT64_DIGITS = 19


@dataclass(frozen=True, slots=True, repr=False)
class Passwords:
    """What callers must know. `agent` is None when no agent password is configured."""

    root: str
    agent: str | None


def check_credentials(
    header: SignedHeader,
    *,
    target: str,
    now_s: int,
    passwords: Passwords,
    agent_only: bool,
    max_ahead_s: int | None = None,
) -> None:
    """Let a request pass, or raise the first error in the protocol's order.

    Args:
        header: decrypted.
        target: the request target exactly as on the request line.
        now_s: whole seconds since the epoch, at receipt.
        passwords: what callers must know.
        agent_only: a task route with an id beginning with 4 or 5.
        max_ahead_s: how far ahead its ts may lie; None for any distance.

    Raises:
        SecurityError: which one says why.
    """
    if header.uri != target:
        raise UriMismatch
    if agent_only and passwords.agent is None:
        raise AgentTaskWithoutPassword
    if agent_only and not header.is_agent:
        raise AgentTaskWithRootPassword
    if header.is_agent and passwords.agent is None:
        raise AgentPasswordUnset
    if header.auth:
        until_s = parse_time(header.ts)
        if now_s > until_s:
            raise HeaderExpired
        if max_ahead_s is not None and until_s - now_s > max_ahead_s:
            raise HeaderTooFarAhead(max_ahead_s)
    expected = passwords.agent if header.is_agent else passwords.root
    if not hmac.compare_digest(_encode(header.auth), _encode(expected or "")):
        raise IncorrectAgentPassword if header.is_agent else IncorrectRootPassword


def parse_time(ts: str) -> int:
    """Seconds since the epoch, any 64-bit number; raises TimestampInvalid."""
    digits = ts[1:] if ts[:1] in ("+", "-") else ts
    if not (digits.isascii() and digits.isdigit()):
        raise TimestampInvalid
    significant = digits.lstrip("0") or "0"
    if len(significant) > _INT64_DIGITS or int(significant) > _MAX_INT64:
        raise TimestampInvalid
    return -int(significant) if ts.startswith("-") else int(significant)


def _encode(text: str) -> bytes:
    # JSON can hold half a surrogate pair, which plain UTF-8 cannot.
    return text.encode("utf-8", "surrogatepass")
