"""The pages of servers, plans and the doctor, by plain forms, with a real controller and sshd."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import tasks.extension
from dagengine.client import Client
from dagengine.extension import Page
from dagengine.testing import eventually
from tests.integration.web.test_templates import emptied
from tests.support.plan_cluster import PASSWORD, PlanCluster

HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
START = "/ui/plan/start?scope=GLOBAL"
STOP = "/ui/plan/stop?scope=GLOBAL"


@dataclass
class Visitor:
    """A browser without scripts."""

    session: aiohttp.ClientSession
    url: str

    async def get(self, path: str) -> str:
        async with self.session.get(self.url + path) as response:
            assert response.status == 200, path
            return await response.text()

    async def post(self, path: str, fields: Sequence[tuple[str, str]]) -> tuple[int, str, str]:
        """Send a form; return status, location and text of the response."""
        async with self.session.post(
            self.url + path,
            data=fields,
            headers={"Origin": self.url},
            allow_redirects=False,
        ) as response:
            return response.status, response.headers.get("Location", ""), await response.text()

    async def open_plan(self) -> list[tuple[str, str]]:
        """Return the fields of the plan's form."""
        form = (await self.get(START)).partition('class="card do-it"')[2]
        return [(name, unescape(value)) for name, value in HIDDEN.findall(form)]


