"""The static files of the pages, under names that contain a digest of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from dagengine.errors import RouteNotFound
from dagengine.web import messages
from dagengine.web.rendering import read_static_file

STATIC_ROOT = "/ui/static"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_NAMES = ("style.css", "htmx.min.js", "app.mjs", "icon.svg")
_DIGEST_CHARS = 12
_HEADERS = {
    # The name changes with the content, so that a browser never shows a page with an old file.
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A static file.

    Attributes:
        path: path of its URL.
        content: its content.
        content_type: its media type.
    """

    path: str
    content: bytes
    content_type: str


class StaticFiles:
    """All static files, read once; they need no login."""

    def __init__(self) -> None:
        files = {name: _read(name) for name in _NAMES}
        self._by_path = {file.path: file for file in files.values()}
        self.paths: Mapping[str, str] = {
            name.partition(".")[0]: file.path for name, file in files.items()
        }

    async def serve(self, request: web.Request) -> web.Response:
        """Return a static file.

        Raises:
            RouteNotFound: a file with this content does not exist.
        """
        file = self._by_path.get(request.path)
        if file is None:
            raise RouteNotFound(messages.FILE_NOT_FOUND())
        headers = {**_HEADERS, "Content-Type": file.content_type}
        return web.Response(body=file.content, headers=headers)


def _read(name: str) -> StaticFile:
    content = read_static_file(name)
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST_CHARS]
    stem, _, ending = name.rpartition(".")
    path = f"{STATIC_ROOT}/{stem}-{digest}.{ending}"
    return StaticFile(path, content, _TYPES[ending])
