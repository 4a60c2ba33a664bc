"""Sessions of browsers: log-in, cookies, lifetimes, and where they are accepted."""

from __future__ import annotations

import os

import pytest
from structlog.testing import capture_logs

from dagengine.model.credentials import Access
from dagengine.security.session_rules import digest_id
from tests.support.api_controller import PASSWORD
from tests.support.session_pages import Pages

REFUSED = "Security.Authentication.Unauthorized"
ELSEWHERE = "203.0.113.9"
MINUTE_S = 60
HOUR_S = 60 * MINUTE_S


# --- log-in --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "https", "socket"])
async def test_login_with_root_password_opens_pages(pages: Pages, kind: str) -> None:
    browser = pages.browser(kind)
    assert (await browser.get()).code == REFUSED
    assert (await browser.log_in()).status == 200
    page = (await browser.get()).body
    assert page["kind"] == "session"
    assert page["caller"].startswith("root@sys from ")
    assert (await browser.act()).status == 200


async def test_login_with_agent_password_needs_configured_one(pages: Pages) -> None:
    browser = pages.browser()
    assert (await browser.log_in("agent", "")).code == "Common.IllegalArgument"
    pages.api.agent_password = "agent's own"
    assert (await browser.log_in("agent", PASSWORD)).code.endswith("IncorrectAgentPassword")
    assert (await browser.log_in("agent", "agent's own")).status == 200
    assert (await browser.get()).body["caller"].startswith("agent password from ")


@pytest.mark.parametrize("access", Access)
async def test_login_with_token_has_its_rights(pages: Pages, access: Access) -> None:
    token = await pages.create_token("ci", access)
    browser = pages.browser()
    assert (await browser.log_in("token", f" {token}\n")).status == 200
    assert (await browser.get()).body["caller"] == "token ci from 127.0.0.1"
    assert (await browser.act()).status == (200 if access is Access.ACT else 403)


async def test_login_at_socket_needs_form_only(pages: Pages) -> None:
    browser = pages.browser("socket")
    assert (await browser.get()).code == REFUSED
    form = await browser.open_login()
    assert form["local_name"] == f"uid {os.geteuid()} (pid {os.getpid()})"
    assert (await browser.log_in("local user", "")).status == 200
    assert (await browser.act()).status == 200
    assert (await browser.get()).body["caller"] == f"{form['local_name']} from the socket"


@pytest.mark.parametrize("entry", ["local user", "certificate", "agent", "", "root "])
async def test_login_refuses_entry_that_is_not_offered(pages: Pages, entry: str) -> None:
    browser = pages.browser()
    assert entry not in (await browser.open_login())["entries"]
    assert (await browser.log_in(entry)).code == "Common.IllegalArgument"


@pytest.mark.parametrize("root_password", ["", PASSWORD])
@pytest.mark.parametrize("entry", ["root", "token", "agent"])
async def test_login_with_empty_form_is_refused(
    pages: Pages, entry: str, root_password: str
) -> None:
    pages.api.root_password = root_password
    for kind in ("http", "socket"):
        assert (await pages.browser(kind).log_in(entry, "")).status == 400
    for _ in range(20):  # it is not a guess
        assert (await pages.browser().log_in(entry, " " if entry == "token" else "")).status == 400


async def test_login_guesses_are_throttled_with_the_api(pages: Pages) -> None:
    browser = pages.browser()
    for number in range(5):
        assert (await browser.log_in(secret=f"guess {number}")).code.endswith(
            "IncorrectOceanbasePassword"
        )
        assert (await browser.log_in("token", f"guess {number}")).code == REFUSED
    assert (await browser.log_in()).status == 429
    headers = {"Authorization": f"Bearer {'x' * 52}"}
    assert (await browser.get("/api/v1/locks", headers=headers)).status == 429
    assert (await pages.api.send_signed("GET", "/locks")).status == 429
    pages.api.clock.advance(60)
    assert (await browser.log_in()).status == 200


async def test_login_is_logged_with_its_caller(pages: Pages) -> None:
    browser = pages.browser()
    with capture_logs() as logs:
        await browser.log_in()
        await browser.send("POST", "/ui/logout", form={"csrf": await browser.csrf()})
    logged = [
        (line["event"], line["caller"], line["address"]) for line in logs if "address" in line
    ]
    assert logged == [
        ("session_began", "root@sys", "127.0.0.1"),
        ("session_ended", "root@sys", "127.0.0.1"),
    ]
    assert PASSWORD not in str(logs)


# --- no password ---------------------------------------------------------------------------------


