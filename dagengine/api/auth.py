"""The door: who may pass, in the protocol's order (2.5), and the request's body in clear."""

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
from dagengine.security.login_slots import LoginLimiter
from dagengine.security.login_throttle import LoginBackoff
from dagengine.security.replay import MAX_AHEAD_S, HeaderFingerprint, ReplayGuard, sight
from dagengine.security.server_key import ServerKey

API_ROOT = "/api/v1"
BODY_LIMIT_BYTES = 1024 * 1024

_READS = ("GET", "HEAD", "OPTIONS")
_AGENT_HEADER, _ROOT_HEADER = "X-OCS-Agent-Header", "X-OCS-Header"
_AGENT_TASK = re.compile(rf"{API_ROOT}/task/\w+/[45][^/]*(/\w+)?")
# A wrong clock is no guess at a password: it does not count as a failed login.
_NO_GUESSES = (HeaderExpired, TimestampInvalid, PasswordUnavailable)

CALLER = web.RequestKey("caller", str)
"""Who asks, from where, once the gate has let the request pass."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets a request in, and opens its body.

    Attributes:
        key: decrypts headers.
        clock: where time comes from.
        passwords: what callers must know, now.
        replay: what was seen.
        backoff: which addresses have to pause.
        turns: how many headers of one address are decrypted at once.
        body_timeout_s: how long a body may take to arrive, in seconds.
    """

    key: ServerKey
    clock: Clock
    passwords: Callable[[], Passwords]
    replay: ReplayGuard
    backoff: LoginBackoff
    turns: LoginLimiter
    body_timeout_s: float

    async def open(self, request: web.Request) -> bytes:
        """The decrypted body of a request that may pass.

        Raises:
            SecurityError, DagengineError: why not.
        """
        if (peer := peer_at(request)) is not None:
            return await self._open_locally(request, peer)
        address = request.remote or ""
        is_agent, value = _header_of(request)
        if not value:
            raise HeaderMissing
        async with self.turns.take(address):
            # Asked in turn: the ones before may have failed meanwhile.
            self.backoff.refuse_paused(address)
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
            body = await self._open_body(request, header, cipher, refused=refusal is not None)
        except (HeaderReplayed, *DECRYPTION_ERRORS):
            if refusal is None:
                self.backoff.note_failure(address)
            raise
        if refusal is not None:
            raise refusal
        request[CALLER] = f"{'agent password' if is_agent else 'root@sys'} from {request.remote}"
        return body

    async def _open_locally(self, request: web.Request, peer: Peer) -> bytes:
        """At the unix socket the kernel says who it is; a header is there only for the body."""
        _, value = _header_of(request)
        body = await read_body(request, timeout_s=self.body_timeout_s)
        request[CALLER] = f"{peer} at the socket"
        if not value:
            return body
        plain = await self.key.decrypt(decode_header(value))
        keys = parse_header(plain, is_agent=False).keys
        return decrypt_body(body, keys) if body else body

    async def _open_body(
        self, request: web.Request, header: SignedHeader, cipher: bytes, *, refused: bool
    ) -> bytes:
        body = await read_body(request, timeout_s=self.body_timeout_s)
        sighting = sight(cipher, self.key.block_bytes, header.keys)
        await self._reserve(sighting, header, acts=_acts(request), refused=refused)
        return decrypt_body(body, header.keys) if body else body

    def _refusal(self, request: web.Request, header: SignedHeader) -> SecurityError | None:
        """What the credentials lack. Not raised at once: a body is judged before them (2.5)."""
        try:
            check_credentials(
                header,
                target=request.raw_path,
                now_s=int(self.clock.now().timestamp()),
                passwords=self.passwords(),
                agent_only=_AGENT_TASK.fullmatch(request.path) is not None,
                max_ahead_s=MAX_AHEAD_S if _acts(request) else None,
            )
        except PasswordUnavailable:
            raise
        except SecurityError as exc:
            return exc
        return None

    async def _reserve(
        self, sighting: HeaderFingerprint, header: SignedHeader, *, acts: bool, refused: bool
    ) -> None:
        """Before the body is decrypted: this must be the only request of its kind."""
        if not acts and not refused:
            self.replay.note_read(sighting)
        elif refused and acts:
            self.replay.note_try(sighting)
        elif acts:
            # Without a password ts says nothing (2.6): then it is remembered as long as any.
            now_s = int(self.clock.now().timestamp())
            until_s = parse_time(header.ts) if header.auth else now_s + MAX_AHEAD_S
            await self.replay.reserve(sighting, until_s=until_s)


def refuse_other_users(peer: Peer | None) -> None:
    """At the unix socket: root and this process's own user may enter, whatever they ask for.

    Raises:
        SocketPermissionDenied: it is somebody else.
    """
    if peer is not None and peer.uid not in (0, os.geteuid()):
        raise SocketPermissionDenied(str(peer))


def _acts(request: web.Request) -> bool:
    """True for what changes something.

    A body makes any request one that acts: what is answered to it tells how it decrypts, so that
    must happen once.
    """
    return request.body_exists or request.method not in _READS


def _header_of(request: web.Request) -> tuple[bool, str]:
    """Whether it is the agent's header, and its value; empty when there is none."""
    if value := request.headers.get(_AGENT_HEADER):
        return True, value
    return False, request.headers.get(_ROOT_HEADER, "")


async def read_body(request: web.Request, *, timeout_s: float) -> bytes:
    """The body as it came, within `timeout_s` seconds.

    Raises:
        HTTPRequestEntityTooLarge: it is longer than the API takes; known from its header, or
            once so much has come.
        BodyNotRead: it did not come in time, or broke off.
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
