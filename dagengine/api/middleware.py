"""Middleware around every handler: checks the socket peer, measures time, renders errors."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import structlog
from aiohttp import HttpVersion11, web

from dagengine.api import messages
from dagengine.api.auth import (
    API_ROOT,
    BODY_LIMIT_BYTES,
    FLEET_ROOT,
    is_page,
    refuse_other_users,
    refuse_token_in_url,
)
from dagengine.api.connections import ClientConnection, Peer, connection_of
from dagengine.api.envelope import ABSENT, render_envelope
from dagengine.api.plans.digest import PLAN_DIGEST
from dagengine.error_codes import Code
from dagengine.errors import DagengineError, PlanChanged, RouteNotFound
from dagengine.runtime.clock import Clock
from dagengine.security.errors import DECRYPTION_ERRORS, SocketPermissionDenied
from dagengine.security.request_origin import OriginPolicy
from dagengine.security.tokens import mask_tokens
from dagengine.translation import Translator

_log = structlog.get_logger("dagengine.api")
_LOGGED_CHARS = 200  # of values from the request, which may be as long as a header

_JSON_ROOTS = (API_ROOT, FLEET_ROOT, "/rpc/v1")
FindNotices: TypeAlias = Callable[[], Sequence[str]]
WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ResponseBuilder(NamedTuple):
    """Builder of the response to one request."""

    clock: Clock
    begun_s: float
    trace_id: str
    content_type: str = "application/json"
    tells_time: bool = True
    describe: Callable[[DagengineError], str] = str

    def success(self, data: object, notices: Sequence[str] = ()) -> web.Response:
        content = {} if data is None else {"data": data}
        return self._respond(200, **content, notices=notices)

    def failure(
        self, error: DagengineError, *, data: object = ABSENT, notices: Sequence[str] = ()
    ) -> web.Response:
        """Build an error response.

        `data` is included only if the business step was tried and failed: the status is 500 or
        higher, or the error says so. PlanChanged has its own.
        """
        answer = self
        # These responses have an empty trace id, and SocketPermissionDenied has no duration
        # (protocol 1, 1.1).
        if isinstance(error, (*DECRYPTION_ERRORS, SocketPermissionDenied)):
            kind = "application/json; charset=utf-8"
            tells_time = not isinstance(error, SocketPermissionDenied)
            answer = self._replace(trace_id="", content_type=kind, tells_time=tells_time)
        if error.http_status < _SERVER_ERROR and not error.has_tried:
            data = ABSENT
        if isinstance(error, PlanChanged) and error.data:
            data = error.data
        response = answer._respond(error.http_status, error=error, data=data, notices=notices)
        response.headers.update(error.response_headers)
        return response

    def _respond(self, status: int, **content: object) -> web.Response:
        took_s = self.clock.monotonic_s() - self.begun_s if self.tells_time else 0
        body = render_envelope(
            status=status,
            at=self.clock.now(),
            duration_ms=int(took_s * 1000),
            trace_id=self.trace_id,
            describe=self.describe,
            **content,  # type: ignore[arg-type]
        )
        headers = {"Content-Type": self.content_type}
        data = content.get("data")
        if isinstance(data, Mapping) and data.get("dry_run") is True:
            headers[PLAN_DIGEST] = str(data["digest"])
        return web.Response(status=status, body=body, headers=headers)


_SERVER_ERROR = 500

FAILED_DATA = web.RequestKey("failed_data", object)
"""Value of `data` if the business step fails (protocol 1.1); set before the step starts."""

NOTICES: web.RequestKey[FindNotices] = web.RequestKey("notices")
"""Function that returns the current notices; set after the caller has logged in."""

ANSWER = web.RequestKey("answer", ResponseBuilder)
"""The builder of the response to the request."""


class FailurePage(NamedTuple):
    """Renders an error as a page."""

    render: Callable[[DagengineError], web.Response]


FAILURE_PAGE = web.RequestKey("failure_page", FailurePage)
"""Renders errors in place of the envelope; set by handlers that serve pages."""


Timed = Callable[[str, str, int, float], None]
"""Called with method, route, status and duration in seconds of every response."""


def envelope_middleware(
    clock: Clock, timed: Timed, origin_policy: OriginPolicy, translator: Translator
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return a middleware that turns every result, including every exception, into a response."""

    @web.middleware
    async def middleware(request: web.Request, handler: WebHandler) -> web.StreamResponse:
        trace_id = request.headers.get("X-OBSHELL-Trace-ID") or secrets.token_hex(8)
        if request.raw_path == f"{API_ROOT}/status":
            trace_id = ""
        languages = ",".join(request.headers.getall("Accept-Language", ()))
        describe = partial(translator.describe, accept_language=languages)
        answer = ResponseBuilder(clock, clock.monotonic_s(), trace_id, describe=describe)
        request[ANSWER] = answer
        connection = connection_of(request)
        if connection is not None:
            connection.begin()
        try:
            response = await _answer(request, handler, answer, connection, origin_policy)
        finally:
            if connection is not None:
                connection.end(is_read=request.content.is_eof())
        if isinstance(response, web.Response):  # a stream ends when its subscriber leaves
            resource = request.match_info.route.resource
            route, method = "unknown", "any"
            if resource is not None:
                route, method = resource.canonical, request.method
            timed(method, route, response.status, clock.monotonic_s() - answer.begun_s)
        return response

    return middleware


