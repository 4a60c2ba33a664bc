"""Credential rules for an agent of identity CLUSTER AGENT, without I/O (protocol 2.5, 2.6)."""

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
    """The valid passwords. `agent` is None if no agent password is configured."""

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
    """Accept the credentials of a request, or raise the first error in the protocol's order.

    Args:
        header: the decrypted header.
        target: the request target exactly as on the request line.
        now_s: time of receipt, in whole seconds since the epoch.
        passwords: the valid passwords.
        agent_only: True for a task route with an id that begins with 4 or 5.
        max_ahead_s: how many seconds `ts` may be in the future; None for no limit.

    Raises:
        SecurityError: the credentials are rejected; the subclass gives the reason.
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
    """Parse seconds since the epoch as a signed 64-bit number; raises TimestampInvalid."""
    digits = ts[1:] if ts[:1] in ("+", "-") else ts
    if not (digits.isascii() and digits.isdigit()):
        raise TimestampInvalid
    significant = digits.lstrip("0") or "0"
    if len(significant) > _INT64_DIGITS or int(significant) > _MAX_INT64:
        raise TimestampInvalid
    return -int(significant) if ts.startswith("-") else int(significant)


def _encode(text: str) -> bytes:
    # JSON can contain lone surrogates, which strict UTF-8 cannot encode.
    return text.encode("utf-8", "surrogatepass")
