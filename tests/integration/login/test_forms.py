"""Forms of pages: origin and token (CSRF)."""

from __future__ import annotations

import pytest

from dagengine.security.session_rules import csrf_token
from tests.support.api_controller import PASSWORD
from tests.support.session_pages import Pages

REFUSED = (403, "Request.Header.OriginNotAllowed")


@pytest.mark.parametrize("kind", ["http", "https", "socket"])
async def test_form_with_field_or_header_is_accepted(pages: Pages, kind: str) -> None:
    browser = pages.browser(kind)
    await browser.log_in()
    csrf = await browser.csrf()
    reply = await browser.send("POST", "/ui/act", form={"a": "b", "csrf": csrf})
    assert reply.body["body"] == f"a=b&csrf={csrf}"
    headers = {"X-CSRF-Token": csrf}
    assert (await browser.send("POST", "/ui/act", headers=headers)).status == 200
    assert (await browser.send("DELETE", "/ui/act", headers=headers)).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("csrf", ["", "x", "0" * 64, "é", "other session"])
async def test_form_without_token_of_session_is_refused(
    pages: Pages, method: str, csrf: str
) -> None:
    browser, other = pages.browser(), pages.browser()
    await browser.log_in()
    await other.log_in()
    value = await other.csrf() if csrf == "other session" else csrf
    reply = await browser.send(method, "/ui/act", form={"csrf": value})
    assert (reply.status, reply.code) == REFUSED


async def test_form_with_token_of_login_page_is_refused(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    csrf = (await browser.open_login())["csrf"]
    reply = await browser.send("POST", "/ui/act", form={"csrf": csrf})
    assert (reply.status, reply.code) == REFUSED


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": None},
        {"Origin": None, "Sec-Fetch-Site": "none"},
        {"Origin": None, "Sec-Fetch-Site": "same-site"},
        {"Origin": None, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
@pytest.mark.parametrize("path", ["/ui/act", "/ui/login", "/ui/logout"])
async def test_form_of_other_origin_is_refused(
    pages: Pages, path: str, headers: dict[str, str | None]
) -> None:
    browser = pages.browser()
    await browser.log_in()
    if path == "/ui/login":
        reply = await browser.log_in(headers=headers)
    else:
        form = {"csrf": await browser.csrf()}
        reply = await browser.send("POST", path, form=form, headers=headers)
    assert (reply.status, reply.code) == REFUSED
    assert (await browser.get()).status == 200


async def test_form_without_origin_needs_same_site_of_browser(pages: Pages) -> None:
    browser = pages.browser()
    headers = {"Origin": None, "Sec-Fetch-Site": "same-origin"}
    assert (await browser.log_in(headers=headers)).status == 200
    assert (await browser.act(headers=headers)).status == 200


async def test_form_of_allowed_host_must_match_host(pages: Pages) -> None:
    """The API accepts the advertised address as Origin; a form must come from its own page."""
    advertised = f"http://{pages.api.agent.ip}:{pages.api.agent.port}"
    browser = pages.browser()
    await browser.log_in()
    assert (await browser.get("/api/v1/info", headers={"Origin": advertised})).status == 200
    reply = await browser.act(headers={"Origin": advertised})
    assert (reply.status, reply.code) == REFUSED


@pytest.mark.parametrize("csrf", ["", "0" * 64, csrf_token("")])
async def test_login_form_without_token_is_refused(pages: Pages, csrf: str) -> None:
    browser = pages.browser()
    form = {"entry": "root", "secret": PASSWORD, "csrf": csrf}
    for cookies in ({}, None):
        reply = await browser.send("POST", "/ui/login", form=form, cookies=cookies)
        assert (reply.status, reply.code) == REFUSED
        await browser.open_login()


async def test_login_form_needs_cookie_of_login_page(pages: Pages) -> None:
    browser, other = pages.browser(), pages.browser()
    csrf = (await other.open_login())["csrf"]
    await browser.open_login()
    form = {"entry": "root", "secret": PASSWORD, "csrf": csrf}
    reply = await browser.send("POST", "/ui/login", form=form)
    assert (reply.status, reply.code) == REFUSED
    assert (await browser.log_in(cookies={})).code == REFUSED[1]


async def test_socket_entry_needs_own_form(pages: Pages) -> None:
    browser = pages.browser("socket")
    form = {"entry": "local user", "csrf": ""}
    assert (await browser.send("POST", "/ui/login", form=form)).code == REFUSED[1]
    reply = await browser.log_in("local user", "", headers={"Origin": "http://evil.example:8886"})
    assert reply.code == REFUSED[1]


@pytest.mark.parametrize("kind", ["http", "https", "socket"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_api_refuses_foreign_origin(pages: Pages, kind: str, method: str) -> None:
    browser = pages.browser(kind)
    token = await pages.create_token()
    headers = {"Origin": "http://evil.example", "Authorization": f"Bearer {token}"}
    path = "/api/v1/locks" if method == "GET" else "/api/v1/fixed"
    reply = await browser.send(method, path, headers=headers)
    assert (reply.status, reply.code) == REFUSED
