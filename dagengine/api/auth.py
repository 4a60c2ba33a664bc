"""Authentication in the order of protocol 2.5, and decryption of the request body."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import unquote

from aiohttp import web

from dagengine.api.caller import ALL_RIGHTS, CLAIM_HEADER, Caller, CallerKind, parse_claim
from dagengine.api.connections import Peer, peer_at
from dagengine.errors import SecurityError
from dagengine.runtime.clock import Clock
from dagengine.security.body import decrypt_body
from dagengine.security.credentials import Passwords, check_credentials, parse_time
from dagengine.security.errors import (
    DECRYPTION_ERRORS,
    BodyNotRead,
    HeaderDecryptFailed,
    HeaderExpired,
    HeaderMissing,
    HeaderReplayed,
    PasswordUnavailable,
    SocketPermissionDenied,
    TimestampInvalid,
)
from dagengine.security.header import SignedHeader, decode_header, parse_header
from dagengine.security.login_throttle import LoginBackoff, LoginLimiter
from dagengine.security.replay import (
    MAX_AHEAD_S,
    HeaderFingerprint,
    ReplayGuard,
    fingerprint_header,
)
from dagengine.security.server_key import ServerKey
from dagengine.security.token_errors import TokenInUrl
from dagengine.security.tokens import contains_token

API_ROOT = "/api/v1"
FLEET_ROOT = "/fleet/v1"
"""Routes of the service, for all clusters."""
UI_ROOT = "/ui"
"""Pages for browsers; the only routes that accept a session."""
BODY_LIMIT_BYTES = 1024 * 1024

_READS = ("GET", "HEAD", "OPTIONS")
_AGENT_HEADER, _ROOT_HEADER = "X-OCS-Agent-Header", "X-OCS-Header"
_AGENT_TASK = re.compile(rf"{API_ROOT}/task/\w+/[45][^/]*(/\w+)?")
# Errors that do not indicate a guessed password, such as a wrong clock, are not failed logins.
_NO_GUESSES = (HeaderExpired, TimestampInvalid, PasswordUnavailable)

_PASSWORD_OWNERS = {
    CallerKind.ROOT: "root@sys",
    CallerKind.AGENT: "agent password",
}

BODY = web.RequestKey("body", bytes)
"""The decrypted body of an authenticated request."""


class AuthScheme(Protocol):
    """One way to authenticate requests."""

    def applies_to(self, request: web.Request) -> bool:
        """Return True if the request presents credentials of this kind."""
        ...

    async def authenticate(self, request: web.Request) -> tuple[Caller, bytes]:
        """Return the caller and the decrypted body.

        Raises:
            SecurityError, DagengineError: the request is rejected.
        """
        ...


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Authenticates requests; a further kind of caller is one more scheme.

    Attributes:
        schemes: the first one that applies to a request decides.
    """

    schemes: Sequence[AuthScheme]

    async def authenticate(self, request: web.Request) -> Caller:
        """Return the caller of a request, whose decrypted body is then `request[BODY]`.

        Raises:
            HeaderMissing: the request presents no credentials.
            SecurityError, DagengineError: the request is rejected.
        """
        for scheme in self.schemes:
            if scheme.applies_to(request):
                caller, request[BODY] = await scheme.authenticate(request)
                return replace(caller, claim=parse_claim(request.headers.get(CLAIM_HEADER, "")))
        raise HeaderMissing


@dataclass(frozen=True, slots=True)
class LocalUsers:
    """Users at the unix socket: identified by the kernel, admitted by `refuse_other_users`.

    A header is needed only to decrypt the body.

    Attributes:
        key: decrypts headers.
        body_timeout_s: time limit for receiving a body, in seconds.
    """

    key: ServerKey
    body_timeout_s: float

    def applies_to(self, request: web.Request) -> bool:
        return peer_at(request) is not None

    async def authenticate(self, request: web.Request) -> tuple[Caller, bytes]:
        caller = Caller(
            CallerKind.LOCAL_USER, str(peer_at(request)), ALL_RIGHTS, address_of(request)
        )
        _, value = _header_of(request)
        body = await read_body(request, timeout_s=self.body_timeout_s)
        if not value:
            return caller, body
        plain = await self.key.decrypt(decode_header(value))
        keys = parse_header(plain, is_agent=False).keys
        return caller, decrypt_body(body, keys) if body else body


