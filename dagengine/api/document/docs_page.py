"""The page `/docs`: Swagger UI over `/openapi.json`, without other servers (docs/decisions/0019).

The page has neither a session nor a cookie. "Try it out" sends the token of its field.
"""

from __future__ import annotations

from hashlib import sha256
from importlib import resources

from aiohttp import web

DOCS_PATH = "/docs"

_KINDS = {
    "docs.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
"""The served files of `static`, with their content types."""

_HEADERS = {
    # Swagger UI sets styles, and its images are data URLs.
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


_STATIC = resources.files(__package__ or "").joinpath("static")


def add_docs_page(app: web.Application) -> None:
    """Serve the page and its files; anyone may read them."""
    app.router.add_get(DOCS_PATH, _StaticFile("docs.html", "text/html").respond)
    for name, kind in _KINDS.items():
        app.router.add_get(f"{DOCS_PATH}/{name}", _StaticFile(name, kind).respond)


class _StaticFile:
    """A file of `static`, read when it is first requested."""

    def __init__(self, name: str, kind: str) -> None:
        self._name, self._kind = name, kind
        self._content = b""
        self._etag = ""

    async def respond(self, request: web.Request) -> web.Response:
        if not self._content:
            self._content = _STATIC.joinpath(self._name).read_bytes()
            self._etag = f'"{sha256(self._content).hexdigest()[:32]}"'
        headers = {**_HEADERS, "ETag": self._etag}
        if request.headers.get("If-None-Match") == self._etag:
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=self._content, content_type=self._kind, charset="utf-8", headers=headers
        )
