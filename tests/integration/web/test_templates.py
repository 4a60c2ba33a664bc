"""Templates: no decisions, no inline scripts, and no page without its view model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from dagengine.runtime.logging import LogRing
from dagengine.testing import Latch
from dagengine.web import app as web_app
from dagengine.web.page import Page, PageCall, PageResult, View
from dagengine.web.rendering import make_environment
from dagengine.web.views.pages import dag_pages
from tests.support.fake_cluster import SECOND
from tests.support.page_controller import PageController, open_page_controller

TEMPLATES = sorted((Path(__file__).parents[3] / "dagengine" / "web" / "templates").glob("*.html"))
CONTENT = {
    "/tasks": (SECOND, "root@sys from ::1", "nightly restart"),
    "/task/{id}": ("1. Check operation lock", "0 of 2 servers", "at work", "nightly restart"),
    "/locks": ("● held", "at stage 2 of 4"),
    "/audit": ("START", "nightly restart"),
    "/log": ("disk_slow",),
}


def make_empty(value: Any) -> Any:
    """Return a view model with the same structure and nothing in it."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return "" if isinstance(value, str) else type(value)()
    fields = {f.name: make_empty(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return dataclasses.replace(value, **fields)


def emptied(page: Page) -> Page:
    async def view(call: PageCall) -> PageResult:
        result = await page.view(call)
        if isinstance(result, View):
            return dataclasses.replace(result, model=make_empty(result.model))
        return result

    return dataclasses.replace(page, view=view)


async def open_and_check(controller: PageController, path: str) -> None:
    """Assert that a page shows a running DAG."""
    controller.ring.add({"event": "disk_slow", "level": "warning"})
    controller.latch = Latch()
    dag_id = await controller.submit(reason="nightly restart")
    await controller.latch.reached.wait()
    response = await controller.get(path.format(id=dag_id))
    main = response.text.partition("<h1>")[2]  # without header and menu
    words = " ".join(re.sub(r"<[^>]*>", " ", main).split())
    for expected in CONTENT[path]:
        assert expected in words


@pytest.mark.parametrize("path", CONTENT)
async def test_page_shows_the_records(controller: PageController, path: str) -> None:
    await open_and_check(controller, path)


@pytest.mark.parametrize("path", CONTENT)
async def test_page_with_empty_view_model_fails_its_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def empty_pages(ring: LogRing) -> Sequence[Page]:
        return tuple(map(emptied, dag_pages(ring)))

    monkeypatch.setattr(web_app, "dag_pages", empty_pages)
    async with open_page_controller(tmp_path) as controller:
        with pytest.raises(AssertionError):
            await open_and_check(controller, path)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_template_contains_no_decision(template: Path) -> None:
    text = template.read_text("utf-8")
    conditions = re.findall(r"{%-?\s*(?:if|elif)\s+(.*?)\s*-?%}", text)
    wrong = [one for one in conditions if not re.fullmatch(r"[\w.]+( or [\w.]+)?", one)]
    assert wrong == []
    assert not re.search(r"{{[^}]* if ", text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_template_has_nothing_inline(template: Path) -> None:
    text = template.read_text("utf-8")
    assert not re.search(r"<style|style=|\son\w+=|hx-on|javascript:|js:|\|\s*safe", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"""(src|href|action)=["'](https?:)?//""", text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_post_forms_have_the_token(template: Path) -> None:
    forms = re.findall(r"<form[^>]*method=\"post\".*?</form>", template.read_text("utf-8"), re.S)
    assert all('name="csrf"' in form for form in forms)


def test_missing_value_is_an_error() -> None:
    template = make_environment([]).from_string("{{ model.nothing }}")
    with pytest.raises(UndefinedError):
        template.render(model=object())


def test_environment_has_no_globals() -> None:
    assert make_environment([]).globals == {}
