"""Authentication in the order of protocol 2.5, and decryption of the request body."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

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

API_ROOT = "/api/v1"
BODY_LIMIT_BYTES = 1024 * 1024

_READS = ("GET", "HEAD", "OPTIONS")
_AGENT_HEADER, _ROOT_HEADER = "X-OCS-Agent-Header", "X-OCS-Header"
_AGENT_TASK = re.compile(rf"{API_ROOT}/task/\w+/[45][^/]*(/\w+)?")
# Errors that do not indicate a guessed password, such as a wrong clock, are not failed logins.
_NO_GUESSES = (HeaderExpired, TimestampInvalid, PasswordUnavailable)

CALLER = web.RequestKey("caller", str)
"""Identity and address of the caller of an authenticated request."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Authenticates a request and decrypts its body.

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

    async def open(self, request: web.Request) -> bytes:
        """Authenticate a request and return its decrypted body.

        Raises:
            SecurityError, DagengineError: the request is rejected.
        """
        if (peer := peer_at(request)) is not None:
            return await self._open_locally(request, peer)
        address = request.remote or ""
        is_agent, value = _header_of(request)
        if not value:
            raise HeaderMissing
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
        request[CALLER] = f"{'agent password' if is_agent else 'root@sys'} from {request.remote}"
        return body

    async def _open_locally(self, request: web.Request, peer: Peer) -> bytes:
        """Return the body of a request over the unix socket.

        The kernel identifies the caller, so a header is needed only to decrypt the body.
        """
        _, value = _header_of(request)
        body = await read_body(request, timeout_s=self.body_timeout_s)
        request[CALLER] = f"{peer} at the socket"
        if not value:
            return body
        plain = await self.key.decrypt(decode_header(value))
        keys = parse_header(plain, is_agent=False).keys
        return decrypt_body(body, keys) if body else body

    async def _open_body(
        self, request: web.Request, header: SignedHeader, cipher: bytes, *, is_refused: bool
    ) -> bytes:
        body = await read_body(request, timeout_s=self.body_timeout_s)
        fingerprint = fingerprint_header(cipher, self.key.block_bytes, header.keys)
        await self._reserve(fingerprint, header, acts=_is_mutating(request), is_refused=is_refused)
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
                agent_only=_AGENT_TASK.fullmatch(request.path) is not None,
                max_ahead_s=MAX_AHEAD_S if _is_mutating(request) else None,
            )
        except PasswordUnavailable:
            raise
        except SecurityError as exc:
            return exc
        return None

    async def _reserve(
        self, fingerprint: HeaderFingerprint, header: SignedHeader, *, acts: bool, is_refused: bool
    ) -> None:
        """Record the header and reject a repetition; called before the body is decrypted."""
        if not acts and not is_refused:
            self.replay.note_read(fingerprint)
        elif is_refused and acts:
            self.replay.note_try(fingerprint)
        elif acts:
            # With an empty password `ts` is not checked (2.6), so reserve for the maximum time.
            now_s = int(self.clock.now().timestamp())
            until_s = parse_time(header.ts) if header.auth else now_s + MAX_AHEAD_S
            await self.replay.reserve(fingerprint, until_s=until_s)


def refuse_other_users(peer: Peer | None) -> None:
    """Reject users of the unix socket other than root and this process's own user.

    The check applies to every path, including those that do not need a login.

    Raises:
        SocketPermissionDenied: the caller is another user.
    """
    if peer is not None and peer.uid not in (0, os.geteuid()):
        raise SocketPermissionDenied(str(peer))


def _is_mutating(request: web.Request) -> bool:
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
