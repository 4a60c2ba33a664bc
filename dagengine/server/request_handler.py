"""aiohttp's protocol of a connection, with this project's responses to requests it cannot parse."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from email.utils import format_datetime
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

from dagengine.api.envelope import render_envelope
from dagengine.errors import ApiError, DagengineError, RouteNotFound
from dagengine.messages_zh import TEMPLATES as CHINESE
from dagengine.runtime.clock import Clock
from dagengine.server import messages
from dagengine.translation import Translator

_RESPONSE = (
    b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nDate: %b\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)
_TRANSLATOR = Translator(({"zh": CHINESE},))
_KEPT_BYTES = 4096  # of the last input, until the next input of the connection
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [\x21-\xff]+ HTTP/(\d\.\d)")
_HTTP_1 = (b"1.0", b"1.1")
_NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


class _Head(NamedTuple):
    """Request line and headers of a request that aiohttp has refused.

    Attributes:
        is_unknown_method: it is valid HTTP, except that aiohttp does not know the method.
        headers: those that could be read; the others are left out.
    """

    is_unknown_method: bool
    headers: CIMultiDictProxy[str]


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

    __slots__ = ("_clock", "_received")

    def __init__(self, server: web.Server, clock: Clock, **options: Any) -> None:
        """Create it with the options of `web.AppRunner`."""
        super().__init__(server, **options)
        self._clock = clock
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Keep the beginning: aiohttp drops the headers of a request that it refuses."""
        self._received = data[:_KEPT_BYTES]
        super().data_received(data)

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
        headers, is_unknown_method = request.headers, False
        if isinstance(exc, HttpProcessingError):
            head = _find_refused(_read_heads(self._received))
            headers = head.headers
            is_unknown_method = isinstance(exc, BadHttpMethod) and head.is_unknown_method
        error: DagengineError
        if is_unknown_method:
            error = RouteNotFound(messages.METHOD_UNKNOWN())
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            error = DagengineError(messages.REQUEST_FAILED(), remedy=messages.SEE_CONTROLLER_LOG())
        else:
            error = _RequestMalformed(messages.REQUEST_MALFORMED(), remedy=messages.SEND_HTTP())
            error.http_status = status  # type: ignore[misc]  # aiohttp's own, such as 413
        return _FinalResponse(render_final(error, self._clock, headers), error.http_status)


def render_final(error: DagengineError, clock: Clock, headers: CIMultiDictProxy[str]) -> bytes:
    """Render a whole response, after which the connection is closed.

    Args:
        error: the error to report.
        clock: source of time.
        headers: of the request, for the trace id and the language; empty if it has none that can
            be read.
    """
    status, at = error.http_status, clock.now()
    languages = ",".join(headers.getall("Accept-Language", ()))
    content = render_envelope(
        status=status,
        at=at,
        duration_ms=0,
        trace_id=headers.get("X-OBSHELL-Trace-ID") or secrets.token_hex(8),
        error=error,
        describe=partial(_TRANSLATOR.describe, accept_language=languages),
    )
    date = format_datetime(at, usegmt=True).encode()
    phrase = HTTPStatus(status).phrase.encode()
    return _RESPONSE % (status, phrase, date, len(content), content)


def read_headers(received: bytes) -> CIMultiDictProxy[str]:
    """Return the headers of a request that was refused; empty if they cannot be read."""
    return _find_refused(_read_heads(received)).headers


def _read_heads(received: bytes) -> list[_Head]:
    """Return the requests at the beginning of the input, and after each empty line in it."""
    heads = []
    for block in received.split(b"\r\n\r\n"):
        line, *fields = block.lstrip(b"\r\n").split(b"\r\n")
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            continue
        method, version = match.groups()
        is_unknown = version in _HTTP_1 and method.decode("ascii") not in hdrs.METH_ALL
        headers: CIMultiDict[str] = CIMultiDict()
        for field in fields:
            name, colon, value = field.decode("utf-8", "surrogateescape").partition(":")
            if colon:
                headers.add(name, value.strip())
        heads.append(_Head(is_unknown, CIMultiDictProxy(headers)))
    return heads


def _find_refused(heads: Sequence[_Head]) -> _Head:
    """Return the first request with an unknown method, else the last request."""
    last = heads[-1] if heads else _Head(is_unknown_method=False, headers=_NO_HEADERS)
    return next((head for head in heads if head.is_unknown_method), last)