@dataclass(frozen=True, slots=True)
class SignedHeaders:
    """The encrypted headers of OBShell's clients, in the order of protocol 2.5.

    Attributes:
        key: decrypts headers.
        clock: source of time.
        passwords: returns the passwords that are valid now.
        replay: replay protection.
        backoff: throttles addresses after failed logins.
        turns: limits concurrent decryption of headers per address.
        body_timeout_s: time limit for receiving a body, in seconds.
    """

    key: ServerKey
    clock: Clock
    passwords: Callable[[], Passwords]
    replay: ReplayGuard
    backoff: LoginBackoff
    turns: LoginLimiter
    body_timeout_s: float

    def applies_to(self, request: web.Request) -> bool:
        return bool(_header_of(request)[1])

    async def authenticate(self, request: web.Request) -> tuple[Caller, bytes]:
        address = address_of(request)
        is_agent, value = _header_of(request)
        async with self.turns.take(address):
            # Check after waiting for the slot, because earlier requests may have failed since.
            self.backoff.ensure_not_paused(address)
            try:
                cipher = decode_header(value)
                header = parse_header(await self.key.decrypt(cipher), is_agent=is_agent)
            except HeaderDecryptFailed:
                self.backoff.note_failure(address)
                raise
            refusal = self._refusal(request, header)
            if refusal is not None and not isinstance(refusal, _NO_GUESSES):
                self.backoff.note_failure(address)
        try:
            body = await self._open_body(request, header, cipher, is_refused=refusal is not None)
        except (HeaderReplayed, *DECRYPTION_ERRORS):
            if refusal is None:
                self.backoff.note_failure(address)
            raise
        if refusal is not None:
            raise refusal
        kind = CallerKind.AGENT if is_agent else CallerKind.ROOT
        return Caller(kind, _PASSWORD_OWNERS[kind], ALL_RIGHTS, address), body

    async def _open_body(
        self, request: web.Request, header: SignedHeader, cipher: bytes, *, is_refused: bool
    ) -> bytes:
        body = await read_body(request, timeout_s=self.body_timeout_s)
        fingerprint = fingerprint_header(cipher, self.key.block_bytes, header.keys)
        if is_refused and is_mutating(request):
            self.replay.note_try(fingerprint)
        elif not is_refused:
            await _reserve(request, header, fingerprint, self.replay, self.clock)
        return decrypt_body(body, header.keys) if body else body

    def _refusal(self, request: web.Request, header: SignedHeader) -> SecurityError | None:
        """Return the error of the credentials, or None.

        The caller raises it later because errors of the body take precedence (2.5).
        """
        try:
            check_credentials(
                header,
                target=request.raw_path,
                now_s=int(self.clock.now().timestamp()),
                passwords=self.passwords(),
                agent_only=is_agent_only(request),
                max_ahead_s=MAX_AHEAD_S if is_mutating(request) else None,
            )
        except PasswordUnavailable:
            raise
        except SecurityError as exc:
            return exc
        return None


async def open_body(
    request: web.Request, body: bytes, key: ServerKey, replay: ReplayGuard, clock: Clock
) -> bytes:
    """Return the decrypted body of a request whose credentials another controller has checked.

    A request with an encrypted header acts only once; a body without one is not encrypted.

    Raises:
        HeaderReplayed: the header was used before.
        DagengineError: header or body cannot be decrypted.
    """
    is_agent, value = _header_of(request)
    if not value:
        return body
    cipher = decode_header(value)
    header = parse_header(await key.decrypt(cipher), is_agent=is_agent)
    fingerprint = fingerprint_header(cipher, key.block_bytes, header.keys)
    await _reserve(request, header, fingerprint, replay, clock)
    return decrypt_body(body, header.keys) if body else body


async def _reserve(
    request: web.Request,
    header: SignedHeader,
    fingerprint: HeaderFingerprint,
    replay: ReplayGuard,
    clock: Clock,
) -> None:
    """Record an accepted header and reject a repetition; called before the body is decrypted."""
    if not is_mutating(request):
        replay.note_read(fingerprint)
        return
    # With an empty password `ts` is not checked (2.6), so reserve for the maximum time.
    now_s = int(clock.now().timestamp())
    until_s = parse_time(header.ts) if header.auth else now_s + MAX_AHEAD_S
    await replay.reserve(fingerprint, until_s=until_s)


def is_page(request: web.Request) -> bool:
    """Return True if the request is for a page."""
    return request.path == UI_ROOT or request.path.startswith(f"{UI_ROOT}/")


def is_agent_only(request: web.Request) -> bool:
    """Return True for a task route that requires the agent password (protocol 2.5)."""
    return _AGENT_TASK.fullmatch(request.path) is not None


def is_loopback(request: web.Request) -> bool:
    """Return True if the request came over TCP from this machine."""
    try:
        address = ipaddress.ip_address((request.remote or "").partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_confidential(request: web.Request) -> bool:
    """Return True if other machines cannot have read the request: TLS, loopback or the socket."""
    return peer_at(request) is not None or request.secure or is_loopback(request)


def address_of(request: web.Request) -> str:
    """Return where a request comes from: an IP address, or `the socket`."""
    return (request.remote or "") if peer_at(request) is None else "the socket"


def refuse_other_users(peer: Peer | None) -> None:
    """Reject users of the unix socket other than root and this process's own user.

    The check applies to every path, including those that do not need a login.

    Raises:
        SocketPermissionDenied: the caller is another user.
    """
    if peer is not None and peer.uid not in (0, os.geteuid()):
        raise SocketPermissionDenied(str(peer))


def refuse_token_in_url(request: web.Request) -> None:
    """Reject a request with a token in its URL, which logs and histories would keep.

    The check applies to every path, including unknown ones.

    Raises:
        TokenInUrl: the URL contains a token.
    """
    if contains_token(unquote(request.raw_path)):
        raise TokenInUrl


def is_mutating(request: web.Request) -> bool:
    """Return True if a request may change something.

    This includes every request with a body: the response reveals how the body decrypts, so the
    body must be decrypted only once.
    """
    return request.body_exists or request.method not in _READS


def _header_of(request: web.Request) -> tuple[bool, str]:
    """Return whether the agent header was sent, and the header's value; empty without a header."""
    if value := request.headers.get(_AGENT_HEADER):
        return True, value
    return False, request.headers.get(_ROOT_HEADER, "")


async def read_body(request: web.Request, *, timeout_s: float) -> bytes:
    """Read the body as sent, within `timeout_s` seconds.

    Raises:
        HTTPRequestEntityTooLarge: the body exceeds the limit according to Content-Length, or
            more bytes than the limit have arrived.
        BodyNotRead: the body did not arrive in time, or the connection broke.
    """
    if (size := request.content_length) is not None and size > BODY_LIMIT_BYTES:
        raise web.HTTPRequestEntityTooLarge(max_size=BODY_LIMIT_BYTES, actual_size=size)
    if not request.body_exists:
        return b""
    try:
        async with asyncio.timeout(timeout_s):
            return await request.read()
    except (TimeoutError, ConnectionError, web.RequestPayloadError):
        raise BodyNotRead from None
