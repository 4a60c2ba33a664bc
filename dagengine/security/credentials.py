"""Who may pass: pure rules for an agent of identity CLUSTER AGENT (protocol 2.5, 2.6)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from dagengine.security.errors import (
    AgentPasswordUnset,
    AgentTaskWithoutPassword,
    AgentTaskWithRootPassword,
    HeaderExpired,
    IncorrectAgentPassword,
    IncorrectRootPassword,
    TimestampInvalid,
    UriMismatch,
)
from dagengine.security.header import SignedHeader

_MAX_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True, repr=False)
class Passwords:
    """What callers must know. `agent` is None when no agent password is configured."""

    root: str
    agent: str | None


def check_credentials(
    header: SignedHeader, *, target: str, now_s: int, passwords: Passwords, agent_only: bool
) -> None:
    """Let a request pass, or raise the first error in the protocol's order.

    Args:
        header: decrypted.
        target: the request target exactly as on the request line.
        now_s: whole seconds since the epoch, at receipt.
        passwords: what callers must know.
        agent_only: a task route with an id beginning with 4 or 5.

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
        _check_time(header.ts, now_s)
    expected = passwords.agent if header.is_agent else passwords.root
    if not hmac.compare_digest(header.auth.encode(), (expected or "").encode()):
        raise IncorrectAgentPassword if header.is_agent else IncorrectRootPassword


def _check_time(ts: str, now_s: int) -> None:
    digits = ts[1:] if ts[:1] in ("+", "-") else ts
    if not (digits.isascii() and digits.isdigit()) or abs(int(ts)) > _MAX_INT64:
        raise TimestampInvalid
    if now_s > int(ts):
        raise HeaderExpired
