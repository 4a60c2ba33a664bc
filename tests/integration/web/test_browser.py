"""The pages in Chromium: live updates, accessibility, size, and use without scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page

from dagengine import web
from dagengine.runtime.clock import SystemClock
from dagengine.testing import Latch, eventually
from dagengine.web.page import ServerCount
from tasks.demo.hosts import free_port
from tests.support.accessibility import find_defects
from tests.support.browser import CHROMIUM, log_in, open_browser
from tests.support.fake_cluster import FIRST, SECOND
from tests.support.page_controller import LARGE, PASSWORD, PageController, open_page_controller

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
]

PAGES = ("/tasks", "/task/{id}", "/locks", "/audit", "/log")
APP = Path(web.__file__).with_name("static") / "app.mjs"
ACTIVE_REFRESH_MS = int(APP.read_text().split("ACTIVE_REFRESH_MS = ")[1].split(";")[0])
RECORD_EVENTS = """
window.received = [];
document.addEventListener("dagengine:event", ({detail}) => window.received.push(detail.number));
"""

MARK_REFRESH = """
document.addEventListener("htmx:finally:request", () => {
  document.documentElement.dataset.fresh = "yes";
});
"""


class RealClock(SystemClock):
    """The real time; steps do not advance it."""

    def advance(self, _seconds: float) -> None:
        """Do nothing."""


@pytest_asyncio.fixture
async def controller(tmp_path: Path) -> AsyncIterator[PageController]:
    clock: Any = RealClock()
    async with open_page_controller(tmp_path, clock=clock, port=free_port()) as controller:
        yield controller


@asynccontextmanager
async def logged_in(
    controller: PageController, tmp_path: Path, **options: Any
) -> AsyncIterator[BrowserContext]:
    """Open a browser that has logged in; its pages must not violate the CSP or raise errors."""
    faults: list[str] = []
    async with open_browser(tmp_path / "profile", **options) as browser:
        page = browser.pages[0]
        browser.on("weberror", lambda error: faults.append(str(error.error)))
        browser.on(
            "console",
            lambda message: (
                faults.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        await log_in(page, controller.url, PASSWORD)
        yield browser
    assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_have_no_accessibility_violation(
    controller: PageController, tmp_path: Path, axe: str, scheme: Any
) -> None:
    controller.counts = ServerCount(2, 3, controller.clock.now())
    controller.broken, controller.latch = {SECOND}, None
    controller.evidence = {"level": "no", "checks": [{"check": "disk", "remedy": "free 2 GB"}]}
    failed = await controller.run(reason="nightly restart")
    controller.latch = Latch()
    running = await controller.submit()
    await controller.latch.reached.wait()
    async with logged_in(controller, tmp_path, color_scheme=scheme) as browser:
        page = browser.pages[0]
        for path in (*(path.format(id=failed) for path in PAGES), f"/task/{running}", "/none"):
            for width in (1200, 360):
                await page.set_viewport_size({"width": width, "height": 800})
                await page.goto(f"{controller.url}/ui{path}")
                assert await find_defects(page, axe) == [], (path, width)
        await browser.clear_cookies()
        await page.goto(f"{controller.url}/ui/login")
        assert await find_defects(page, axe) == []


async def test_page_of_large_dag_stays_small(controller: PageController, tmp_path: Path) -> None:
    targets = tuple(f"10.0.{n // 250}.{n % 250}:2886" for n in range(1000))
    dag_id = await controller.run(name=LARGE, targets=targets)
    response = await controller.get(f"/task/{dag_id}")
    assert response.text.count("<rect") == 6000
    assert len(response.text.encode()) <= 2_000_000
    assert len((await controller.get("/tasks")).text.encode()) <= 2_000_000
    async with logged_in(controller, tmp_path) as browser:
        page = browser.pages[0]
        await page.goto(f"{controller.url}/ui/task/{dag_id}")
        assert await page.evaluate("document.querySelectorAll('*').length") <= 20_000


async def test_page_shows_progress_without_reload(
    controller: PageController, tmp_path: Path
) -> None:
    controller.latch = Latch()
    dag_id = await controller.submit()
    await controller.latch.reached.wait()
    async with logged_in(controller, tmp_path) as browser:
        page = browser.pages[0]
        await browser.add_init_script(RECORD_EVENTS)
        await page.goto(f"{controller.url}/ui/task/{dag_id}")
        await page.wait_for_selector("#connection[data-state=live]")
        await page.evaluate("window.sameDocument = true")
        first = await controller.engine.last_event(controller.row_id(dag_id))
        controller.latch.open()
        await page.wait_for_selector(".sentence:has-text('Succeeded after')")
        await page.wait_for_selector(".indicators:has-text('0 running')")
        assert await page.evaluate("window.sameDocument")
        last = await controller.engine.last_event(controller.row_id(dag_id))
        assert await page.evaluate("window.received") == [*range(first + 1, last + 1)]


async def test_event_brings_next_refresh_of_active_page_forward(
    controller: PageController, tmp_path: Path
) -> None:
    controller.latch = Latch()
    dag_id = await controller.submit()
    await controller.latch.reached.wait()
    async with logged_in(controller, tmp_path) as browser:
        page, refreshes = browser.pages[0], []
        await page.clock.install()
        await page.goto(f"{controller.url}/ui/task/{dag_id}")
        await page.wait_for_selector("#connection[data-state=live]")
        page.on("requestfinished", lambda request: refreshes.append(request.url))
        await page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
        await _run_until(page, 5_000, lambda: bool(refreshes))  # the next refresh is due in 2 s
        refreshes.clear()
        await controller.submit()
        await _run_until(page, ACTIVE_REFRESH_MS - 500, lambda: bool(refreshes))


async def _run_until(page: Page, limit_ms: int, is_done: Callable[[], bool]) -> None:
    """Let at most so much time of the page pass until a condition holds."""
    for _ in range(0, limit_ms, 100):
        await page.clock.run_for(100)
        await page.wait_for_timeout(200)  # real time, for events and responses
        if is_done():
            return
    pytest.fail(f"it did not happen within {limit_ms} ms of the page")


async def test_typed_reason_survives_live_updates(
    controller: PageController, tmp_path: Path
) -> None:
    controller.latch = Latch()
    dag_id = await controller.submit()
    await controller.latch.reached.wait()
    async with logged_in(controller, tmp_path) as browser:
        page = browser.pages[0]
        await page.goto(f"{controller.url}/ui/task/{dag_id}")
        await page.focus("#reason-cancel")
        await page.keyboard.type("wrong")
        await page.click("#pane ~ section summary")
        await page.evaluate(MARK_REFRESH)
        await page.wait_for_selector("html[data-fresh]")  # bars grow
        assert await page.input_value("#reason-cancel") == "wrong"
        assert await page.evaluate("document.querySelector('details').open")


@pytest.mark.parametrize("has_worker", [True, False])
async def test_ten_tabs_share_one_stream(
    controller: PageController, tmp_path: Path, *, has_worker: bool
) -> None:
    controller.latch = Latch()
    dag_id = await controller.submit()
    await controller.latch.reached.wait()
    async with logged_in(controller, tmp_path) as browser:
        if not has_worker:
            await browser.add_init_script("delete window.SharedWorker")
        pages = [await browser.new_page() for _ in range(10)]
        await browser.pages[0].close()
        for page in pages:
            await page.goto(f"{controller.url}/ui/task/{dag_id}")
            await page.wait_for_selector("#connection[data-state=live]")
        await eventually(controller.streams.is_one)  # those of earlier pages have ended
        controller.latch.open()
        for page in pages:
            await page.wait_for_selector(".sentence:has-text('Succeeded after')")
        assert await controller.streams.is_one()
        await pages[0].close()  # without a worker, it had the stream
        await pages[9].wait_for_selector("#connection[data-state=live]")


async def test_50_pages_in_five_profiles_open_five_streams(
    controller: PageController, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        pages = []
        for profile in range(5):
            browser = await stack.enter_async_context(
                logged_in(controller, tmp_path / str(profile))
            )
            pages += [browser.pages[0], *[await browser.new_page() for _ in range(9)]]
        for page in pages:
            await page.goto(f"{controller.url}/ui/tasks")
        for page in pages:
            await page.wait_for_selector("#connection[data-state=live]")
        assert len(pages) == 50
        await eventually(controller.streams.is_five)
        await controller.run(reason="seen by all")
        for page in pages:
            await page.wait_for_selector("td:has-text('seen by all')", timeout=90_000)
        assert await controller.streams.is_five()


async def test_page_reconnects_after_a_restart(controller: PageController, tmp_path: Path) -> None:
    async with logged_in(controller, tmp_path) as browser:
        page = browser.pages[0]
        await page.goto(f"{controller.url}/ui/tasks")
        await page.wait_for_selector("#connection[data-state=live]")
        await controller.stop_listening()
        await page.wait_for_selector("#connection[data-state=reconnecting]")
        await controller.run(reason="missed by the stream")
        await controller.listen()
        await page.wait_for_selector("#connection[data-state=live]")
        await page.wait_for_selector("td:has-text('missed by the stream')")


async def test_page_after_logout_in_another_tab_asks_for_login(
    controller: PageController, tmp_path: Path
) -> None:
    async with logged_in(controller, tmp_path) as browser:
        first, second = browser.pages[0], await browser.new_page()
        await first.goto(f"{controller.url}/ui/tasks")
        await first.wait_for_selector("#connection[data-state=live]")
        await second.goto(f"{controller.url}/ui/tasks")
        await second.click("button:has-text('Log out')")
        await second.wait_for_selector("#secret")
        await controller.run()  # an event refreshes the first tab
        await first.wait_for_url("**/ui/login**")


async def test_pages_work_without_scripts(controller: PageController, tmp_path: Path) -> None:
    controller.broken = {SECOND}
    dag_id = await controller.run()
    controller.broken = set()
    async with logged_in(controller, tmp_path, java_script_enabled=False) as browser:
        page = browser.pages[0]
        await page.click("tbody a:has-text('Start OB')")
        await page.wait_for_selector(".sentence:has-text('broken')")
        await page.click("svg a >> nth=0")
        await page.wait_for_selector("#pane-title:has-text('Whole cluster')")
        assert not await page.is_visible(".copy >> nth=0")
        await page.fill("#reason-retry", "repaired")
        await page.click("form.card button:has-text('Retry')")
        await controller.wait(dag_id)
        await page.reload()
        assert "Succeeded after" in await page.inner_text(".sentence")


async def test_stage_of_selected_bar_is_passed_without_scripts(
    controller: PageController, tmp_path: Path
) -> None:
    controller.broken = {SECOND}
    dag_id = await controller.run()
    controller.broken = set()
    async with logged_in(controller, tmp_path, java_script_enabled=False) as browser:
        page = browser.pages[0]
        await page.goto(f"{controller.url}/ui/task/{dag_id}")
        await page.click("svg a >> nth=0")
        await page.wait_for_selector("#pane-title:has-text('Whole cluster')")
        assert await page.is_disabled("#pane button:has-text('Pass this stage')")
        assert "not FAILED" in await page.inner_text("#reason-pass-stage-cause")
        await page.click("svg a[aria-label*='failed']")
        await page.wait_for_selector(f"#pane-title:has-text('{SECOND}')")
        await page.fill("#reason-pass-stage", "checked by hand")
        await page.click("#pane button:has-text('Pass this stage')")
        await controller.wait(dag_id)
        await page.reload()
        assert "Succeeded after" in await page.inner_text(".sentence")


async def test_failure_is_found_by_keyboard_alone(
    controller: PageController, tmp_path: Path
) -> None:
    controller.broken = {SECOND}
    dag_id = await controller.run()
    async with logged_in(controller, tmp_path) as browser:
        page = browser.pages[0]
        await page.goto(f"{controller.url}/ui/task/{dag_id}")
        label = ""
        for _ in range(40):
            await page.keyboard.press("Tab")
            label = await page.evaluate("document.activeElement.getAttribute('aria-label') ?? ''")
            if "failed" in label:
                break
        assert SECOND in label
        outline = "getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth"
        assert await page.evaluate(outline) == "3px"
        await page.keyboard.press("Enter")
        await page.wait_for_url("**#pane")
        assert SECOND in await page.inner_text("#pane-title")


async def test_followed_log_shows_its_end_after_updates(
    controller: PageController, tmp_path: Path
) -> None:
    controller.lines = [f"line {number}" for number in range(100)]
    controller.latch = Latch()
    dag_id = await controller.submit()
    await controller.latch.reached.wait()
    async with logged_in(controller, tmp_path) as browser:
        page = browser.pages[0]
        await page.goto(f"{controller.url}/ui/task/{dag_id}")
        await page.wait_for_selector("#connection[data-state=live]")
        await page.check("#follow")
        controller.broken = {FIRST, SECOND}
        controller.latch.open()
        await page.wait_for_selector("#log-lines:has-text('ERROR')")
        await page.wait_for_function(
            "(() => { const log = document.getElementById('log-lines');"
            " return log.scrollTop > 0"
            " && log.scrollTop + log.clientHeight >= log.scrollHeight - 2; })()"
        )
        assert await page.is_checked("#follow")


async def test_copied_log_is_that_of_the_page(controller: PageController, tmp_path: Path) -> None:
    controller.lines = ["first line", "second <b>line</b>"]
    dag_id = await controller.run()
    permissions = ["clipboard-read", "clipboard-write"]
    async with logged_in(controller, tmp_path, permissions=permissions) as browser:
        page = browser.pages[0]
        await page.goto(f"{controller.url}/ui/task/{dag_id}?task=2")
        await page.click("button[data-copy=log-lines]")
        await page.wait_for_selector("button.done[data-copy=log-lines]")
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert [line.split("] ")[1] for line in copied.splitlines()] == controller.lines
