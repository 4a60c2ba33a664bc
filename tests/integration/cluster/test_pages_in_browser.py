"""The pages of servers, plans and the doctor in Chromium: accessibility and size."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page as BrowserPage

from dagengine.extension import Page, PageCall, ServerPlan, View
from tasks.cluster.cluster_file import load_cluster
from tasks.cluster.observation import AVAILABLE, NOT_RUNNING, Observation
from tasks.cluster.servers import Server
from tasks.flavours.select import FLAVOURS
from tasks.web import messages
from tasks.web.plan_model import view_plan
from tasks.web.server_state import ServerFacts
from tasks.web.servers import ServerRecord, view_servers
from tests.support.accessibility import find_defects
from tests.support.browser import CHROMIUM, log_in, open_browser
from tests.support.page_controller import PASSWORD as PAGE_PASSWORD
from tests.support.page_controller import open_page_controller
from tests.support.plan_cluster import PASSWORD, PlanCluster
from tests.unit.web.test_plan_page import make_record
from tests.unit.web.test_servers_page import FAILED, START, STOP

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
]

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CHECK = {"check": "memory", "level": "block", "cause": "too little", "remedy": "add memory"}


async def open_servers(page: BrowserPage) -> None:
    await page.click("nav a:has-text('Servers')")
    await page.wait_for_selector(".badge:has-text('unreachable')")


async def open_plan(page: BrowserPage) -> None:
    await open_servers(page)
    await page.click("a[aria-label='Start: All servers']")
    await page.wait_for_selector(".badge:has-text('blocked')")


async def open_stop_plan(page: BrowserPage) -> None:
    await open_servers(page)
    await page.click("a[aria-label='Stop: All servers']")
    await page.wait_for_selector(".problem")  # an unreachable server needs another mode
    await page.click(".choices a[aria-current=false] >> nth=-1")
    await page.wait_for_selector("form.do-it")


async def open_refused_plan(page: BrowserPage) -> None:
    await open_servers(page)
    await page.click("a[aria-label='Stop: All servers']")
    await page.wait_for_selector(".choices")


async def open_changed_plan(page: BrowserPage) -> None:
    await open_plan(page)
    await page.evaluate("document.querySelector('[name=digest]').value = 'p1-0-0-0-0'")
    await page.fill("#reason", "maintenance")
    await page.click("form.do-it button")
    await page.wait_for_selector("[role=alert]")


async def open_doctor(page: BrowserPage) -> None:
    await page.click("nav a:has-text('Doctor')")
    await page.wait_for_selector("h1:has-text('Doctor')")


async def examine(page: BrowserPage) -> None:
    await open_doctor(page)
    await page.click("main form button")
    await page.wait_for_selector(".group .badge:has-text('error')", timeout=60_000)


OPENERS: Sequence[Callable[[BrowserPage], Awaitable[None]]] = (
    *(
        open_servers,
        open_plan,
        open_stop_plan,
        open_refused_plan,
        open_changed_plan,
        open_doctor,
        examine,
    ),
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_cluster_pages_have_no_accessibility_violation(
    plan_cluster: PlanCluster, tmp_path: Path, axe: str, scheme: Any
) -> None:
    plan_cluster.add(2886)
    plan_cluster.add(2887, installed=False)
    plan_cluster.add(2888, ssh_port=1)
    async with (
        plan_cluster.client(),
        open_browser(tmp_path / "profile", color_scheme=scheme) as browser,
    ):
        page = browser.pages[0]
        await log_in(page, plan_cluster.url, PASSWORD)
        for opener in OPENERS:
            await page.set_viewport_size({"width": 1200, "height": 800})
            await opener(page)
            for width in (1200, 360):
                await page.set_viewport_size({"width": width, "height": 800})
                assert await find_defects(page, axe) == [], (opener.__name__, width)


def make_servers(directory: Path) -> Sequence[Server]:
    """Return 1,000 servers in ten zones."""
    zones = {f"zone{zone}": [{"ip": f"10.0.{zone}.{n}"} for n in range(100)] for zone in range(10)}
    content = {"name": "x", "id": 1, "flavour": "seekdb", "root_password": "none"}
    path = directory / "cluster.yaml"
    path.write_text(json.dumps({**content, "defaults": {"home": "/h"}, "zones": zones}))
    return load_cluster(path, FLAVOURS).servers


@pytest.mark.parametrize("is_up", [True, False])
async def test_pages_of_1000_servers_stay_small(tmp_path: Path, *, is_up: bool) -> None:
    state = Observation(NOW, AVAILABLE if is_up else NOT_RUNNING, pid=7, started_at=NOW)
    facts = ServerFacts(state, last_run=None if is_up else FAILED)
    records = [ServerRecord(server, facts, NOW) for server in make_servers(tmp_path)]
    plan = ServerPlan("10.0.0.1:2886", "blocked", "too little", (CHECK,), ("run x",))
    plans = [replace(plan, name=record.server.name) for record in records]

    async def show_servers(call: PageCall) -> View:
        model = view_servers(records, [START, STOP], NOW, call.texts)
        return View("tasks.web/servers.html", model)

    async def show_plan(call: PageCall) -> View:
        return View("tasks.web/plan.html", view_plan(make_record(*plans), call.texts))

    pages = [
        Page("/", messages.SERVERS, show_servers, messages, templates="tasks.web"),
        Page("/plan", messages.PLAN, show_plan, messages, templates="tasks.web"),
    ]
    async with (
        open_page_controller(tmp_path, pages=pages) as controller,
        open_browser(tmp_path / "profile") as browser,
    ):
        page = browser.pages[0]
        await log_in(page, controller.url, PAGE_PASSWORD)
        for path in ("/", "/plan"):
            assert len((await controller.get(path)).text.encode()) <= 2_000_000
            await page.goto(f"{controller.url}/ui{path}")
            count = await page.evaluate("document.querySelectorAll('*').length")
            assert 5_000 < count <= 20_000, path