async def test_pages_without_root_password_are_read_only_on_loopback(pages: Pages) -> None:
    pages.api.root_password = ""
    browser = pages.browser()
    page = (await browser.get()).body
    assert (page["kind"], page["rights"]) == ("anyone", "read")
    assert (await browser.send("POST", "/ui/act", form={"csrf": ""})).code == REFUSED
    assert not (await browser.open_login())["has_root_password"]
    assert "root" not in (await browser.open_login())["entries"]
    pages.api.root_password = PASSWORD
    assert (await browser.get()).code == REFUSED


async def test_pages_without_root_password_are_refused_elsewhere(pages: Pages) -> None:
    pages.api.root_password = ""
    reply = await pages.browser("https", address=ELSEWHERE).get()
    assert (reply.status, reply.code) == (403, "Security.User.PermissionDenied")
    assert "root@sys has no password; set one (" in reply.text
    assert "or create a token" in reply.text
    assert (await pages.browser("socket").get()).code == REFUSED


async def test_token_gives_full_rights_without_root_password(pages: Pages) -> None:
    token = await pages.create_token()
    pages.api.root_password = ""
    for address in ("", ELSEWHERE):
        browser = pages.browser("https", address=address)
        assert (await browser.log_in("token", token)).status == 200
        assert (await browser.act()).status == 200


# --- cookies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "https", "socket"])
async def test_cookies_have_flags_of_their_origin(pages: Pages, kind: str) -> None:
    browser = pages.browser(kind)
    before = (await browser.get("/ui/login")).cookies
    after = (await browser.log_in()).cookies
    port = browser.url.rpartition(":")[2]
    prefix = "__Host-" if kind == "https" else ""
    assert list(before) == [f"{prefix}dagengine-login-{port}"]
    assert list(after) == [f"{prefix}dagengine-{port}"]
    for cookie in (*before.values(), *after.values()):
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
        assert bool(cookie["secure"]) is (kind == "https")
        assert cookie["path"] == ("/" if kind == "https" else "/ui")
        assert not cookie["domain"]
        assert cookie["max-age"] == str(24 * HOUR_S)


