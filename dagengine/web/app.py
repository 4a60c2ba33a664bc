"""The pages of one application: routes, rendering, and errors as pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from urllib.parse import quote

from aiohttp import web

from dagengine.api.caller import Right
from dagengine.api.context import CONTEXT, ApiContext
from dagengine.api.middleware import WebHandler
from dagengine.errors import DagengineError, IllegalArgument, RouteNotFound
from dagengine.runtime.logging import LogRing
from dagengine.security.page_errors import LoginRequired
from dagengine.translation import Tables
from dagengine.web import messages
from dagengine.web.changes import ChangeSignal
from dagengine.web.events import PageEvents
from dagengine.web.forms import parse_form
from dagengine.web.layout import (
    UI_ROOT,
    HeldLock,
    Status,
    view_clusters,
    view_frame,
    view_menu,
)
from dagengine.web.login import LOGIN_PATH, LoginPages, Visit
from dagengine.web.page import (
    Download,
    Page,
    PageAction,
    PageCall,
    PageResult,
    Redirect,
    ServerCount,
    View,
)
from dagengine.web.rendering import PAGE_HEADERS, html_response, make_environment
from dagengine.web.static_files import STATIC_ROOT
from dagengine.web.texts import CatalogueTexts, Texts
from dagengine.web.views.pages import dag_pages

_ANY = "/{tail:.*}"


@dataclass(frozen=True, slots=True)
class WebApp:
    """Handles the requests for pages of one cluster.

    Attributes:
        ctx: the dependencies of the application.
        login: authenticates requests, and renders errors.
        pages: all pages, in the order of the menu.
        count_servers: see Extension.
        urls: the URLs of all clusters of the controller, by name.
    """

    ctx: ApiContext
    login: LoginPages
    pages: Sequence[Page]
    count_servers: Callable[[], ServerCount | None]
    urls: Mapping[str, str]

    async def show(self, page: Page, request: web.Request) -> web.Response:
        """Respond to GET with a page."""
        texts = self.login.begin(request)
        try:
            visit = await self.login.enter(request)
        except LoginRequired:
            raise web.HTTPSeeOther(f"{LOGIN_PATH}?next={quote(request.path_qs)}") from None
        visit.caller.ensure_right(Right.READ)
        call = self._make_call(request, visit, texts)
        return await self._respond(page, visit, call, await page.view(call))

    async def act(self, page: Page, request: web.Request) -> web.Response:
        """Respond to POST: carry an action out, and show the page with the error if it fails."""
        texts = self.login.begin(request)
        visit = await self.login.enter(request)
        form = parse_form(visit.body)
        call = replace(self._make_call(request, visit, texts), form=form)
        try:
            action = _find_action(page, form.get("action", ""))
            visit.caller.ensure_right(action.right)
            result = await action.run(call)
        except DagengineError as exc:
            view = await page.view(call)
            if isinstance(view, View):
                view = replace(view, status=exc.http_status)
            return await self._respond(page, visit, call, view, texts.describe(exc))
        return await self._respond(page, visit, call, result)

    async def refuse_unknown(self, request: web.Request) -> web.Response:
        """Respond to a path without a page."""
        self.login.begin(request)
        raise RouteNotFound(messages.PAGE_NOT_FOUND())

    def _make_call(self, request: web.Request, visit: Visit, texts: Texts) -> PageCall:
        return PageCall(
            engine=self.ctx.engine,
            caller=visit.caller,
            texts=texts,
            now=self.ctx.clock.now(),
            path=dict(request.match_info),
            query=request.query,
            origin=f"{request.scheme}://{request.host}",
            url=request.path_qs,
            before_retry=self.ctx.before_retry,
        )

    async def _respond(
        self, page: Page, visit: Visit, call: PageCall, result: PageResult, problem: str = ""
    ) -> web.Response:
        match result:
            case Redirect():
                raise web.HTTPSeeOther(UI_ROOT + result.path)
            case Download():
                return _respond_with_file(result)
            case View():
                html = await self._render(page, visit, call, result, problem)
                return html_response(html, result.status)

    async def _render(
        self, page: Page, visit: Visit, call: PageCall, view: View, problem: str
    ) -> str:
        texts = call.texts
        frame = view_frame(
            title=view.title or texts(page.title()),
            status=await self._read_status(call),
            menu=view_menu(self.pages, page.path, texts),
            clusters=view_clusters(self.urls, self.ctx.cluster.name),
            visit=visit,
            can_change=call.can_change,
            problem=problem,
            dags=view.dags,
            url=call.url,
            is_active=view.is_active,
            assets=self.login.files.paths,
            texts=texts,
        )
        template = self.login.environment.get_template(view.template)
        return template.render(
            frame=frame,
            model=view.model,
            ui=CatalogueTexts(messages, texts),
            t=CatalogueTexts(page.catalogue, texts),
        )

    async def _read_status(self, call: PageCall) -> Status:
        engine = self.ctx.engine
        locks = [
            HeldLock(
                lock,
                f"{UI_ROOT}/task/{engine.generic_id(lock.dag_id)}",
                await engine.describe_holder(lock),
                (await engine.list_audit(lock.dag_id))[-1:],
            )
            for lock in engine.holders()
            if lock.dag_id is not None
        ]
        counts = await engine.count_dags()
        return Status(self.ctx.cluster, self.count_servers(), locks, counts, call.now)


def add_pages(
    app: web.Application,
    *,
    ring: LogRing,
    pages: Sequence[Page] = (),
    translations: Sequence[Tables] = (),
    count_servers: Callable[[], ServerCount | None] = lambda: None,
    signals: Sequence[ChangeSignal] = (),
    urls: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Add the pages to an application that `build_app` has built.

    Args:
        app: the application of one cluster.
        ring: the log of the cluster.
        pages: the pages of extensions, which come first in the menu.
        translations: texts of these pages in other languages than English.
        count_servers: see Extension.
        signals: report to open pages that something else than a DAG has changed.
        urls: the URLs of all clusters of the controller, by name; read for each page.
    """
    all_pages = (*pages, *dag_pages(ring))
    ctx = app[CONTEXT]
    environment = make_environment({page.templates for page in pages if page.templates})
    login = LoginPages.create(app, ctx.cluster.name, environment, tuple(translations))
    ui = WebApp(ctx, login, all_pages, count_servers, urls)
    events = PageEvents(ctx, login, tuple(signals))

    async def end_streams(_app: web.Application) -> None:
        events.stopping.notify()

    app.on_shutdown.append(end_streams)
    router = app.router
    router.add_get(f"{UI_ROOT}/events", events.serve)
    router.add_get(LOGIN_PATH, login.show_login)
    router.add_post(LOGIN_PATH, login.log_in)
    router.add_post(f"{UI_ROOT}/logout", login.log_out)
    router.add_get("/", _redirect_to(f"{UI_ROOT}/"))
    router.add_get(UI_ROOT, _redirect_to(f"{UI_ROOT}/"))
    router.add_get(STATIC_ROOT + _ANY, login.files.serve)
    for page in all_pages:
        router.add_get(UI_ROOT + page.path, partial(ui.show, page))
        if page.actions:
            router.add_post(UI_ROOT + page.path, partial(ui.act, page))
    if not any(page.path == "/" for page in all_pages):
        first = next(page for page in all_pages if page.is_in_menu)
        router.add_get(f"{UI_ROOT}/", _redirect_to(UI_ROOT + first.path))
    router.add_route("*", UI_ROOT + _ANY, ui.refuse_unknown)


def _redirect_to(location: str) -> WebHandler:
    async def redirect(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=303, headers={"Location": location})

    return redirect


def _find_action(page: Page, name: str) -> PageAction:
    action = page.actions.get(name)
    if action is None:
        raise IllegalArgument(messages.ACTION_UNKNOWN(name=name), remedy=messages.OPEN_PAGE_AGAIN())
    return action


def _respond_with_file(file: Download) -> web.Response:
    disposition = "inline" if file.is_shown else "attachment"
    headers = {
        **PAGE_HEADERS,
        "Content-Type": file.content_type,
        "Content-Disposition": f'{disposition}; filename="{file.name}"',
    }
    return web.Response(body=file.content, headers=headers)
