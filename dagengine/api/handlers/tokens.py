"""The routes that manage API tokens (not part of OBShell's API)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from dagengine.api.auth import is_confidential
from dagengine.api.caller import CallerKind
from dagengine.api.endpoint import BoundRequest
from dagengine.api.envelope import render_time
from dagengine.api.extension import B, NoBody, NoQuery, Q
from dagengine.api.login.token_manager import TokenManager, TokenNameUsed, TokenUnknown
from dagengine.api.schemas.base import Contents
from dagengine.api.schemas.tokens import NewTokenDto, TokenDto
from dagengine.model.credentials import Access, TokenRecord
from dagengine.runtime.clock import Clock
from dagengine.security.token_errors import (
    CallerNotAccepted,
    EmptyPasswordNotAccepted,
    ResponseExposed,
)

MAX_LIFETIME_S = 10 * 366 * 86_400
_MANAGERS = (CallerKind.ROOT, CallerKind.LOCAL_USER)

REFUSALS = (CallerNotAccepted, EmptyPasswordNotAccepted)
CREATE_REFUSALS = (*REFUSALS, ResponseExposed, TokenNameUsed)
REVOKE_REFUSALS = (*REFUSALS, TokenUnknown)


class TokenBody(BaseModel):
    """The token to create."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ci", "rights": "read", "expires_s": 2_592_000}]}
    )

    name: Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$",
            description="the audit names the token by it",
        ),
    ]
    rights: Annotated[Access, Field(description="read, or act: read and change")] = Access.ACT
    expires_s: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=MAX_LIFETIME_S,
            description="seconds from now; null: it does not expire",
        ),
    ] = None


T = TypeVar("T", bound=TokenBody)


class ServiceTokenBody(TokenBody):
    """The token of the service to create."""

    clusters: Annotated[
        list[Annotated[str, Field(max_length=32)]] | None,
        Field(max_length=1000, description="clusters that it may use; null for all"),
    ] = None


class TokenContext(Protocol):
    """The dependencies of these handlers, for a cluster or for the service."""

    @property
    def tokens(self) -> TokenManager: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def has_root_password(self) -> Callable[[], bool]:
        """Whether the password of root@sys is set; True where passwords are not accepted."""
        ...


class RevokeQuery(BaseModel):
    """Query of a revocation."""

    reason: Annotated[str, Field(max_length=1000, description="for the audit")] = ""


async def create_token(ctx: TokenContext, bound: BoundRequest[TokenBody, NoQuery]) -> NewTokenDto:
    """A new token; only this response contains it."""
    return await _create(ctx, bound, None)


async def create_service_token(
    ctx: TokenContext, bound: BoundRequest[ServiceTokenBody, NoQuery]
) -> NewTokenDto:
    """A new token of the service; only this response contains it."""
    clusters = bound.body.clusters
    return await _create(ctx, bound, None if clusters is None else tuple(clusters))


async def _create(
    ctx: TokenContext, bound: BoundRequest[T, NoQuery], clusters: tuple[str, ...] | None
) -> NewTokenDto:
    _ensure_manager(ctx, bound)
    if not is_confidential(bound.request):
        raise ResponseExposed
    body = bound.body
    text, record = await ctx.tokens.create(
        body.name,
        body.rights,
        lifetime=None if body.expires_s is None else timedelta(seconds=body.expires_s),
        by=str(bound.caller),
        clusters=clusters,
    )
    return {**render_token_record(record, ctx.clock.now()), "token": text}


async def list_tokens(ctx: TokenContext, bound: BoundRequest) -> Contents[TokenDto]:
    """Every token that was not revoked, ordered by name."""
    _ensure_manager(ctx, bound)
    now = ctx.clock.now()
    tokens = await ctx.tokens.store.list_tokens()
    return {"contents": [render_token_record(token, now) for token in tokens]}


async def revoke_token(ctx: TokenContext, bound: BoundRequest[NoBody, RevokeQuery]) -> None:
    """Revoke a token; the sessions that began with it end."""
    _ensure_manager(ctx, bound)
    name = bound.request.match_info["name"]
    await ctx.tokens.revoke(name, by=str(bound.caller), reason=bound.query.reason)


def render_token_record(token: TokenRecord, now: datetime) -> TokenDto:
    """Render a token without its digest."""
    expires_at, last_used_at = token.expires_at, token.last_used_at
    return {
        "name": token.name,
        "rights": token.access,
        "created_by": token.created_by,
        "created_at": render_time(token.created_at),
        "expires_at": None if expires_at is None else render_time(expires_at),
        "last_used_at": None if last_used_at is None else render_time(last_used_at),
        "expired": expires_at is not None and now >= expires_at,
        "clusters": None if token.clusters is None else list(token.clusters),
    }


def _ensure_manager(ctx: TokenContext, bound: BoundRequest[B, Q]) -> None:
    """Raise unless root@sys, with a password, or a user of the socket sent the request.

    A token could otherwise create others that outlive it.
    """
    if bound.caller.kind not in _MANAGERS:
        raise CallerNotAccepted(str(bound.caller))
    if bound.caller.kind is CallerKind.ROOT and not ctx.has_root_password():
        raise EmptyPasswordNotAccepted
