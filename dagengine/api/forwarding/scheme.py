"""Authentication of requests that another controller forwards."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from dagengine.api.auth import is_page, open_body, read_body
from dagengine.api.caller import Caller, CallerKind, Right
from dagengine.api.forwarding.owner import OwnershipView
from dagengine.api.sessions import CSRF_HEADER, PAGE_SESSION, PageSession
from dagengine.errors import NotOwner
from dagengine.runtime.clock import Clock
from dagengine.security.forwarded_header import (
    FORWARDED_HEADER,
    NonceLog,
    digest_request,
    parse_forwarded,
)
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey


@dataclass(frozen=True, slots=True)
class ForwardedRequests:
    """The authentication scheme of requests that another controller has authenticated.

    Attributes:
        key: derived from the service's RSA key for `forwarded_header.KEY_PURPOSE`.
        server_key: decrypts the callers' headers.
        view: tells in which epoch this controller owns the cluster.
        clock: source of time.
        replay: replay protection of the cluster.
        nonces: the nonces of the requests that were accepted.
        body_timeout_s: time limit for receiving a body, in seconds.
    """

    key: bytes
    server_key: ServerKey
    view: OwnershipView
    clock: Clock
    replay: ReplayGuard
    nonces: NonceLog
    body_timeout_s: float

    def applies_to(self, request: web.Request) -> bool:
        return FORWARDED_HEADER in request.headers

    async def authenticate(self, request: web.Request) -> tuple[Caller, bytes]:
        """Return the caller that the other controller names, and the decrypted body.

        Raises:
            ForwardingRefused: the header is forged, expired or was accepted before.
            NotOwner: this controller does not own the cluster in the header's epoch.
            HeaderReplayed: the caller's own header was used before.
        """
        body = await read_body(request, timeout_s=self.body_timeout_s)
        digest = digest_request(request.method, request.raw_path, body)
        # Several values are joined by a character that no header contains.
        value = "\n".join(request.headers.getall(FORWARDED_HEADER))
        header = parse_forwarded(self.key, value, digest)
        if (header.cluster, header.epoch) != (self.view.cluster, self.view.own_epoch):
            raise NotOwner(self.view.cluster)
        self.nonces.take(header, self.clock.now())
        rights = frozenset(Right(right) for right in header.rights.split(",") if right)
        caller = Caller(CallerKind(header.scheme), header.caller, rights, header.address)
        if is_page(request):
            # The other controller has checked session, origin and token.
            request[PAGE_SESSION] = PageSession(request.headers.get(CSRF_HEADER, ""), None)
        return caller, await open_body(request, body, self.server_key, self.replay, self.clock)
