"""The fleet page at the listener of the service, and the chooser of clusters."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dagengine.api.login.token_manager import TokenManager
from dagengine.model.credentials import Access
from dagengine.runtime.clock import SystemClock
from dagengine.security.tokens import SERVICE
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing import eventually
from dagengine.web.fleet import view as fleet_view
from tasks.demo.hosts import free_port
from tests.support.accessibility import find_defects
from tests.support.browser import CHROMIUM, log_in, open_browser
from tests.support.fleet_controller import NAMES, FleetController

CSRF = re.compile(r'name="csrf" value="([^"]+)"')
KEY = re.compile(r'name="key" value="([^"]+)"')
LOCAL = {"entry": "local user"}
HOST = "http://localhost"


def words_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


@dataclass
class Visitor:
    """A browser without scripts at the socket of the service."""

    session: aiohttp.ClientSession
    html: str = ""

    async def get(self, path: str = "/ui/") -> str:
        async with self.session.get(HOST + path) as response:
            self.html = await response.text()
            return words_of(self.html)

    async def post(self, path: str, *fields: tuple[str, str]) -> tuple[int, str]:
        """Send a form with the token of the page on display."""
        token = CSRF.search(self.html)
        assert token is not None, self.html
        async with self.session.post(
            *(HOST + path,),
            data=[("csrf", token[1]), *fields],
            headers={"Origin": HOST},
            allow_redirects=False,
        ) as response:
            self.html = await response.text()
            return response.status, words_of(self.html)

    async def start(self, *clusters: str, reason: str = "after maintenance") -> tuple[int, str]:
        key = KEY.search(self.html)
        assert key is not None
        names = [("cluster", name) for name in clusters]
        return await self.post("/ui/", ("key", key[1]), ("reason", reason), *names)


@asynccontextmanager
async def visiting(controller: FleetController, **entry: str) -> AsyncIterator[Visitor]:
    """Log in, by default as the user at the socket."""
    connector = aiohttp.UnixConnector(controller.service_url.removeprefix("unix:"))
    async with aiohttp.ClientSession(connector=connector) as session:
        visitor = Visitor(session)
        await visitor.get()
        status, text = await visitor.post("/ui/login", *(entry or LOCAL).items())
        assert status == 303, text
        yield visitor


async def create_token(
    controller: FleetController, access: Access, clusters: tuple[str, ...] | None
) -> str:
    """Add a token of the service to its store, before the controller runs."""
    directory = controller.directory / "var"
    directory.mkdir()
    store, clock = SqliteStore(directory / "service.sqlite"), SystemClock()

    async def append(_action: str, _by: str, _reason: str) -> None:
        pass

    await store.open()
    manager = TokenManager(store, SERVICE, clock, secrets.token_bytes, append)
    token, _ = await manager.create("ops", access, lifetime=None, by="test", clusters=clusters)
    await store.close()
    return token


@pytest.fixture
def controller(tmp_path: Path) -> FleetController:
    return FleetController(tmp_path)


async def check_page(controller: FleetController) -> None:
    """Check what the page shows after a bulk start."""
    first, second = NAMES[:2]
    async with controller.running(), visiting(controller) as visitor:
        await visitor.get()
        status, text = await visitor.start(first)
        assert status == 200
        assert f"✓ accepted {first} : hold accepted" in text
        text = await visitor.get()
        for expected in (f"0 of {len(NAMES)} clusters are available", "1 running, 0 failed"):
            assert expected in text
        for name in (first, second):
            assert f'href="{controller.urls[name]}/ui/"' in visitor.html
        assert '<button class="primary">' in visitor.html
        assert "✓ live" in text
        assert ", ".join(NAMES) in text  # the clusters that the controller owns
        controller.latches[first].open()

        async def has_ended() -> bool:
            return "✓ succeeded hold" in await visitor.get()

        await eventually(has_ended, what="the end of the task")
        async with controller.client(first) as client:
            (row,) = await client.list_audit()
            assert row["by"].startswith("uid ")
            assert row["reason"] == "after maintenance"


async def test_page_starts_clusters_and_shows_them(controller: FleetController) -> None:
    await check_page(controller)


async def test_page_with_empty_view_model_fails(
    controller: FleetController, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(records: Any, _texts: Any) -> fleet_view.FleetModel:
        return fleet_view.FleetModel("", "", (), (), (), "", "", records.key, "", False, "")

    monkeypatch.setattr("dagengine.web.fleet.app.view_fleet", empty)
    with pytest.raises(AssertionError):
        await check_page(controller)


@pytest.mark.parametrize(
    ("clusters", "reason", "status", "problem"),
    [
        ((), "x", 400, "No cluster is selected"),
        (NAMES[:1], " ", 400, "The reason is missing"),
        (("unknown",), "x", 404, "unknown"),
    ],
)
async def test_incomplete_form_starts_nothing(
    controller: FleetController, clusters: tuple[str, ...], reason: str, status: int, problem: str
) -> None:
    async with controller.running(), visiting(controller) as visitor:
        await visitor.get()
        result = await visitor.start(*clusters, reason=reason)
        assert result[0] == status
        assert problem in result[1]
        async with controller.client(NAMES[0]) as client:
            assert await client.list_dags() == []


async def test_same_form_twice_starts_one_task(controller: FleetController) -> None:
    async with controller.running(), visiting(controller) as visitor:
        await visitor.get()
        page = visitor.html
        for _ in range(2):
            visitor.html = page
            assert (await visitor.start(NAMES[0]))[0] == 200
        async with controller.client(NAMES[0]) as client:
            assert len(await client.list_dags()) == 1
        controller.latches[NAMES[0]].open()


async def test_session_of_token_sees_its_clusters_only(controller: FleetController) -> None:
    first, second = NAMES[:2]
    token = await create_token(controller, Access.ACT, (first,))
    async with (
        controller.running(),
        visiting(controller, entry="token", secret=token) as visitor,
    ):
        text = await visitor.get()
        assert first in text
        assert second not in text
        assert (await visitor.start(second))[0] == 404


async def test_session_of_reading_token_cannot_start(controller: FleetController) -> None:
    token = await create_token(controller, Access.READ, None)
    async with (
        controller.running(),
        visiting(controller, entry="token", secret=token) as visitor,
    ):
        await visitor.get()
        assert "Start the selected clusters" not in visitor.html
        assert (await visitor.post("/ui/", ("cluster", NAMES[0]), ("reason", "x")))[0] == 403


async def test_page_of_a_cluster_links_to_the_others(controller: FleetController) -> None:
    async with (
        controller.running(),
        aiohttp.ClientSession() as session,
        session.get(f"{controller.urls[NAMES[0]]}/ui/tasks") as response,
    ):
        html = await response.text()
    for name in NAMES:
        assert f'<a href="{controller.urls[name]}/ui/"' in html


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_fleet_page_has_no_accessibility_violation(
    tmp_path: Path, axe: str, scheme: Any
) -> None:
    port = free_port()
    controller = FleetController(tmp_path, port=port)
    token = await create_token(controller, Access.ACT, None)
    async with (
        controller.running(),
        open_browser(tmp_path / "profile", color_scheme=scheme) as browser,
    ):
        page = browser.pages[0]
        await log_in(page, f"http://127.0.0.1:{port}", token)
        await page.wait_for_selector("#connection[data-state=elsewhere]")
        for name in (NAMES[0], ""):
            for width in (1200, 360):
                await page.set_viewport_size({"width": width, "height": 800})
                assert await find_defects(page, axe) == [], (name, width)
            if name:
                await page.check(f"#cluster-{name}")
                await page.fill("#reason", "after maintenance")
                await page.click("form.do-it button")
                await page.wait_for_selector("#results")
        await page.goto(f"{controller.urls[NAMES[0]]}/ui/tasks")
        await page.click(".chooser summary")
        assert await page.locator(".chooser a").count() == len(NAMES)
        assert await find_defects(page, axe) == []
        controller.latches[NAMES[0]].open()
