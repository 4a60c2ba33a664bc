"""Pages of three controllers on one seekdb: at a non-owner, and across the loss of the owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import BrowserContext, Page

from tasks.demo.fleet import DemoFleet, FleetController, is_owner
from tasks.demo.hosts import DemoHosts
from tests.support.browser import CHROMIUM, log_in, open_browser
from tests.support.owner_balancer import open_balancer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
]

CLUSTER = "cluster1"
START = "start?scope=GLOBAL"
STOP = "stop?scope=GLOBAL&mode=force"


@asynccontextmanager
async def open_fleet() -> AsyncIterator[DemoFleet]:
    """Open a service of three controllers and one cluster, whose server does not run yet."""
    async with DemoHosts(1) as hosts:
        fleet = DemoFleet(hosts)
        try:
            store = fleet.store
            await store.start()
            place = (store.url, "--password-file", str(store.password_file))
            await fleet.read_text("store", "migrate", *place)
            for controller in fleet.controllers:
                await fleet.start_controller(controller)
            await fleet.wait_for_owner(CLUSTER)
            yield fleet
        finally:
            await fleet.stop()


@dataclass
class Visit:
    """A page in Chromium at one controller."""

    fleet: DemoFleet
    controller: FleetController
    page: Page

    @property
    def url(self) -> str:
        return self.controller.urls[CLUSTER]

    async def owns(self) -> bool:
        """Return what `GET /owner` of the controller on display says."""
        return await is_owner(self.url)

    async def open(self, path: str) -> None:
        await self.page.goto(f"{self.url}/ui{path}")

    async def kill_owner(self) -> FleetController:
        """Kill the owner; return the next one."""
        owner = await self.fleet.wait_for_owner(CLUSTER)
        assert owner.process is not None
        owner.process.kill()
        await owner.process.wait()
        return await self.fleet.wait_for_owner(CLUSTER, bound_s=60)

    async def execute(self, plan: str, reason: str) -> None:
        """Execute a plan by its form."""
        await self.open(f"/plan/{plan}")
        await self.page.fill("#reason", reason)
        await self.page.click("form.do-it button")
        await self.page.wait_for_url("**/ui/task/*")

    async def sees(self, text: str) -> None:
        """Wait, without a reload, until the page contains a text."""
        await self.page.wait_for_selector(f"#content:has-text('{text}')", timeout=120_000)

    async def check_links_to(self, owner: FleetController) -> None:
        """Check that the page is refreshed, and links to the same page of the owner."""
        path = await self.page.evaluate("location.pathname + location.search")
        url = owner.urls[CLUSTER]
        link = f'#connection[data-state=elsewhere] a[href="{url}{path}"]'
        await self.page.wait_for_selector(link, timeout=60_000)

    async def read_stream(self) -> tuple[int, str]:
        """Return the status of the stream of events, and the owner that it names."""
        cookies = {each["name"]: each["value"] for each in await self.page.context.cookies()}
        async with (
            aiohttp.ClientSession(cookies=cookies) as session,
            session.get(f"{self.url}/ui/events") as response,
        ):
            return response.status, response.headers.get("Dagengine-Owner", "")


@asynccontextmanager
async def visiting_non_owner(fleet: DemoFleet, profile: Path) -> AsyncIterator[Visit]:
    """Log in at a controller that does not own the cluster."""
    owner = await fleet.wait_for_owner(CLUSTER)
    other = next(each for each in fleet.controllers if each is not owner)
    async with open_browser(profile) as browser:
        visit = Visit(fleet, other, browser.pages[0])
        assert not await visit.owns()
        await log_in(visit.page, visit.url, fleet.password)
        yield visit


async def test_pages_at_non_owner_act_and_outlive_the_owner(tmp_path: Path) -> None:
    async with open_fleet() as fleet, visiting_non_owner(fleet, tmp_path / "profile") as visit:
        owner = await fleet.wait_for_owner(CLUSTER)
        await visit.open("/tasks")
        await visit.check_links_to(owner)
        assert await visit.read_stream() == (421, owner.urls[CLUSTER])

        await visit.execute(START, "before the loss")
        await visit.check_links_to(owner)
        await visit.sees("Succeeded after")
        await visit.open("/audit")
        await visit.sees("before the loss")
        await visit.sees("root@sys")
        assert not await visit.owns()  # each form was forwarded

        await visit.open("/tasks")
        await visit.check_links_to(owner)
        await visit.page.evaluate("window.sameDocument = true")
        successor = await visit.kill_owner()
        assert successor is not owner
        if successor is visit.controller:
            await visit.page.wait_for_selector("#connection[data-state=live]", timeout=60_000)
        else:
            await visit.check_links_to(successor)
        await visit.sees("before the loss")
        assert await visit.page.evaluate("window.sameDocument")  # it was not reloaded
        await visit.execute(STOP, "after the loss")
        await visit.sees("Succeeded after")


async def test_session_works_at_the_new_owner(tmp_path: Path) -> None:
    async with open_fleet() as fleet:
        urls = [each.urls[CLUSTER] for each in fleet.controllers]
        async with open_balancer(urls) as balancer, open_browser(tmp_path / "profile") as browser:
            page, url = browser.pages[0], f"http://127.0.0.1:{balancer.port}"
            await log_in(page, url, fleet.password)
            await page.goto(f"{url}/ui/tasks")
            await page.wait_for_selector("#connection[data-state=live]")
            before = await read_session(browser)
            visit = Visit(fleet, await fleet.wait_for_owner(CLUSTER), page)
            successor = await visit.kill_owner()
            assert successor is not visit.controller
            await page.wait_for_selector("#connection[data-state=reconnecting]")
            await page.wait_for_selector("#connection[data-state=live]", timeout=60_000)
            await page.goto(f"{url}/ui/plan/{START}")
            await page.fill("#reason", "at the new owner")
            await page.click("form.do-it button")
            await page.wait_for_url("**/ui/task/*")
            await visit.sees("Succeeded after")
            assert await read_session(browser) == before
            async with asyncio.timeout(30):
                assert await is_owner(successor.urls[CLUSTER])


async def read_session(browser: BrowserContext) -> list[str]:
    """Return the ids of the sessions in the browser's cookies."""
    cookies = await browser.cookies()
    return [each["value"] for each in cookies if "login" not in each["name"]]
