"""The schemes of a listener, combined."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from dagengine.api.auth import Authenticator, AuthScheme, LocalUsers, SignedHeaders
from dagengine.api.login.bearer_tokens import BearerTokens, TokenLogin
from dagengine.api.login.entries import Entries
from dagengine.api.sessions import Sessions
from dagengine.runtime.clock import Clock
from dagengine.security.credentials import Passwords
from dagengine.security.login_throttle import LoginBackoff, LoginLimiter
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey
from dagengine.store.contract import CredentialStore

_FINGERPRINT_PURPOSE = "dagengine session fingerprint v1"

AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
"""Authenticates all requests of an application, also those for pages."""

SESSIONS = web.AppKey("sessions", Sessions)
"""Log-in and log-out for the pages of an application."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a listener needs to authenticate requests.

    Attributes:
        store: the store with tokens and sessions.
        key: decrypts headers; also gives the key for fingerprints of passwords.
        clock: source of time.
        body_timeout_s: time limit for receiving a body, in seconds.
    """

    store: CredentialStore
    key: ServerKey
    clock: Clock
    body_timeout_s: float

    def install(
        self,
        app: web.Application,
        *,
        cluster: str,
        passwords: Callable[[], Passwords] | None,
        replay: ReplayGuard | None,
        accepts_certificates: bool = False,
        forwarded: AuthScheme | None = None,
    ) -> Authenticator:
        """Add AUTHENTICATOR and SESSIONS to an application; return the authenticator.

        Args:
            app: the application of one listener.
            cluster: name of the listener's cluster; SERVICE for the listener of the service.
            passwords: returns the passwords that are valid now; None if none is accepted.
            replay: replay protection of signed headers; None if they are not accepted.
            accepts_certificates: TLS client certificates may log in to pages.
            forwarded: authenticates requests that other controllers forward; None to accept none.
        """
        backoff, turns = LoginBackoff(self.clock), LoginLimiter()
        tokens = TokenLogin(self.store, cluster, self.clock, backoff, turns)
        fingerprint_key = self.key.derive_key(_FINGERPRINT_PURPOSE)
        entries = Entries(tokens, passwords, accepts_certificates, fingerprint_key)
        sessions = Sessions(
            self.store, entries, self.clock, secrets.token_bytes, self.body_timeout_s
        )
        # Another controller has authenticated the caller of a forwarded request.
        first = [] if forwarded is None else [forwarded]
        # A token comes first: at the socket, too, it gives no more rights than it has.
        schemes: list[AuthScheme] = [
            *first,
            sessions,
            BearerTokens(tokens, self.body_timeout_s),
            LocalUsers(self.key, self.body_timeout_s),
        ]
        if passwords is not None and replay is not None:
            schemes.append(
                SignedHeaders(
                    self.key, self.clock, passwords, replay, backoff, turns, self.body_timeout_s
                )
            )
        app[SESSIONS] = sessions
        app[AUTHENTICATOR] = authenticator = Authenticator(tuple(schemes))
        return authenticator
