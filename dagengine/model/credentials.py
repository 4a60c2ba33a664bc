"""Stored credentials: API tokens, and the sessions of browsers. Rows contain no secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Access(StrEnum):
    """What the holder of a token or session may do; spelled as in the rows."""

    READ = "read"
    ACT = "act"  #: read, and change


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """An API token. A revoked token has no row."""

    name: str  #: unique in its store; the audit names the token by it
    digest: bytes  #: SHA-256 of the token's 32 random bytes
    access: Access
    clusters: tuple[str, ...] | None  #: clusters that a service token may use; None for all
    created_by: str  #: the caller that created it
    created_at: datetime
    expires_at: datetime | None  #: None if it does not expire
    last_used_at: datetime | None  #: to the minute; None if it was never used


class SessionEntry(StrEnum):
    """The credentials with which a session began; spelled as in the rows."""

    ROOT_PASSWORD = "root"  # noqa: S105  # the name of an account
    AGENT_PASSWORD = "agent"  # noqa: S105
    TOKEN = "token"  # noqa: S105
    LOCAL_USER = "local user"  #: by the kernel, at the unix socket
    CERTIFICATE = "certificate"  #: a TLS client certificate


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The session of one browser. An ended session has no row."""

    digest: bytes  #: SHA-256 of the session's id, which is 32 random bytes
    entry: SessionEntry
    name: str  #: the caller for the audit: `root@sys`, a token's name, `uid 0 (pid 123)`
    access: Access
    fingerprint: bytes | None  #: HMAC of the password at log-in; None for other entries
    token: bytes | None  #: digest of the token at log-in; None for other entries
    created_at: datetime
    last_seen_at: datetime  #: to the minute
