"""Text from outside never becomes markup, on any page."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagengine import Problem
from tests.support.fake_cluster import SECOND
from tests.support.page_controller import PageController, open_page_controller

MARKUP = "<img src=x onerror=alert(1)>'\"><script>alert(2)</script>"
CONTROLS = "\x1b[31m\x07\u202e"
RAW = {"\x1b", "\x07", "\u202e"}
HOSTILE = f"{MARKUP}{CONTROLS}"
PAGES = ("/tasks", "/task/{id}", "/locks", "/audit", "/log")


def check(text: str, *, shown: bool = True) -> None:
    """Assert that no part of the hostile text is markup, and no control character is raw."""
    assert "<img" not in text
    assert "<script>" not in text
    assert "onerror=alert(1)>'" not in text
    assert not RAW & set(text)
    if shown:
        assert "&lt;img src=x onerror=alert(1)&gt;&#39;&#34;&gt;&lt;script&gt;" in text
        assert "\\x1b[31m\\x07\\u202e" in text


async def test_hostile_name_of_a_dag_is_text(tmp_path: Path) -> None:
    async with open_page_controller(tmp_path, operation=HOSTILE) as controller:
        dag_id = await controller.run()
        for path in PAGES[:3]:
            response = await controller.get(path.format(id=dag_id))
            check(response.text, shown=path != "/locks")


async def test_hostile_parameters_are_text(controller: PageController) -> None:
    dag_id = await controller.run(params={HOSTILE: HOSTILE})
    text = (await controller.get(f"/task/{dag_id}")).text
    check(text, shown=False)
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


async def test_hostile_log_lines_are_text(controller: PageController) -> None:
    controller.lines = [HOSTILE]
    dag_id = await controller.run()
    check((await controller.get(f"/task/{dag_id}?task=2")).text)


async def test_hostile_problem_and_evidence_are_text(controller: PageController) -> None:
    controller.broken = {SECOND}
    controller.problem = Problem("A.B", HOSTILE, HOSTILE)
    controller.evidence = {HOSTILE: HOSTILE, "checks": [{HOSTILE: HOSTILE}]}
    dag_id = await controller.run()
    check((await controller.get(f"/task/{dag_id}")).text)


@pytest.mark.parametrize("path", ["/tasks", "/task/{id}", "/audit"])
async def test_hostile_caller_and_reason_are_text(controller: PageController, path: str) -> None:
    dag_id = await controller.run(by=HOSTILE, reason=HOSTILE)
    check((await controller.get(path.format(id=dag_id))).text)


async def test_hostile_notice_of_a_cluster_is_text(controller: PageController) -> None:
    controller.cluster.notices = (HOSTILE,)
    controller.cluster.name = HOSTILE
    check((await controller.get("/tasks")).text)


QUERY = "%3Cimg%20src=x%20onerror=alert(1)%3E'%22%3E%3Cscript%3Ealert(2)%3C/script%3E%1b[31m%07"


@pytest.mark.parametrize(
    "path",
    [
        f"/tasks?name={QUERY}",
        f"/tasks?state={QUERY}&before={QUERY}&period={QUERY}",
        f"/audit?caller={QUERY}&action={QUERY}&dag={QUERY}",
        f"/log?level={QUERY}&dag={QUERY}",
        f"/login?next=/ui/{QUERY}",
        f"/task/{QUERY}",
        f"/task/1?task={QUERY}&attempt={QUERY}",
        f"/{QUERY}",
        f"/events?dag={QUERY}",
    ],
)
async def test_hostile_url_is_text(controller: PageController, path: str) -> None:
    check((await controller.get(path)).text, shown=False)


async def test_hostile_action_is_text(controller: PageController) -> None:
    dag_id = await controller.run()
    response = await controller.post(f"/task/{dag_id}", action=HOSTILE, reason=HOSTILE)
    assert response.status == 400
    check(response.text, shown=False)


async def test_downloads_are_not_html(controller: PageController) -> None:
    controller.lines = [HOSTILE]
    dag_id = await controller.run(reason=HOSTILE)
    for path in (f"/task/{dag_id}/json", f"/task/{dag_id}/log/2", "/audit/csv"):
        response = await controller.get(path)
        assert "html" not in response.headers["Content-Type"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert not RAW & set(response.text)
