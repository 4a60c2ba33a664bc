"""aiohttp's protocol of a connection, with this project's responses to requests it cannot parse."""

from __future__ import annotations

import secrets
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from dagengine.api.envelope import render_envelope
from dagengine.errors import ApiError, DagengineError, RouteNotFound
from dagengine.runtime.clock import Clock
from dagengine.server import messages

_RESPONSE = (
    b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nDate: %b\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)


class _RequestMalformed(ApiError):
    """Raised when a request is not valid HTTP."""


class _FinalResponse(web.StreamResponse):
    """A response without the header `Server`, after which the connection is closed.

    aiohttp adds that header to each response; the application removes it, but never sees a
    request that cannot be parsed.
    """

    def __init__(self, content: bytes, status: int) -> None:
        super().__init__(status=status)
        self._content = content
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.write(self._content)

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has written everything."""


class RequestHandler(web.RequestHandler):
    """The protocol of one connection."""

    __slots__ = ("_clock",)

    def __init__(self, server: web.Server, clock: Clock, **options: Any) -> None:
        """Create it with the options of `web.AppRunner`."""
        super().__init__(server, **options)
        self._clock = clock

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Respond in the envelope; a method that HTTP does not know is a route that is not found.

        aiohttp logs the error first, and refuses if a part of a response was already sent.
        """
        super().handle_error(request, status, exc, message)
        error: DagengineError
        if isinstance(exc, BadHttpMethod):
            error = RouteNotFound(messages.METHOD_UNKNOWN())
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            error = DagengineError(messages.REQUEST_FAILED(), remedy=messages.SEE_CONTROLLER_LOG())
        else:
            error = _RequestMalformed(messages.REQUEST_MALFORMED(), remedy=messages.SEND_HTTP())
            error.http_status = status  # type: ignore[misc]  # aiohttp's own, such as 413
        return _FinalResponse(render_final(error, self._clock), error.http_status)


def render_final(error: DagengineError, clock: Clock) -> bytes:
    """Render a whole response, after which the connection is closed.

    It is in English: the headers of a request that cannot be parsed are not known.
    """
    status, at = error.http_status, clock.now()
    trace_id = secrets.token_hex(8)
    content = render_envelope(status=status, at=at, duration_ms=0, trace_id=trace_id, error=error)
    date, phrase = format_datetime(at, usegmt=True).encode(), HTTPStatus(status).phrase.encode()
    return _RESPONSE % (status, phrase, date, len(content), content)
