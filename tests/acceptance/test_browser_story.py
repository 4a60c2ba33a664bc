"""The browser story: Chromium, a real controller process, and three seekdb servers."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from dagengine.client import Client
from dagengine.testing import eventually
from tests.acceptance.conftest import ClusterTestbed, OpenTestbed, only_owner
from tests.support.browser import CHROMIUM, open_browser
from tests.support.browser_users import KeyboardUser, MouseUser, User

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
]

FIRST, SECOND, THIRD = (f"127.0.0.1:{port}" for port in (2886, 2887, 2888))
HEALTH = "Wait for observers to become healthy"
DOWN_BOUND_S = 20
"""How long the page may take to show that a server is down; the goal is 2 s."""

RECORD_EVENTS = """
addEventListener("DOMContentLoaded", () => {
  const shown = document.getElementById("live")?.dataset.dags;
  if (shown) sessionStorage.shown ??= shown;
});
document.addEventListener("dagengine:event", ({detail}) => {
  const events = JSON.parse(sessionStorage.events ?? "[]");
  events.push([detail.dag, detail.number, detail.name, detail.data]);
  sessionStorage.events = JSON.stringify(events);
});
"""
WAIT_FOR_STATE = """
([server, word]) => [...document.querySelectorAll("table.servers tr")].some(row =>
  row.querySelector("th")?.innerText.startsWith(server)
  && row.querySelector("td .badge")?.innerText.includes(word))