async def test_cookie_is_not_accepted_by_the_api(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    for path in ("/api/v1/locks", "/api/v1/ui/page"):
        assert (await browser.get(path)).status in (400, 404)
    assert (await browser.get("/api/v1/locks")).code == "Request.Header.NotFound"
    assert (await browser.get()).status == 200


async def test_other_credentials_do_not_open_pages(pages: Pages) -> None:
    token = await pages.create_token()
    browser = pages.browser()
    assert (await browser.get(headers={"Authorization": f"Bearer {token}"})).code == REFUSED
    signed = pages.api.sign("/ui/page")
    assert (await browser.get(headers=signed)).code == REFUSED
    assert (await pages.browser("socket").get()).code == REFUSED


async def test_cookie_of_other_port_or_scheme_is_ignored(pages: Pages) -> None:
    http, https = pages.browser(), pages.browser("https")
    await http.log_in()
    session_id = http.cookies[http.session_cookie]
    assert (await https.get(cookies={http.session_cookie: session_id})).code == REFUSED
    assert (await http.get(cookies={"dagengine-1": session_id})).code == REFUSED


async def test_login_changes_the_id_and_ends_the_earlier_session(pages: Pages) -> None:
    browser, name = pages.browser(), ""
    await browser.log_in()
    name, first = browser.session_cookie, browser.cookies[browser.session_cookie]
    await browser.log_in()
    assert browser.cookies[name] != first
    assert (await browser.get(cookies={name: first})).code == REFUSED
    assert (await browser.get()).status == 200


async def test_login_does_not_adopt_an_id_from_outside(pages: Pages) -> None:
    browser = pages.browser()
    port = browser.url.rpartition(":")[2]
    planted = "A" * 43
    browser.cookies[f"dagengine-{port}"] = planted
    await browser.log_in()
    assert browser.cookies[f"dagengine-{port}"] != planted
    assert (await browser.get(cookies={f"dagengine-{port}": planted})).code == REFUSED
    assert (await browser.get(cookies=browser.cookies)).status == 200


async def test_id_before_login_is_not_a_session(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    before = next(value for name, value in browser.cookies.items() if "login" in name)
    assert (await browser.get(cookies={browser.session_cookie: before})).code == REFUSED


async def test_store_has_digests_of_ids_only(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    session_id = browser.cookies[browser.session_cookie]
    files = list(pages.directory.glob("store.sqlite*"))
    content = b"".join(file.read_bytes() for file in files)
    assert session_id.encode() not in content
    assert PASSWORD.encode() not in content
    digest = digest_id(session_id)
    assert digest is not None
    assert digest in content


# --- the end of a session ------------------------------------------------------------------------


async def test_session_ends_after_12_hours_without_use(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    pages.api.clock.advance(12 * HOUR_S - 2 * MINUTE_S)
    assert (await browser.get()).status == 200
    pages.api.clock.advance(11 * HOUR_S)
    assert (await browser.get()).status == 200
    pages.api.clock.advance(12 * HOUR_S)
    assert (await browser.get()).code == REFUSED


async def test_session_unused_for_12_hours_has_ended(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    pages.api.clock.advance(12 * HOUR_S)
    reply = await browser.get()
    assert reply.code == REFUSED
    assert "has ended" in reply.text


async def test_session_ends_after_24_hours(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    for _ in range(23):
        pages.api.clock.advance(HOUR_S)
        assert (await browser.get()).status == 200
    pages.api.clock.advance(HOUR_S)
    assert (await browser.get()).code == REFUSED


async def test_session_ends_when_password_changes(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    pages.api.root_password = "another"
    assert (await browser.get()).code == REFUSED
    assert (await browser.get("/ui/recheck")).code == REFUSED


async def test_session_ends_when_password_is_removed(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    csrf = await browser.csrf()
    pages.api.root_password = ""
    assert (await browser.send("POST", "/ui/act", form={"csrf": csrf})).code == REFUSED


async def test_session_ends_with_its_token(pages: Pages) -> None:
    revoked, expired = pages.browser(), pages.browser()
    await revoked.log_in("token", await pages.create_token("a"))
    await expired.log_in("token", await pages.create_token("b", expires_s=60))
    assert (await pages.api.send_signed("DELETE", "/tokens/a")).status == 200
    assert (await revoked.get()).code == REFUSED
    assert (await expired.get()).status == 200
    pages.api.clock.advance(60)
    assert (await expired.get()).code == REFUSED
    assert (await expired.get("/ui/recheck")).code == REFUSED


async def test_session_ends_on_logout(pages: Pages) -> None:
    browser = pages.browser()
    await browser.log_in()
    cookies = dict(browser.cookies)
    reply = await browser.send("POST", "/ui/logout", form={"csrf": await browser.csrf()})
    assert reply.status == 200
    assert browser.cookies[browser.session_cookie] == ""
    assert (await browser.get(cookies=cookies)).code == REFUSED


async def test_session_of_socket_is_valid_at_socket_only(pages: Pages) -> None:
    local, browser = pages.browser("socket"), pages.browser()
    await local.log_in("local user", "")
    port = browser.url.rpartition(":")[2]
    session_id = local.cookies[local.session_cookie]
    assert (await browser.get(cookies={f"dagengine-{port}": session_id})).code == REFUSED
    assert (await local.get()).status == 200


async def test_recheck_accepts_valid_session(pages: Pages) -> None:
    browser = pages.browser()
    assert (await browser.get("/ui/recheck")).code == REFUSED
    await browser.log_in()
    assert (await browser.get("/ui/recheck")).status == 200


# --- where pages are served ----------------------------------------------------------------------


async def test_pages_need_tls_from_other_machines(pages: Pages) -> None:
    elsewhere = pages.browser(address=ELSEWHERE)
    for path in ("/ui/login", "/ui/page"):
        reply = await elsewhere.get(path)
        assert (reply.status, reply.code) == (403, "Security.User.PermissionDenied")
        assert "api.tls_cert_file" in reply.text
    assert (await elsewhere.send("POST", "/ui/login", form={})).status == 403
    assert (await pages.browser("https", address=ELSEWHERE).log_in()).status == 200


@pytest.mark.parametrize("kind", ["http", "https", "socket"])
@pytest.mark.parametrize(
    "host", ["evil.example:8886", "unix.evil.example", "intranet", "intranet:1"]
)
async def test_pages_refuse_rebound_name(pages: Pages, kind: str, host: str) -> None:
    browser = pages.browser(kind)
    await browser.log_in()
    reply = await browser.get(headers={"Host": host})
    assert reply.code == "Request.Header.HostNotAllowed"
    reply = await browser.get("/ui/login", headers={"Host": host})
    assert reply.code == "Request.Header.HostNotAllowed"


async def test_api_at_socket_refuses_rebound_name(pages: Pages) -> None:
    """`ssh -L` makes the socket reachable for the pages of a browser."""
    local = pages.browser("socket")
    reply = await local.get("/api/v1/locks", headers={"Host": "evil.example:8886"})
    assert reply.code == "Request.Header.HostNotAllowed"
    assert (await local.get("/api/v1/locks", headers={"Host": "localhost:8886"})).status == 200