def content(html: str) -> str:
    """Return the text below the heading of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", html.partition("<h1>")[2]).split())


@asynccontextmanager
async def visiting(plan_cluster: PlanCluster) -> AsyncIterator[tuple[Visitor, Client]]:
    """Log in with the password of root@sys."""
    jar = aiohttp.CookieJar(unsafe=True)  # of an address
    async with plan_cluster.client() as client, aiohttp.ClientSession(cookie_jar=jar) as session:
        visitor = Visitor(session, plan_cluster.url)
        form = (await visitor.get("/ui/login")).rpartition("<form")[2]
        fields = [*HIDDEN.findall(form), ("entry", "root"), ("secret", PASSWORD)]
        status, location, text = await visitor.post("/ui/login", fields)
        assert status == 303, content(text)
        assert location.startswith("/ui")
        yield visitor, client


async def check_servers(visitor: Visitor) -> None:
    async def is_probed() -> bool:
        return "is unknown" not in content(await visitor.get("/ui/"))

    await eventually(is_probed)
    text = content(await visitor.get("/ui/"))
    for expected in ("0 of 1 up", "z1", "127.0.0.1:2886", "✗ down", "Start", "Stop"):
        assert expected in text, text


async def check_plan(visitor: Visitor) -> None:
    text = content(await visitor.get(START))
    for expected in (
        "1 to start",
        "127.0.0.1:2886",
        "dagengine-start",
        "lock of the cluster is free",
    ):
        assert expected in text, text


async def check_doctor(visitor: Visitor) -> None:
    page = await visitor.get("/ui/doctor")
    fields = [*HIDDEN.findall(page.partition("<h1>")[2])]
    assert (await visitor.post("/ui/doctor", fields))[0] == 303

    async def has_ended() -> bool:
        return "Examining" not in content(await visitor.get("/ui/doctor"))

    await eventually(has_ended, timeout_s=60)
    text = content(await visitor.get("/ui/doctor"))
    for expected in ("127.0.0.1:2886", "passed", "ssh -p", "cluster.yaml"):
        assert expected in text, text


async def check_refused_plan(visitor: Visitor) -> None:
    """A stop by SQL of servers whose SQL does not answer."""
    async with visitor.session.get(visitor.url + STOP) as response:
        assert response.status >= 400
        text = content(await response.text())
    for expected in ("A plan cannot be made", "terminate"):
        assert expected in text, text


CHECKS = (check_servers, check_plan, check_refused_plan, check_doctor)


@pytest.mark.parametrize("check", CHECKS)
async def test_page_shows_its_content(plan_cluster: PlanCluster, check: Any) -> None:
    plan_cluster.add(2886)
    async with visiting(plan_cluster) as (visitor, client):
        await check(visitor)
        assert await client.list_dags() == []
        assert await client.list_locks() == []


@pytest.mark.parametrize("check", CHECKS)
async def test_page_with_empty_view_model_fails(
    plan_cluster: PlanCluster, monkeypatch: pytest.MonkeyPatch, check: Any
) -> None:
    pages = tasks.extension.cluster_pages

    def empty_pages(*arguments: Any) -> Sequence[Page]:
        return tuple(map(emptied, pages(*arguments)))

    monkeypatch.setattr(tasks.extension, "cluster_pages", empty_pages)
    plan_cluster.add(2886)
    async with visiting(plan_cluster) as (visitor, _):
        with pytest.raises(AssertionError):
            await check(visitor)


async def test_plan_without_reason_does_nothing(plan_cluster: PlanCluster) -> None:
    plan_cluster.add(2886)
    async with visiting(plan_cluster) as (visitor, client):
        fields = await visitor.open_plan()
        status, _, text = await visitor.post(START, [*fields, ("reason", " ")])
        assert status == 400
        assert "The reason is missing" in unescape(text)
        await plan_cluster.assert_nothing_happened(client)


async def test_changed_plan_shows_what_changed(plan_cluster: PlanCluster) -> None:
    plan_cluster.add(2886)
    async with visiting(plan_cluster) as (visitor, client):
        fields = await visitor.open_plan()
        (Path(plan_cluster.servers[0]["home"]) / "bin" / "seekdb").unlink()
        status, _, text = await visitor.post(START, [*fields, ("reason", "maintenance")])
        assert status == 412
        assert "Nothing was done: the plan has changed" in content(text)
        assert "✗ blocked before: to start" in content(text)
        await plan_cluster.assert_nothing_happened(client)


async def test_double_click_starts_one_task(plan_cluster: PlanCluster) -> None:
    plan_cluster.add(2886)
    (Path(plan_cluster.servers[0]["home"]) / "bin" / "seekdb").unlink()  # it ends at once
    async with visiting(plan_cluster) as (visitor, client):
        fields = [*await visitor.open_plan(), ("reason", "maintenance")]
        results = await asyncio.gather(*(visitor.post(START, fields) for _ in range(3)))
        assert {status for status, _, _ in results} == {303}
        assert len({location for _, location, _ in results}) == 1
        (dag,) = await client.list_dags()
        assert results[0][1] == f"/ui/task/{dag['id']}"
        (row,) = await client.list_audit()
        assert row["reason"] == "maintenance"


async def test_plan_form_without_token_is_refused(plan_cluster: PlanCluster) -> None:
    plan_cluster.add(2886)
    async with visiting(plan_cluster) as (visitor, client):
        fields = [field for field in await visitor.open_plan() if field[0] != "csrf"]
        assert (await visitor.post(START, [*fields, ("reason", "x")]))[0] in (401, 403)
        await plan_cluster.assert_nothing_happened(client)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ui/plan/format", 404),
        ("/ui/plan/start?scope=ALL", 400),
        ("/ui/plan/stop?scope=ZONE", 400),
    ],
)
async def test_plan_of_unknown_choice_is_an_error_page(
    plan_cluster: PlanCluster, path: str, status: int
) -> None:
    plan_cluster.add(2886)
    async with (
        visiting(plan_cluster) as (visitor, _),
        visitor.session.get(visitor.url + path) as response,
    ):
        assert response.status == status
        assert response.content_type == "text/html"


async def test_plan_page_is_not_refreshed(plan_cluster: PlanCluster) -> None:
    """A refresh would replace the plan that the user reads, and its digest."""
    plan_cluster.add(2886)
    async with visiting(plan_cluster) as (visitor, _):
        page = await visitor.get(START)
        assert "http-equiv" not in page
        assert 'hx-trigger="dagengine:never"' in page
        assert 'http-equiv="refresh"' in await visitor.get("/ui/")
