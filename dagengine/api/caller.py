"""The caller of a request, once it is authenticated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from dagengine.api import messages
from dagengine.lines import clean_line
from dagengine.model.credentials import Access
from dagengine.security.errors import RightMissing

CLAIM_HEADER = "X-Dagengine-Caller"
"""Header with the OS user and host of a caller, `user@host`, percent-encoded; not verified."""

_CLAIM_CHARS = 128


class CallerKind(StrEnum):
    """How a caller was authenticated."""

    ANYONE = "anyone"
    """Not at all: the route needs no login."""
    ROOT = "root"
    AGENT = "agent"
    LOCAL_USER = "local user"
    """By the kernel, at the unix socket."""
    TOKEN = "token"  # noqa: S105  # the name of a kind
    """By an API token."""
    SESSION = "session"
    """By the cookie of a browser; only for pages."""
    CERTIFICATE = "certificate"
    """By a TLS client certificate."""


class Right(StrEnum):
    """What a caller may do."""

    READ = "read"
    CHANGE = "change"


ALL_RIGHTS = frozenset(Right)

RIGHTS_OF = {Access.READ: frozenset({Right.READ}), Access.ACT: ALL_RIGHTS}
"""The rights that a stored credential gives."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request.

    Attributes:
        kind: how the caller was authenticated.
        name: who the caller is, for the audit: `root@sys`, `agent password`, `uid 0 (pid 123)`,
            `token ci`.
        rights: what the caller may do.
        address: where the request comes from: an IP address, or `the socket`.
        claim: the OS user and host that the caller states; not verified, empty if not stated.
        clusters: the clusters that a token of the service may use; None for all.
    """

    kind: CallerKind
    name: str
    rights: frozenset[Right]
    address: str
    claim: str = ""
    clusters: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """Return name, address and claim, as the audit stores them."""
        preposition = "at" if self.kind is CallerKind.LOCAL_USER else "from"
        verified = f"{self.name} {preposition} {self.address}"
        return messages.CALLER(caller=verified, claim=self.claim) if self.claim else verified

    def ensure_right(self, right: Right) -> None:
        """Raise RightMissing if the caller does not have the right."""
        if right not in self.rights:
            raise RightMissing(str(self))


def parse_claim(value: str) -> str:
    """Return the claim in a CLAIM_HEADER: one clean line of limited length."""
    return clean_line(unquote(value)).strip()[:_CLAIM_CHARS]


def anyone_at(address: str) -> Caller:
    """Return the caller of a route that needs no login."""
    return Caller(CallerKind.ANYONE, str(CallerKind.ANYONE), frozenset(), address)


def required_right(method: str) -> Right:
    """Return the right that a request with this HTTP method needs."""
    return Right.READ if method in ("GET", "HEAD", "OPTIONS") else Right.CHANGE
