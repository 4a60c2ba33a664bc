"""The fleet page at the listener of the service: clusters, controllers, and a bulk start."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from aiohttp import web

from dagengine.api.caller import Right
from dagengine.api.fleet.bulk import BulkRequest, BulkResult
from dagengine.api.fleet.handlers import (
    START,
    FleetContext,
    choose_clusters,
    describe_clusters,
)
from dagengine.errors import DagengineError, IllegalArgument, RouteNotFound
from dagengine.runtime.clock import Clock
from dagengine.security.page_errors import LoginRequired
from dagengine.web import messages
from dagengine.web.fleet.view import FleetRecords, view_fleet
from dagengine.web.forms import REASON_CHARS, parse_form
from dagengine.web.layout import UI_ROOT, Frame, MenuItem
from dagengine.web.login import LOGIN_PATH, LoginPages, Visit
from dagengine.web.rendering import PAGE_HEADERS, html_response, make_environment
from dagengine.web.static_files import STATIC_ROOT
from dagengine.web.texts import CatalogueTexts, Texts, render_language

_ANY = "/{tail:.*}"
_START = f"{UI_ROOT}/"
_ACCEPT_S = 10.0  # how long the page waits for clusters that wait for their turn


@dataclass(frozen=True, slots=True)
class BulkStart:
    """What a form of the page did.

    Attributes:
        results: by cluster; empty if it was refused, or if clusters wait.
        selected: the selected clusters.
        reason: the reason in the form.
        is_waiting: clusters wait for their turn.
        problem: why the form was refused; empty if it was accepted.
        status: HTTP status.
    """

    results: Sequence[BulkResult] = ()
    selected: frozenset[str] = frozenset()
    reason: str = ""
    is_waiting: bool = False
    problem: str = ""
    status: int = 200


@dataclass(frozen=True, slots=True)
class FleetPages:
    """Handles the requests for pages of the service.

    Attributes:
        ctx: the clusters and controllers.
        login: authenticates requests, and renders errors.
        clock: source of time.
        new_key: returns an idempotency key.
        accept_s: how long a bulk start waits for clusters, in seconds.
    """

    ctx: FleetContext
    login: LoginPages
    clock: Clock
    new_key: Callable[[], str]
    accept_s: float = _ACCEPT_S

    async def show(self, request: web.Request) -> web.Response:
        """Show the page."""
        texts = self.login.begin(request)
        try:
            visit = await self.login.enter(request)
        except LoginRequired:
            raise web.HTTPSeeOther(f"{LOGIN_PATH}?next={quote(request.path_qs)}") from None
        visit.caller.ensure_right(Right.READ)
        return await self._respond(visit, texts, BulkStart())

    async def start(self, request: web.Request) -> web.Response:
        """Start the selected clusters, and show what each did."""
        texts = self.login.begin(request)
        visit = await self.login.enter(request)
        visit.caller.ensure_right(Right.READ)
        form = parse_form(visit.body)
        done = BulkStart(
            selected=frozenset(form.getall("cluster", [])),
            reason=form.get("reason", "").strip(),
        )
        try:
            visit.caller.ensure_right(Right.CHANGE)
            done = await self._start(visit, form.getall("cluster", []), done, form.get("key", ""))
        except DagengineError as exc:
            done = BulkStart(
                selected=done.selected,
                reason=done.reason,
                problem=texts.describe(exc),
                status=exc.http_status,
            )
        return await self._respond(visit, texts, done)

    async def _start(
        self, visit: Visit, clusters: Sequence[str], form: BulkStart, key: str
    ) -> BulkStart:
        names = choose_clusters(self.ctx.fleet, visit.caller, clusters)
        if not names:
            raise IllegalArgument(messages.NOTHING_SELECTED(), remedy=messages.SELECT_ONE())
        if not 0 < len(form.reason) <= REASON_CHARS:
            raise IllegalArgument(messages.REASON_MISSING(), remedy=messages.STATE_REASON())
        body = {"scope": {"type": "GLOBAL"}, "reason": form.reason}
        request = BulkRequest(START, body, visit.caller, key or self.new_key())
        try:
            async with asyncio.timeout(self.accept_s):
                results = await self.ctx.bulk.run_action(names, request)
        except TimeoutError:  # the action continues
            return BulkStart(is_waiting=True)
        return BulkStart(results)

    async def refuse_stream(self, request: web.Request) -> web.Response:
        """Respond with 421, so that the page is refreshed: the service has no stream."""
        try:
            await self.login.enter(request)
        except LoginRequired:
            return web.Response(status=401, headers=PAGE_HEADERS)
        return web.Response(status=421, headers=PAGE_HEADERS)

    async def refuse_unknown(self, request: web.Request) -> web.Response:
        """Respond to a path without a page."""
        self.login.begin(request)
        raise RouteNotFound(messages.PAGE_NOT_FOUND())

    async def _respond(self, visit: Visit, texts: Texts, done: BulkStart) -> web.Response:
        records = FleetRecords(
            clusters=await describe_clusters(self.ctx, visit.caller),
            controllers=self.ctx.fleet.list_controllers(),
            results=done.results,
            key=self.new_key(),
            reason=done.reason,
            selected=done.selected,
            is_waiting=done.is_waiting,
            now=self.clock.now(),
        )
        html = self.login.environment.get_template("fleet.html").render(
            frame=self._view_frame(visit, done.problem, texts),
            model=view_fleet(records, texts),
            ui=CatalogueTexts(messages, texts),
        )
        return html_response(html, done.status)

    def _view_frame(self, visit: Visit, problem: str, texts: Texts) -> Frame:
        can_change = Right.CHANGE in visit.caller.rights
        title = texts(messages.FLEET())
        return Frame(
            language=render_language(texts.language),
            title=title,
            cluster=texts(messages.ALL_CLUSTERS()),
            clusters=(),
            indicators=(),
            lock_about="",
            menu=(MenuItem(title, _START, "page"),),
            notices=(),
            problem=problem,
            csrf=visit.csrf,
            headers=json.dumps({"X-CSRF-Token": visit.csrf}),
            caller=str(visit.caller),
            can_change=can_change,
            is_read_only=not can_change,
            login_path="",
            dags="",
            url=_START,
            is_active="false",
            assets=self.login.files.paths,
        )


def add_fleet_pages(
    app: web.Application, ctx: FleetContext, clock: Clock, new_key: Callable[[], str]
) -> None:
    """Add the pages to the application that `build_fleet_app` has built.

    Args:
        app: the application of the service.
        ctx: the clusters and controllers.
        clock: source of time.
        new_key: returns an idempotency key.
    """
    environment = make_environment(())
    login = LoginPages.create(app, "", environment, ())
    pages = FleetPages(ctx, login, clock, new_key)
    router = app.router
    router.add_get(f"{UI_ROOT}/events", pages.refuse_stream)
    router.add_get(LOGIN_PATH, login.show_login)
    router.add_post(LOGIN_PATH, login.log_in)
    router.add_post(f"{UI_ROOT}/logout", login.log_out)
    router.add_get(STATIC_ROOT + _ANY, login.files.serve)
    for path in ("/", UI_ROOT):
        router.add_get(path, partial(_redirect, _START))
    router.add_get(_START, pages.show)
    router.add_post(_START, pages.start)
    router.add_route("*", UI_ROOT + _ANY, pages.refuse_unknown)


async def _redirect(location: str, _request: web.Request) -> web.StreamResponse:
    return web.Response(status=303, headers={"Location": location})
