"""Creation, list and revocation of API tokens, for the routes of a cluster and of the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from dagengine.api import messages
from dagengine.error_codes import Code
from dagengine.errors import ApiError
from dagengine.model.credentials import Access, TokenRecord
from dagengine.runtime.clock import Clock
from dagengine.security.tokens import SECRET_BYTES, digest_secret, render_token
from dagengine.store.contract import CredentialStore

AppendAudit = Callable[[str, str, str], Awaitable[None]]
"""Records an action: one word in upper case, the caller, and what was done."""


class TokenNameUsed(ApiError):
    """Raised when a token has the name of another one."""

    err_code = Code.ILLEGAL_ARGUMENT
    http_status = 400

    def __init__(self, name: str) -> None:
        super().__init__(messages.TOKEN_NAME_USED(name=name), remedy=messages.CHOOSE_TOKEN_NAME())


class TokenUnknown(ApiError):
    """Raised when there is no token with a name."""

    err_code = Code.ROUTE_NOT_FOUND
    http_status = 404

    def __init__(self, name: str) -> None:
        super().__init__(
            messages.TOKEN_UNKNOWN(name=name[:200]), remedy=messages.LIST_TOKEN_NAMES()
        )


@dataclass(frozen=True, slots=True)
class TokenManager:
    """Manages the tokens of one cluster or of the service.

    Attributes:
        store: the store with the tokens.
        cluster: name of the cluster; SERVICE for the service.
        clock: source of time.
        make_random: returns a number of random bytes.
        append_audit: records what was done, before it is done.
    """

    store: CredentialStore
    cluster: str
    clock: Clock
    make_random: Callable[[int], bytes]
    append_audit: AppendAudit

    async def create(
        self,
        name: str,
        access: Access,
        *,
        lifetime: timedelta | None,
        by: str,
        clusters: tuple[str, ...] | None = None,
    ) -> tuple[str, TokenRecord]:
        """Create a token.

        Args:
            name: unique name, by which the audit names the token.
            access: what the token may do.
            lifetime: time until it expires; None if it does not expire.
            by: the caller.
            clusters: the clusters that a token of the service may use; None for all.

        Returns:
            The text of the token, which is not stored, and its record.

        Raises:
            TokenNameUsed: another token has the name.
        """
        if any(token.name == name for token in await self.store.list_tokens()):
            raise TokenNameUsed(name)
        secret, now = self.make_random(SECRET_BYTES), self.clock.now()
        record = TokenRecord(
            name=name,
            digest=digest_secret(secret),
            access=access,
            clusters=clusters,
            created_by=by,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            last_used_at=None,
        )
        await self.append_audit("CREATE_TOKEN", by, f"token {name}, rights: {access}")
        if not await self.store.add_token(record):
            raise TokenNameUsed(name)
        return render_token(self.cluster, secret), record

    async def revoke(self, name: str, *, by: str, reason: str = "") -> None:
        """Revoke a token: from the next request on it is unknown, and its sessions have ended.

        Raises:
            TokenUnknown: there is no such token.
        """
        if not any(token.name == name for token in await self.store.list_tokens()):
            raise TokenUnknown(name)
        await self.append_audit(
            "REVOKE_TOKEN", by, ": ".join(filter(None, [f"token {name}", reason]))
        )
        if not await self.store.revoke_token(name):
            raise TokenUnknown(name)
