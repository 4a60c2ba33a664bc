"""Authentication by an API token: `Authorization: Bearer dag_<cluster>_<secret>`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from dagengine.api.auth import address_of, is_agent_only, is_confidential, read_body
from dagengine.api.caller import RIGHTS_OF, Caller, CallerKind
from dagengine.api.envelope import render_time
from dagengine.errors import StoreError
from dagengine.model.credentials import TokenRecord
from dagengine.runtime.clock import Clock
from dagengine.security.login_throttle import LoginBackoff, LoginLimiter
from dagengine.security.session_rules import last_use
from dagengine.security.token_errors import (
    AgentTaskWithToken,
    TokenExpired,
    TokenExposed,
    TokenInvalid,
    TokenOfOther,
)
from dagengine.security.tokens import parse_token
from dagengine.store.contract import CredentialStore

_SCHEME = "bearer"


@dataclass(frozen=True, slots=True)
class TokenLogin:
    """Checks tokens, for requests and for the log-in form.

    Attributes:
        store: the store with the tokens.
        cluster: name of the cluster whose tokens are valid; SERVICE for those of the service.
        clock: source of time.
        backoff: throttles addresses after failed logins; shared with the passwords.
        turns: limits concurrent checks per address; shared with the passwords.
    """

    store: CredentialStore
    cluster: str
    clock: Clock
    backoff: LoginBackoff
    turns: LoginLimiter

    async def check(self, text: str, address: str) -> TokenRecord:
        """Return the record of a valid token, and record its use.

        Raises:
            TooManyFailures: the address is throttled.
            TokenInvalid, TokenOfOther, TokenExpired: the token is not valid.
        """
        async with self.turns.take(address):
            self.backoff.ensure_not_paused(address)
            try:
                token = await self._find(text)
            except (TokenInvalid, TokenOfOther):
                self.backoff.note_failure(address)
                raise
        if token.expires_at is not None and self.has_expired(token):
            raise TokenExpired(token.name, render_time(token.expires_at))
        await self._touch(token)
        return token

    def has_expired(self, token: TokenRecord) -> bool:
        """Return True if the token has expired."""
        return token.expires_at is not None and self.clock.now() >= token.expires_at

    async def _find(self, text: str) -> TokenRecord:
        parsed = parse_token(text)
        if parsed is None:
            raise TokenInvalid
        if parsed.cluster != self.cluster:
            raise TokenOfOther(parsed.cluster, self.cluster)
        token = await self.store.find_token(parsed.digest)
        if token is None:
            raise TokenInvalid
        return token

    async def _touch(self, token: TokenRecord) -> None:
        at = last_use(self.clock.now())
        if token.last_used_at is None or token.last_used_at < at:
            with suppress(StoreError):  # a full disk must not prevent reading
                await self.store.touch_token(token.digest, at)


@dataclass(frozen=True, slots=True)
class BearerTokens:
    """The scheme for requests with a token. Their bodies are plain JSON.

    Attributes:
        tokens: checks the tokens.
        body_timeout_s: time limit for receiving a body, in seconds.
    """

    tokens: TokenLogin
    body_timeout_s: float

    def applies_to(self, request: web.Request) -> bool:
        return _split(request)[0] == _SCHEME

    async def authenticate(self, request: web.Request) -> tuple[Caller, bytes]:
        if not is_confidential(request):
            raise TokenExposed
        token = await self.tokens.check(_split(request)[1], address_of(request))
        if is_agent_only(request):
            raise AgentTaskWithToken
        body = await read_body(request, timeout_s=self.body_timeout_s)
        return caller_of(token, address_of(request)), body


def caller_of(token: TokenRecord, address: str) -> Caller:
    """Return the caller that a token identifies."""
    return Caller(
        CallerKind.TOKEN, name_of(token), RIGHTS_OF[token.access], address, clusters=token.clusters
    )


def name_of(token: TokenRecord) -> str:
    """Return the name of a token's holder for the audit."""
    return f"token {token.name}"


def _split(request: web.Request) -> tuple[str, str]:
    """Return scheme, in lower case, and credentials of the header `Authorization`."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower(), credentials.strip()