async def _answer(
    request: web.Request,
    handler: WebHandler,
    answer: ResponseBuilder,
    connection: ClientConnection | None,
    origin_policy: OriginPolicy,
) -> web.StreamResponse:
    try:
        peer = None if connection is None else connection.peer
        refuse_other_users(peer)
        _check_origin(request, origin_policy, peer)
        refuse_token_in_url(request)
        return await handler(request)
    except web.HTTPException as exc:
        return await _answer_http(request, answer, exc)
    except DagengineError as exc:
        # Client errors are logged as information; server errors are warnings for the operator.
        is_ours = exc.http_status >= _SERVER_ERROR
        _log.log(
            logging.WARNING if is_ours else logging.INFO,
            "request_refused",
            method=request.method,
            path=mask_tokens(request.path)[:_LOGGED_CHARS],
            caller=request.remote if connection is None else connection.address,
            err_code=exc.err_code,
            trace_id=answer.trace_id[:_LOGGED_CHARS],
            **({"error": str(exc)} if is_ours else {}),
        )
        if FAILURE_PAGE in request:
            return request[FAILURE_PAGE].render(exc)
        find_notices = request.get(NOTICES, tuple)
        return answer.failure(exc, data=request.get(FAILED_DATA, ABSENT), notices=find_notices())
    except Exception:  # noqa: BLE001  # the caller always gets a response
        _log.exception("request_failed", method=request.method, path=request.path)
        error = DagengineError(
            messages.UNEXPECTED_ERROR(), remedy=messages.SEE_LOG(trace_id=answer.trace_id)
        )
        if FAILURE_PAGE in request:
            return request[FAILURE_PAGE].render(error)
        return answer.failure(error)


def _check_origin(request: web.Request, policy: OriginPolicy, peer: Peer | None) -> None:
    """Reject a request of a foreign web page; raises HostNotAllowed or OriginNotAllowed."""
    hosts = request.headers.getall("Host", [])
    if not request.raw_path.startswith(("/", "*")) and request.method != "CONNECT":
        # The target is a whole URL, whose host takes precedence; `rel_url` is without it.
        hosts = [request.url.raw_authority]
    policy.check(
        hosts,
        request.headers.getall("Origin", []),
        is_local=peer is not None,
        needs_host=request.version >= HttpVersion11,
        is_page=is_page(request),
    )


async def _answer_http(
    request: web.Request, answer: ResponseBuilder, exc: web.HTTPException
) -> web.StreamResponse:
    """Render an error of aiohttp, such as an unknown path or method, or a body that is too large.

    A path with a trailing slash is redirected if the path without it exists.
    """
    if isinstance(exc, web.HTTPRedirection):
        return web.Response(status=exc.status, headers={"Location": exc.headers["Location"]})
    if exc.status not in (404, 405):
        is_too_large = exc.status == web.HTTPRequestEntityTooLarge.status_code
        error = DagengineError(
            messages.BODY_TOO_LARGE(limit_bytes=BODY_LIMIT_BYTES)
            if is_too_large
            else messages.REQUEST_REJECTED()
        )
        error.http_status = exc.status  # type: ignore[misc]  # aiohttp's own status, such as 413
        error.err_code = Code.BAD_REQUEST  # type: ignore[misc]
        return answer.failure(error)
    if not request.path.startswith(_JSON_ROOTS):
        return web.Response(status=404, text=messages.PAGE_NOT_FOUND())
    path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
    bare = path.rstrip("/")
    if bare != path and await _is_known(request, bare):
        location = bare + (f"?{query}" if query else "")
        status = 301 if request.method == "GET" else 307
        return web.Response(status=status, headers={"Location": location})
    return answer.failure(RouteNotFound(messages.ROUTE_NOT_FOUND()))


async def _is_known(request: web.Request, path: str) -> bool:
    match = await request.app.router.resolve(
        request.clone(rel_url=request.rel_url.with_path(path, encoded=True))
    )
    return match.http_exception is None
