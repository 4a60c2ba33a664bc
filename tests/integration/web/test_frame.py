"""The frame of all pages: redirects, headers, menu, errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dagengine.testing import Latch
from dagengine.web import messages
from dagengine.web.page import Page, PageAction, PageCall, PageResult, Redirect, View
from dagengine.web.views.locks import LocksModel
from tests.support.page_controller import PageController, open_page_controller

ROOT = Path(__file__).parents[3]


async def test_root_redirects_to_pages(controller: PageController) -> None:
    response = await controller.request("GET", "/")
    assert (response.status, response.headers["Location"]) == (303, "/ui/")
    start = await controller.get("/")
    assert (start.status, start.headers["Location"]) == (303, "/ui/tasks")


async def test_page_without_login_redirects_to_form(controller: PageController) -> None:
    controller.session.cookie_jar.clear()
    response = await controller.get("/tasks")
    assert (response.status, response.headers["Location"]) == (303, "/ui/login?next=/ui/tasks")


async def test_page_has_security_headers(controller: PageController) -> None:
    headers = (await controller.get("/tasks")).headers
    assert headers["Content-Security-Policy"] == (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


async def test_unknown_page_is_an_html_error(controller: PageController) -> None:
    response = await controller.get("/nothing")
    assert response.status == 404
    assert "This page does not exist" in response.words
    assert "Content-Security-Policy" in response.headers


async def test_static_files_of_a_page_are_served(controller: PageController) -> None:
    text = (await controller.get("/tasks")).text
    paths = re.findall(r'"/ui(/static/[^"]+)"', text)
    assert len(paths) == 4
    for path in paths:
        response = await controller.get(path)
        assert response.status == 200
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_header_shows_holder_of_the_lock(controller: PageController) -> None:
    controller.latch = Latch()
    dag_id = await controller.submit(by="alice from 10.0.0.9")
    await controller.latch.reached.wait()
    response = await controller.get("/audit")
    assert "Lock: held by Start OB" in response.words
    assert f'href="/ui/task/{dag_id}"' in response.text
    assert "started by alice from 10.0.0.9" in response.text.partition("</header>")[0]
    assert "1 running" in response.words


async def test_page_in_chinese_has_chinese_texts(controller: PageController) -> None:
    headers = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
    response = await controller.request("GET", "/ui/tasks", headers=headers)
    assert '<html lang="zh-Hans">' in response.text
    for word in ("任务", "审计", "锁：空闲", "退出登录", "还没有任务"):
        assert word in response.words


async def test_page_refreshes_without_scripts(controller: PageController) -> None:
    text = (await controller.get("/tasks")).text
    assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in text


async def test_notices_of_the_cluster_are_on_each_page(controller: PageController) -> None:
    controller.cluster.notices = ("the new cluster file is refused",)
    text = (await controller.get("/locks")).text
    assert "the new cluster file is refused" in text.partition("</header>")[0]


async def test_page_of_an_extension_is_served(tmp_path: Path) -> None:
    async def view(call: PageCall) -> View:
        return View("locks.html", LocksModel((), f"seen by {call.caller.name}"))

    async def act(call: PageCall) -> PageResult:
        return Redirect(f"/{call.form['target']}?a=1")

    page = Page("/own", messages.LOCKS, view, messages, {"go": PageAction(act)})
    async with open_page_controller(tmp_path, pages=[page]) as controller:
        response = await controller.get("/own")
        assert "seen by root@sys" in response.words
        assert response.words.index("Locks") < response.words.index("Tasks")
        acted = await controller.post("/own", action="go", target="locks")
        assert (acted.status, acted.headers["Location"]) == (303, "/ui/locks?a=1")
        unknown = await controller.post("/own", action="other")
        assert (unknown.status, "has no action" in unknown.words) == (400, True)


async def test_defect_of_a_page_is_an_html_error(tmp_path: Path) -> None:
    async def view(call: PageCall) -> View:
        raise RuntimeError("a defect inside")

    pages = [Page("/own", messages.LOCKS, view, messages)]
    async with open_page_controller(tmp_path, pages=pages) as controller:
        response = await controller.get("/own")
    assert response.status == 500
    assert "see the log for trace" in response.words
    assert "defect" not in response.text


def test_pages_are_served_without_tasks() -> None:
    script = """
import asyncio, sys, tempfile, pathlib
from tests.support.page_controller import open_page_controller
async def main():
    with tempfile.TemporaryDirectory() as directory:
        async with open_page_controller(pathlib.Path(directory)) as controller:
            dag_id = await controller.run()
            for path in ("/tasks", f"/task/{dag_id}", "/locks", "/audit", "/log"):
                response = await controller.get(path)
                assert response.status == 200, path
asyncio.run(main())
assert not [name for name in sys.modules if name == "tasks" or name.startswith("tasks.")]
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
