"""Pages at a controller that does not own the cluster."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Response

from dagengine.api.forwarding.app import build_forwarding_app
from dagengine.api.forwarding.forwarder import Forwarder
from dagengine.api.forwarding.owner import Owner
from dagengine.api.login.schemes import Login
from dagengine.security.credentials import Passwords
from dagengine.security.forwarded_header import KEY_PURPOSE
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey
from dagengine.web.forwarding import add_forwarded_pages
from tests.support.browser import CHROMIUM, log_in, open_browser
from tests.support.fake_cluster import SECOND, FakeCluster
from tests.support.page_controller import (
    AGENT,
    KEY,
    PASSWORD,
    PageController,
    PageResponse,
    open_page_controller,
)


@dataclass
class Ownership:
    """What a controller knows about the owner; tests change it."""

    cluster: str
    controller_id: int
    own_epoch: int | None
    other: Owner | None = None
    on_find: Callable[[], None] = lambda: None

    async def find_other_owner(self) -> Owner | None:
        self.on_find()
        return self.other


@dataclass
class Visitor:
    """A browser without scripts at the controller that does not own the cluster."""

    owner: PageController
    session: aiohttp.ClientSession
    url: str
    view: Ownership
    csrf: str = ""

    async def get(self, path: str) -> PageResponse:
        return await self._request("GET", path)

    async def post(self, path: str, **fields: str) -> PageResponse:
        fields = {"csrf": self.csrf, **fields}
        return await self._request("POST", path, headers={"Origin": self.url}, data=fields)

    async def log_in(self) -> PageResponse:
        self.csrf = self.owner.token_in(await self.get("/ui/login"))
        response = await self.post("/ui/login", entry="root", secret=PASSWORD)
        self.csrf = self.owner.token_in(await self.get("/ui/tasks"))
        return response

    async def _request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        data: dict[str, str] | None = None,
    ) -> PageResponse:
        async with self.session.request(
            *(method, self.url + path), headers=headers, data=data, allow_redirects=False
        ) as response:
            return PageResponse(response.status, response.headers, await response.text())


@asynccontextmanager
async def open_other(
    owner: PageController, key: ServerKey, view: Ownership
) -> AsyncIterator[Visitor]:
    """Serve the pages at a second controller, which has the same store of sessions."""
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(force_close=True)
        sending = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, auto_decompress=False)
        )
        forwarder = Forwarder(
            *(view, key.derive_key(KEY_PURPOSE), owner.clock),
            *(lambda: secrets.token_hex(16), sending),
        )
        app = build_forwarding_app(
            forwarder=forwarder,
            view=view,
            login=Login(owner.store, key, owner.clock, 30.0),
            passwords=lambda: Passwords(PASSWORD, None),
            replay=ReplayGuard(owner.clock),
            agent=AGENT,
        )
        add_forwarded_pages(app, forwarder, cluster=view.cluster)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        browser = await stack.enter_async_context(
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        )
        yield Visitor(owner, browser, f"http://127.0.0.1:{runner.addresses[0][1]}", view)


@pytest_asyncio.fixture
async def visitor(tmp_path: Path) -> AsyncIterator[Visitor]:
    """A visitor who has logged in at the controller that does not own the cluster."""
    name = FakeCluster.name
    owner_view, other_view = Ownership(name, 1, 5), Ownership(name, 2, None)
    key = ServerKey(KEY)
    async with open_page_controller(tmp_path, ownership=owner_view) as owner:
        other_view.other = Owner(1, owner.url, 5)
        async with open_other(owner, key, other_view) as visitor:
            async with visitor.session.get(f"{visitor.url}/owner") as response:
                assert response.status == 503  # it is not the owner
            async with visitor.session.get(f"{owner.url}/owner") as response:
                assert response.status == 200
            assert (await visitor.log_in()).status == 303
            yield visitor
    key.close()


async def test_page_at_non_owner_equals_the_owners(visitor: Visitor) -> None:
    dag_id = await visitor.owner.run(reason="nightly restart")
    page = await visitor.get(f"/ui/task/{dag_id}")
    assert page.status == 200
    assert "Succeeded after" in page.words
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert visitor.owner.token_in(page) == visitor.csrf


async def test_form_at_non_owner_acts_at_the_owner(visitor: Visitor) -> None:
    visitor.owner.broken = {SECOND}
    dag_id = await visitor.owner.run()
    visitor.owner.broken = set()
    visitor.csrf = visitor.owner.token_in(await visitor.get(f"/ui/task/{dag_id}"))
    response = await visitor.post(f"/ui/task/{dag_id}", action="retry", reason="repaired")
    assert (response.status, response.headers["Location"]) == (303, f"/ui/task/{dag_id}")
    await visitor.owner.wait(dag_id)
    page = await visitor.get(f"/ui/task/{dag_id}")
    assert "Succeeded after" in page.words
    assert "RETRY root@sys from 127.0.0.1 repaired" in page.words


async def test_foreign_form_at_non_owner_is_refused(visitor: Visitor) -> None:
    visitor.owner.broken = {SECOND}
    dag_id = await visitor.owner.run()
    visitor.csrf = "wrong"
    response = await visitor.post(f"/ui/task/{dag_id}", action="retry", reason="no")
    assert response.status == 403


async def test_visitor_without_session_logs_in_at_non_owner(visitor: Visitor) -> None:
    visitor.session.cookie_jar.clear()
    response = await visitor.get("/ui/tasks")
    assert (response.status, response.headers["Location"]) == (303, "/ui/login?next=/ui/tasks")
    assert (await visitor.get("/ui/events")).status == 401


async def test_stream_at_non_owner_names_the_owner(visitor: Visitor) -> None:
    response = await visitor.get("/ui/events")
    assert response.status == 421
    assert response.headers["Dagengine-Owner"] == visitor.owner.url


async def test_logged_out_at_non_owner_ends_session_everywhere(visitor: Visitor) -> None:
    assert (await visitor.post("/ui/logout")).status == 303
    assert (await visitor.get("/ui/tasks")).status == 303


async def test_page_without_owner_is_an_error_page(visitor: Visitor) -> None:
    visitor.view.other = None
    visitor.view.on_find = lambda: visitor.owner.clock.advance(3)
    response = await visitor.get("/ui/tasks")
    assert response.status == 503
    assert response.headers["Content-Type"].startswith("text/html")


async def test_forged_page_request_is_refused_by_the_owner(visitor: Visitor) -> None:
    headers = {"Dagengine-Forwarded": "2 x 5 0 00 root - - - 00", "X-CSRF-Token": "x"}
    async with visitor.session.get(f"{visitor.owner.url}/ui/tasks", headers=headers) as response:
        assert response.status == 401


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")
async def test_open_page_at_non_owner_is_refreshed(visitor: Visitor, tmp_path: Path) -> None:
    async with open_browser(tmp_path / "profile") as browser:
        page = browser.pages[0]
        await log_in(page, visitor.url, PASSWORD)
        await page.goto(f"{visitor.url}/ui/tasks")
        await page.wait_for_selector("#connection[data-state=elsewhere]")
        link = page.locator("#connection a")
        assert await link.get_attribute("href") == f"{visitor.owner.url}/ui/tasks"
        await visitor.owner.run(reason="while the page is open")
        await page.wait_for_selector("td:has-text('while the page is open')")


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")
async def test_open_page_survives_a_time_without_owner(visitor: Visitor, tmp_path: Path) -> None:
    async with open_browser(tmp_path / "profile") as browser:
        page = browser.pages[0]
        await log_in(page, visitor.url, PASSWORD)
        await page.goto(f"{visitor.url}/ui/tasks")
        await page.wait_for_selector("#connection[data-state=elsewhere]")
        owner, visitor.view.other = visitor.view.other, None
        visitor.view.on_find = lambda: visitor.owner.clock.advance(3)

        def is_refused(response: Response) -> bool:
            return response.status == 503 and response.url == f"{visitor.url}/ui/tasks"

        for _ in range(2):  # the second one shows that the page keeps refreshing
            await page.wait_for_event("response", is_refused)
        await page.wait_for_selector("#live h1:has-text('Tasks')")
        visitor.view.other, visitor.view.on_find = owner, lambda: None
        await visitor.owner.run(reason="after the take-over")
        await page.wait_for_selector("td:has-text('after the take-over')")
