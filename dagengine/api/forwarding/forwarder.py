"""Sends requests for a cluster to the controller that owns it (docs/decisions/0022).

A controller that does not own the cluster authenticates the caller and sends the request to the
owner, together with a header that names the caller. The owner trusts that header, because only
controllers of the same service can make it, and applies what belongs to the cluster: replay
protection and idempotency. A forwarded request is never forwarded again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import structlog
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from dagengine.api.caller import Caller
from dagengine.api.forwarding.owner import Owner, OwnershipView
from dagengine.api.sessions import CSRF_HEADER
from dagengine.errors import NotOwner, OwnerLost, OwnerUnavailable
from dagengine.runtime.clock import Clock
from dagengine.security.forwarded_header import (
    FORWARDED_HEADER,
    ForwardedHeader,
    digest_request,
    render_forwarded,
)

_log = structlog.get_logger("dagengine.api.forwarding")

_READS = ("GET", "HEAD", "OPTIONS")
_WAIT_S = 2.0  # for a new owner
_CONNECT_S = 2.0
_POLL_S = 0.1
_CHECK_OWNER_S = 0.5  # how often to check, during a request, that the owner still is the owner
_MISDIRECTED = 421

# Errors before anything was sent; the second one is that of a host that does not answer at all.
_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)

# Hop-by-hop headers, those of the connection to this controller, and those that browsers add. The
# owner needs no credentials besides the encrypted header, which opens the body; a cookie would be
# that of another origin.
_NOT_SENT = frozenset(
    {
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("host", "content-length", "origin", "authorization", FORWARDED_HEADER.lower()),
        *("cookie", CSRF_HEADER.lower()),
    }
)
_NOT_RETURNED = frozenset(
    {
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "date", "server"),
    }
)


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request for the owner.

    Attributes:
        method: the HTTP method.
        target: path and query.
        body: as the owner receives it.
        headers: without those of a connection and without credentials.
    """

    method: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OwnerResponse:
    """The owner's response to a request."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Forwarder:
    """Sends authenticated requests of one cluster to its owner."""

    def __init__(
        self,
        view: OwnershipView,
        key: bytes,
        clock: Clock,
        new_nonce: Callable[[], str],
        session: aiohttp.ClientSession,
        *,
        silence_s: float = 120.0,
    ) -> None:
        """Create a forwarder.

        Args:
            view: finds the owner.
            key: derived from the service's RSA key for `forwarded_header.KEY_PURPOSE`.
            clock: source of time.
            new_nonce: returns 32 random hexadecimal digits.
            session: sends the requests. It must not follow redirects, decompress bodies, or reuse
                connections: a lost connection must mean that the owner was reached and lost.
            silence_s: an owner that sends nothing for this time, in seconds, is lost; longer than
                any request takes.
        """
        self._view = view
        self._key = key
        self._clock = clock
        self._new_nonce = new_nonce
        self._session = session
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_S, sock_read=silence_s
        )

    async def forward(
        self, request: web.Request, caller: Caller, body: bytes, *, csrf: str = ""
    ) -> web.Response:
        """Return the owner's response to a request of a client.

        Args:
            request: the request as received.
            caller: its authenticated caller.
            body: the body as received, that is, encrypted if the caller encrypted it.
            csrf: the token of the forms on the page that the owner returns; empty for none.

        Raises:
            NotOwner: another controller has already forwarded the request.
            OwnerUnavailable, OwnerLost: see `send`.
        """
        self.refuse_second_hop(request)
        headers = filter_headers(request.headers, _NOT_SENT)
        if csrf:
            headers[CSRF_HEADER] = csrf
        outgoing = OutgoingRequest(request.method, request.raw_path, body, headers)
        response = await self.send(outgoing, caller)
        returned = filter_headers(response.headers, _NOT_RETURNED)
        return web.Response(status=response.status, headers=returned, body=response.body)

    async def send(self, request: OutgoingRequest, caller: Caller) -> OwnerResponse:
        """Return the owner's response.

        Raises:
            OwnerUnavailable: no owner within 2 s; nothing was done.
            OwnerLost: the owner was lost while it processed a request that may change something.
        """
        deadline_s = self._clock.monotonic_s() + _WAIT_S
        while True:
            owner = await self._view.find_other_owner()
            if owner is not None:
                try:
                    return await self._send_to(owner, request, caller)
                except (_NotSent, NotOwner):
                    pass  # nothing was done: the owner has changed, or is about to
                except _Lost as exc:
                    _log.warning(
                        "owner_lost",
                        cluster=self._view.cluster,
                        owner=owner.controller_id,
                        error=str(exc.__cause__),
                    )
                    if request.method not in _READS:
                        raise OwnerLost(self._view.cluster) from exc
            if self._clock.monotonic_s() >= deadline_s:
                raise OwnerUnavailable(self._view.cluster)
            await asyncio.sleep(_POLL_S)

    async def redirect(self, request: web.Request) -> NotOwner:
        """Return the error that names the owner, for streams, which are not forwarded."""
        self.refuse_second_hop(request)
        owner = await self._view.find_other_owner()
        return NotOwner(self._view.cluster, "" if owner is None else owner.url)

    def refuse_second_hop(self, request: web.Request) -> None:
        """Raise NotOwner for a request that another controller has already forwarded."""
        if FORWARDED_HEADER in request.headers:
            raise NotOwner(self._view.cluster)

    async def _send_to(
        self, owner: Owner, request: OutgoingRequest, caller: Caller
    ) -> OwnerResponse:
        """Send the request to one owner; raises _NotSent, _Lost or NotOwner."""
        header = self._header(owner, caller)
        digest = digest_request(request.method, request.target, request.body)
        value = render_forwarded(self._key, header, digest)
        try:
            response = await self._exchange(owner, request, value)
        except ExceptionGroup as group:
            error = group.exceptions[0]
            if isinstance(error, _NOT_CONNECTED):
                raise _NotSent from error
            if isinstance(error, aiohttp.ClientError | OSError):  # OSError: also TimeoutError
                raise _Lost from error
            raise
        if response.status == _MISDIRECTED:
            raise NotOwner(self._view.cluster)
        return response

    async def _exchange(
        self, owner: Owner, request: OutgoingRequest, forwarded: str
    ) -> OwnerResponse:
        """Send the request and return the response; errors are in an ExceptionGroup."""
        url = URL(owner.url + request.target, encoded=True)
        headers = {**request.headers, FORWARDED_HEADER: forwarded}
        async with asyncio.TaskGroup() as group, asyncio.timeout(None) as limit:
            name = f"owner of {self._view.cluster}"
            watching = group.create_task(self._watch(owner, limit), name=name)
            try:
                async with self._session.request(
                    *(request.method, url),
                    headers=headers,
                    data=request.body or None,
                    allow_redirects=False,
                    timeout=self._timeout,
                ) as response:
                    return OwnerResponse(response.status, response.headers, await response.read())
            finally:
                watching.cancel()

    def _header(self, owner: Owner, caller: Caller) -> ForwardedHeader:
        return ForwardedHeader(
            controller_id=self._view.controller_id,
            cluster=self._view.cluster,
            epoch=owner.epoch,
            at=self._clock.now(),
            nonce=self._new_nonce(),
            caller=caller.name,
            rights=",".join(sorted(caller.rights)),
            scheme=caller.kind,
            address=caller.address,
        )

    async def _watch(self, owner: Owner, limit: asyncio.Timeout) -> None:
        """End the request once its owner is not the owner any more: it may never answer."""
        while True:
            await asyncio.sleep(_CHECK_OWNER_S)
            current = await self._view.find_other_owner()
            if current is not None and current != owner:
                limit.reschedule(asyncio.get_running_loop().time())
                return


def filter_headers(
    headers: CIMultiDictProxy[str] | Mapping[str, str], excluded: frozenset[str]
) -> CIMultiDict[str]:
    """Return the headers without those whose names, in lower case, are excluded."""
    kept = ((name, value) for name, value in headers.items() if name.lower() not in excluded)
    return CIMultiDict(kept)


class _NotSent(Exception):  # internal
    """Raised when the owner could not be reached, so that it has not received the request."""


class _Lost(Exception):  # internal
    """Raised when the connection to the owner broke after the request may have been sent."""
