"""The page `/docs`."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from tests.support.api_controller import ApiController

FILES = ("docs.js", "swagger-ui-bundle.js", "swagger-ui.css")
POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)


@pytest.mark.parametrize("path", ["/docs", *(f"/docs/{name}" for name in FILES)])
async def test_docs_page_has_policy_and_no_cookie(controller: ApiController, path: str) -> None:
    reply = await controller.send("GET", path)
    assert reply.status == 200
    assert reply.headers["Content-Security-Policy"] == POLICY
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "same-origin"
    assert "Set-Cookie" not in reply.headers
    again = await controller.send("GET", path, headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status, again.text) == (304, "")


async def test_docs_page_loads_own_files_only(controller: ApiController) -> None:
    page = (await controller.send("GET", "/docs")).text
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {f"/docs/{name}" for name in FILES} < set(links)
    assert [link for link in links if not link.startswith(("/", "data:,"))] == []
    assert re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", page) is None


async def test_docs_script_sends_no_cookie(controller: ApiController) -> None:
    script = (await controller.send("GET", "/docs/docs.js")).text
    assert 'request.credentials = "omit"' in script
    assert "persistAuthorization: false" in script
    assert 'url: "/openapi.json"' in script


async def test_docs_page_serves_listed_files_only(controller: ApiController) -> None:
    static = resources.files("dagengine.api.document").joinpath("static")
    for name in [*(file.name for file in static.iterdir()), "../openapi.py", "%2e%2e/app.py"]:
        if name not in FILES:
            assert (await controller.send("GET", f"/docs/{name}")).status == 404, name