"""


@asynccontextmanager
async def browsing(directory: Path, **options: Any) -> AsyncIterator[BrowserContext]:
    """Open a browser; its pages must not violate the CSP or raise errors."""
    faults: list[str] = []
    async with open_browser(directory, **options) as browser:
        browser.set_default_timeout(30_000)
        browser.on("weberror", lambda error: faults.append(str(error.error)))
        browser.on(
            "console",
            lambda message: (
                faults.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        try:
            yield browser
        except BaseException:
            sys.stdout.write(
                await browser.pages[0].inner_text("body")
            )  # pytest shows it with the failure
            raise
    assert faults == []


class Story:
    """What the user does and sees."""

    def __init__(self, user: User, testbed: ClusterTestbed, client: Client) -> None:
        self.user = user
        self.page = user.page
        self.testbed = testbed
        self.client = client

    async def log_in(self) -> None:
        await self.page.goto(f"{self.testbed.cluster.url}/")
        await self.user.fill(self.page.locator("#secret"), self.testbed.cluster.password)
        await self.user.activate(self.page.get_by_role("button", name="Log in"))
        await self.page.wait_for_selector("table.servers")

    async def open(self, name: str) -> None:
        """Open a page by the menu."""
        await self.user.activate(self.page.locator("nav").get_by_role("link", name=name))
        await self.page.wait_for_selector(f"h1:has-text('{name}')")

    async def plan(self, subject: str, operation: str = "Start") -> None:
        """Open the plan of an operation."""
        await self.open("Servers")
        link = self.page.get_by_role("link", name=f"{operation}: {subject}", exact=True)
        await self.user.activate(link)
        await self.page.wait_for_selector("form.do-it")

    async def do_it(self, reason: str) -> str:
        """Execute the plan on display; return the id of its DAG."""
        await self.user.fill(self.page.locator("#reason"), reason)
        await self.user.activate(self.page.get_by_role("button", name="Do it"))
        await self.page.wait_for_url("**/ui/task/*")
        return self.page.url.partition("/ui/task/")[2].partition("?")[0]

    async def start(self, subject: str, reason: str) -> str:
        await self.plan(subject)
        return await self.do_it(reason)

    async def operate(self, operator: str, reason: str) -> None:
        """Send the form of an operator on the page of a DAG."""
        await self.user.fill(self.page.locator(f"#reason-{operator.lower()}"), reason)
        await self.user.activate(self.page.get_by_role("button", name=operator, exact=True))
        await self.page.wait_for_selector(f"table.list td:has-text('{reason}')")

    async def sees(self, text: str) -> None:
        """Wait, without a reload, until the sentence of the page contains a text."""
        await self.page.wait_for_selector(f".sentence:has-text({text!r})", timeout=120_000)

    async def sees_state(self, server: str, word: str, timeout_s: float = 60) -> None:
        """Wait until the page of the servers shows a state."""
        await self.page.wait_for_function(
            WAIT_FOR_STATE, arg=[server, word], timeout=timeout_s * 1000
        )

    async def is_live(self) -> None:
        await self.page.wait_for_selector("#connection[data-state=live]")

    def kill_server(self, number: int) -> None:
        home = self.testbed.cluster.servers[number].home
        for pid in self.testbed.server_pids():
            with suppress(FileNotFoundError):  # killed before, and gone since
                if Path(f"/proc/{pid}/cwd").resolve() == home:
                    os.kill(pid, signal.SIGKILL)

    async def read_events(self, dag_id: str) -> list[tuple[int, str, Any]]:
        """Return all events of a DAG from the API."""
        async with asyncio.timeout(60), aclosing(self.client.follow(dag_id)) as events:
            return [(event.seq, event.kind, event.data) async for event in events]

    async def assert_events_complete(self, dag_id: str) -> None:
        """Compare the events that the page has received with those of the DAG."""
        stored = await self.read_events(dag_id)

        async def has_last() -> bool:
            received = await self.page.evaluate("JSON.parse(sessionStorage.events ?? '[]')")
            return bool(received) and received[-1][1] == stored[-1][0]

        await eventually(has_last, timeout_s=30, what="the last event")
        received = await self.page.evaluate("JSON.parse(sessionStorage.events)")
        shown, number = (await self.page.evaluate("sessionStorage.shown")).split(":")
        assert {dag for dag, *_ in received} == {dag_id} == {shown}
        assert [tuple(event) for _, *event in received] == stored[int(number) :]


async def wait_for_failure(story: Story, dag_id: str) -> None:
    """Wait until a DAG has failed, so that it can be retried: other servers may take longer."""

    async def has_failed() -> bool:
        return bool((await story.client.get_dag(dag_id))["state"] == "FAILED")

    await eventually(has_failed, timeout_s=120, what="the end of the start")


async def freeze_server(story: Story, dag_id: str, server: str) -> int:
    """Suspend the process of a server as soon as a DAG has started it; return its pid."""
    pids: list[int] = []

    async def has_started() -> bool:
        dag = await story.client.get_dag(dag_id)
        evidence = dag["additional_data"].get("evidence", {}).get(server, {})
        pids.extend([evidence["pid"]] if "pid" in evidence else [])
        return bool(pids)

    await eventually(has_started, timeout_s=60, what="the process of the server")
    os.kill(pids[0], signal.SIGSTOP)
    return pids[0]


async def start_and_lose_controller(story: Story) -> None:
    """Start three servers; kill -9 of the controller in the middle; all become healthy."""
    testbed, page = story.testbed, story.page
    reached = testbed.cluster.directory / "reached"
    await testbed.start_controller(stage=HEALTH, side="before", reached=str(reached))
    await story.log_in()
    for server in (FIRST, SECOND, THIRD):
        await story.sees_state(server, "down")
    dag_id = await story.start("All servers", "first start")
    await story.is_live()

    async def is_held() -> bool:
        return reached.exists()

    await eventually(is_held, timeout_s=60, what="the latch")
    await testbed.end_controller(signal.SIGKILL)
    await page.wait_for_selector("#connection[data-state=reconnecting]")
    await page.evaluate("window.sameDocument = true")
    await testbed.start_controller()
    await story.is_live()
    await story.sees("Succeeded after")
    await page.wait_for_selector(".indicators:has-text('3 of 3 up')")
    assert await page.evaluate("window.sameDocument"), "the page was loaded again"
    await story.assert_events_complete(dag_id)
    await story.open("Servers")  # the session is valid
    for server in (FIRST, SECOND, THIRD):
        await story.sees_state(server, "up")


async def lose_server_and_start_again(story: Story) -> float:
    """Kill a server; it goes down on the page, and is started again; return the delay in s."""
    await story.is_live()
    story.kill_server(2)
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    await story.sees_state(THIRD, "down", DOWN_BOUND_S)
    delay_s = loop.time() - begin_s
    await story.start(THIRD, "it was killed")
    await story.sees("Succeeded after")
    return delay_s


async def find_cause_and_retry(story: Story) -> None:
    """Let one host fail; find the cause on the page, fix it, and retry."""
    home = story.testbed.cluster.servers[1].home
    for number in (1, 2):
        story.kill_server(number)
    await story.open("Servers")
    for server in (SECOND, THIRD):
        await story.sees_state(server, "down")
    home.rename(home.with_name("aside"))
    dag_id = await story.start("All servers", "two are down")
    await story.sees(f"{SECOND} failed at Check servers")
    await story.user.activate(story.page.locator("svg a[aria-label*=failed]").first)
    pane = story.page.locator("#pane")
    await pane.get_by_text("does not exist").first.wait_for()
    assert SECOND in await pane.locator("h2").inner_text()
    shutil.move(home.with_name("aside"), home)
    await wait_for_failure(story, dag_id)
    await story.operate("Retry", "home is back")
    await story.sees("Succeeded after")
    await story.page.wait_for_selector(".indicators:has-text('3 of 3 up')")


async def cancel_and_roll_back(story: Story) -> None:
    """Cancel a start that hangs, and roll it back."""
    story.kill_server(2)
    await story.open("Servers")
    await story.sees_state(THIRD, "down")
    dag_id = await story.start(THIRD, "it is down")
    await freeze_server(story, dag_id, THIRD)
    await story.page.wait_for_selector(f"svg a[aria-label*='{HEALTH}']")
    await story.operate("Cancel", "it takes too long")
    await story.sees("ancelled")
    await story.operate("Rollback", "tidy up")

    async def is_rolled_back() -> bool:
        dag = await story.client.get_dag(dag_id)
        return (dag["state"], dag["operator"]) == ("SUCCEED", "ROLLBACK")

    await eventually(is_rolled_back, timeout_s=60, what="the roll-back")
    await story.sees("olled back")


async def force_pass(story: Story) -> None:
    """Take the lock over from a start that hangs."""
    hanging = await story.start(THIRD, "it is down again")
    pid = await freeze_server(story, hanging, THIRD)
    await story.page.wait_for_selector(f"svg a[aria-label*='{HEALTH}']")
    await story.plan("All servers")
    assert await story.page.locator("form.do-it button").is_disabled()
    await story.user.activate(story.page.get_by_role("link", name="take the lock over"))
    await story.page.wait_for_selector("text=This cancels and passes the task")
    await story.do_it("the other one hangs")
    os.kill(pid, signal.SIGCONT)  # only now: the other start would end, and its lock be free
    await story.sees("Succeeded after")
    passed = await story.client.get_dag(hanging)
    assert (passed["state"], passed["operator"]) == ("SUCCEED", "PASS")
    await story.open("Servers")
    await story.sees_state(THIRD, "up")


@only_owner
@pytest.mark.parametrize("make_user", [MouseUser, KeyboardUser])
async def test_story_passes_with_one_device(
    open_testbed: OpenTestbed,
    tmp_path: Path,
    make_user: Callable[[Page], User],
) -> None:
    async with (
        open_testbed(3) as testbed,
        testbed.client() as client,
        browsing(tmp_path / "profile") as browser,
    ):
        await browser.add_init_script(RECORD_EVENTS)
        story = Story(make_user(browser.pages[0]), testbed, client)
        await start_and_lose_controller(story)
        delay_s = await lose_server_and_start_again(story)
        sys.stdout.write(f"the page showed the killed server as down after {delay_s:.1f} s\n")
        await find_cause_and_retry(story)
        await cancel_and_roll_back(story)
        await force_pass(story)
        names = {dag["name"] for dag in await client.list_dags()}
        assert names == {"Start OB"}


async def reload_until(page: Page, text: str) -> None:
    """Load a page again, as it does itself every 15 s, until its sentence contains a text."""

    async def has_text() -> bool:
        await page.reload()
        return text in await page.inner_text(".sentence")

    await eventually(has_text, timeout_s=120, what=text)


@only_owner
async def test_start_retry_and_cancel_work_without_scripts(
    open_testbed: OpenTestbed, tmp_path: Path
) -> None:
    async with (
        open_testbed(2) as testbed,
        testbed.client() as client,
        browsing(tmp_path / "profile", java_script_enabled=False) as browser,
    ):
        await testbed.start_controller()
        page = browser.pages[0]
        story = Story(MouseUser(page), testbed, client)
        await story.log_in()
        assert await page.locator("noscript meta[http-equiv=refresh]").count() == 1
        home = testbed.cluster.servers[1].home
        home.rename(home.with_name("aside"))
        dag_id = await story.start("All servers", "first start")
        await reload_until(page, f"{SECOND} failed at Check servers")
        shutil.move(home.with_name("aside"), home)
        await wait_for_failure(story, dag_id)
        await page.reload()
        await story.operate("Retry", "home is back")
        await freeze_server(story, dag_id, SECOND)
        await page.reload()
        await story.operate("Cancel", "it takes too long")
        await reload_until(page, "Cancelled after")
        assert (await client.get_dag(dag_id))["operator"] == "CANCEL"
