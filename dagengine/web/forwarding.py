"""The pages of a cluster that another controller owns.

Sessions are in the shared store, so this controller logs users in and out, and checks the session,
the origin and the token of each request. It then sends the request to the owner, which renders the
page. Streams are not forwarded: the browser learns the owner's URL, and refreshes the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from aiohttp import web

from dagengine.api.auth import address_of
from dagengine.api.caller import Caller, anyone_at, required_right
from dagengine.errors import NotOwner, RouteNotFound
from dagengine.security.page_errors import LoginRequired
from dagengine.translation import Tables
from dagengine.web.layout import UI_ROOT
from dagengine.web.login import LOGIN_PATH, LoginPages
from dagengine.web.rendering import PAGE_HEADERS, make_environment
from dagengine.web.static_files import STATIC_ROOT

_ANY = "/{tail:.*}"


class PageForwarder(Protocol):
    """Sends requests for pages to the controller that owns the cluster."""

    async def forward(
        self, request: web.Request, caller: Caller, body: bytes, *, csrf: str = ""
    ) -> web.Response:
        """Return the owner's response; `csrf` is the token of the forms that it renders."""
        ...

    async def redirect(self, request: web.Request) -> NotOwner:
        """Return the error that names the owner."""
        ...


@dataclass(frozen=True, slots=True)
class ForwardedPages:
    """Handles the requests for pages at a controller that does not own the cluster.

    Attributes:
        login: authenticates requests, and renders errors.
        forwarder: sends requests to the owner.
    """

    login: LoginPages
    forwarder: PageForwarder

    async def forward(self, request: web.Request) -> web.Response:
        """Authenticate a request for a page or a form, and return the owner's response."""
        self.login.begin(request)
        try:
            visit = await self.login.enter(request)
        except LoginRequired:
            if request.method != "GET":
                raise
            raise web.HTTPSeeOther(f"{LOGIN_PATH}?next={quote(request.path_qs)}") from None
        visit.caller.ensure_right(required_right("GET"))  # the owner checks that of an action
        return await self.forwarder.forward(request, visit.caller, visit.body, csrf=visit.csrf)

    async def refuse_stream(self, request: web.Request) -> web.Response:
        """Name the owner to an authenticated browser, with 421."""
        try:
            visit = await self.login.enter(request)
        except LoginRequired:
            return web.Response(status=401, headers=PAGE_HEADERS)
        visit.caller.ensure_right(required_right("GET"))
        error = await self.forwarder.redirect(request)
        headers = {**PAGE_HEADERS, **error.response_headers}
        return web.Response(status=error.http_status, headers=headers)

    async def serve_file(self, request: web.Request) -> web.Response:
        """Return a static file; the owner's, if its version of the program differs."""
        try:
            return await self.login.files.serve(request)
        except RouteNotFound:
            return await self.forwarder.forward(request, anyone_at(address_of(request)), b"")


def add_forwarded_pages(
    app: web.Application,
    forwarder: PageForwarder,
    *,
    cluster: str,
    translations: Sequence[Tables] = (),
) -> None:
    """Add the pages to an application that `build_forwarding_app` has built.

    Args:
        app: the application of a cluster that another controller owns.
        forwarder: sends requests to the owner.
        cluster: name of the cluster.
        translations: texts of errors in other languages than English.
    """
    login = LoginPages.create(app, cluster, make_environment(()), tuple(translations))
    pages = ForwardedPages(login, forwarder)
    router = app.router
    router.add_get(f"{UI_ROOT}/events", pages.refuse_stream)
    router.add_get(LOGIN_PATH, login.show_login)
    router.add_post(LOGIN_PATH, login.log_in)
    router.add_post(f"{UI_ROOT}/logout", login.log_out)
    router.add_get(STATIC_ROOT + _ANY, pages.serve_file)
    for path in ("/", UI_ROOT):
        router.add_get(path, _open_start_page)
    router.add_route("*", UI_ROOT + _ANY, pages.forward)


async def _open_start_page(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=303, headers={"Location": f"{UI_ROOT}/"})
