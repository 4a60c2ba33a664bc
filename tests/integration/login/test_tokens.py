"""API tokens: what they may do, where they are accepted, how they end, and who manages them."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections import Counter
from typing import Any

import pytest
from structlog.testing import capture_logs

from dagengine.client import Client
from dagengine.errors import ApiRefused, ConfigError
from dagengine.model.credentials import Access
from dagengine.security.login_throttle import FREE_FAILURES
from dagengine.security.tokens import parse_token, render_token
from tests.support.api_controller import START, encrypt_body
from tests.support.session_pages import Browser, Pages, Reply

UNAUTHORIZED = (401, "Security.Authentication.Unauthorized")
DENIED = (403, "Security.User.PermissionDenied")
ELSEWHERE = "203.0.113.9"
AT_ONCE = 2  # logins of one address


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


async def call(browser: Browser, token: str, method: str, path: str, **options: Any) -> Reply:
    headers = {**bearer(token), **options.pop("headers", {})}
    return await browser.send(method, f"/api/v1{path}", headers=headers, **options)


def refusal(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.code


def client(pages: Pages, token: str) -> Client:
    return Client(pages.http_url, "", token=token)


# --- what a token may do -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "https", "socket"])
async def test_token_is_accepted_on_confidential_listeners(pages: Pages, kind: str) -> None:
    token, browser = await pages.create_token(), pages.browser(kind)
    assert (await call(browser, token, "GET", "/locks")).status == 200
    assert (await call(browser, token.upper(), "GET", "/locks")).status == 401
    reply = await browser.get("/api/v1/locks", headers={"Authorization": f"bEARER  {token} "})
    assert reply.status == 200


async def test_token_starts_dag_with_plain_body_and_its_name_in_audit(pages: Pages) -> None:
    token = await pages.create_token("deploy")
    async with client(pages, token) as caller:
        dag = await caller.create("/ob/start", START)
        (row,) = [row for row in await caller.list_audit(dag["id"]) if row["action"] == "START"]
    assert row["by"] == "token deploy from 127.0.0.1"


async def test_read_token_reads_streams_and_plans(pages: Pages) -> None:
    dag = await pages.api.start()
    await pages.api.wait_for_end(dag)
    token = await pages.create_token("ro", Access.READ)
    browser = pages.browser()
    for path in ("/locks", "/audit", f"/task/dag/{dag['id']}", f"/task/dag/{dag['id']}/events"):
        assert (await call(browser, token, "GET", path)).status == 200, path
    assert (await call(browser, token, "HEAD", "/locks")).status in (200, 404)
    for method, path in (("POST", f"/task/dag/{dag['id']}"), ("POST", "/fixed")):
        assert refusal(await call(browser, token, method, path)) == DENIED, path
    assert len(await pages.api.engine.list_dags(limit=9, details=False)) == 1


@pytest.mark.parametrize("task_id", ["401684300810288613", "501684300810288613"])
async def test_token_does_not_pass_agent_only_routes(pages: Pages, task_id: str) -> None:
    pages.api.agent_password = "agent's own"
    token, browser = await pages.create_token(), pages.browser()
    for path in (f"/task/dag/{task_id}", f"/task/sub_task/{task_id}"):
        reply = await call(browser, token, "GET", path)
        assert refusal(reply) == (401, "Security.Authentication.WithAgentPassword")


# --- where a token is accepted -------------------------------------------------------------------


async def test_token_over_plain_http_from_elsewhere_is_refused(pages: Pages) -> None:
    token = await pages.create_token()
    reply = await call(pages.browser(address=ELSEWHERE), token, "GET", "/locks")
    assert reply.status == 403
    assert "plain HTTP" in reply.text
    assert (
        await call(pages.browser("https", address=ELSEWHERE), token, "GET", "/locks")
    ).status == 200
    (row,) = (await pages.api.get("/tokens"))["contents"]
    assert row["last_used_at"] is not None


@pytest.mark.parametrize(
    "path",
    [
        "/locks?token={}",
        "/locks?access_token={}&limit=1",
        "/tokens/{}",
        "/task/dag/{}",
        "/locks?x=a{}b",
    ],
)
@pytest.mark.parametrize("is_encoded", [False, True])
async def test_token_in_url_is_refused(pages: Pages, path: str, is_encoded: bool) -> None:
    token = await pages.create_token()
    text = "".join(f"%{ord(char):02x}" for char in token) if is_encoded else token
    with capture_logs() as logs:
        for headers in (bearer(token), {}):
            reply = await pages.api.send("GET", f"/api/v1{path.format(text)}", headers=headers)
            assert reply.status == 400
            assert "URL contains a token" in reply.text
            assert token not in reply.text
    assert token not in str(logs)


async def test_client_does_not_send_token_in_clear_text() -> None:
    for url in ("http://db1:2886", "http://203.0.113.9:2886", "http://127.0.0.1.evil.example:1"):
        with pytest.raises(ConfigError, match="plain HTTP"):
            async with Client(url, "", token="dag_x_y"):
                pytest.fail("it opened")
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://db1:2886"):
        async with Client(url, "", token="dag_x_y"):
            pass


# --- validity ------------------------------------------------------------------------------------


def changed_tokens(token: str) -> list[str]:
    start, secret = token[:-43], token[-43:]
    other = secret[:-1] + ("A" if secret[-1] != "A" else "E")
    return ["", "x", token[:-1], token + "A", start + other, start + secret[::-1], secret]


async def test_unknown_token_is_refused(pages: Pages) -> None:
    token, browser = await pages.create_token(), pages.browser()
    for text in changed_tokens(token):
        assert refusal(await call(browser, text, "GET", "/locks")) == UNAUTHORIZED, text
        pages.api.clock.advance(60)  # otherwise the address would have to pause
    assert (await call(browser, token, "GET", "/locks")).status == 200


async def test_token_of_other_cluster_or_service_is_named(pages: Pages) -> None:
    token, browser = await pages.create_token(), pages.browser()
    secret = token[-43:]
    reply = await call(browser, f"dag_other_{secret}", "GET", "/locks")
    assert refusal(reply) == UNAUTHORIZED
    assert "the token is for cluster other, but this is cluster" in reply.text
    reply = await call(browser, f"dag__{secret}", "GET", "/locks")
    assert refusal(reply) == UNAUTHORIZED
    assert "the token is for the service" in reply.text


async def test_revoked_token_is_refused_from_the_next_request(pages: Pages) -> None:
    token, browser = await pages.create_token(), pages.browser()
    assert (await call(browser, token, "GET", "/locks")).status == 200
    assert (await pages.api.send_signed("DELETE", "/tokens/ci?reason=lost")).status == 200
    assert refusal(await call(browser, token, "GET", "/locks")) == UNAUTHORIZED
    assert (await pages.api.get("/tokens"))["contents"] == []


async def test_expired_token_is_refused_without_throttling(pages: Pages) -> None:
    token, browser = await pages.create_token(expires_s=60), pages.browser()
    pages.api.clock.advance(59)
    assert (await call(browser, token, "GET", "/locks")).status == 200
    pages.api.clock.advance(1)
    for _ in range(20):
        reply = await call(browser, token, "GET", "/locks")
        assert refusal(reply) == (401, "Security.Authentication.Expired")
    (row,) = (await pages.api.get("/tokens"))["contents"]
    assert row["expired"]


@pytest.mark.parametrize("cluster", ["wire", "other", ""])
async def test_guessed_tokens_are_throttled(pages: Pages, cluster: str) -> None:
    token, browser = await pages.create_token(), pages.browser()
    for number in range(10):
        guess = render_token(cluster, bytes([number] * 32))
        assert (await call(browser, guess, "GET", "/locks")).status == 401
    assert (await call(browser, token, "GET", "/locks")).status == 429
    pages.api.clock.advance(60)
    assert (await call(browser, token, "GET", "/locks")).status == 200


async def test_tokens_guessed_at_once_are_throttled(pages: Pages) -> None:
    """Otherwise all of them would be looked up before the first one counts as a failure."""
    await pages.create_token()
    browser = pages.browser()
    guesses = [render_token("wire", bytes([number] * 32)) for number in range(50)]
    replies = await asyncio.gather(*(call(browser, guess, "GET", "/locks") for guess in guesses))
    statuses = Counter(reply.status for reply in replies)
    assert statuses.keys() == {401, 429}
    assert statuses[401] <= FREE_FAILURES + AT_ONCE


async def test_last_use_is_kept_to_the_minute(pages: Pages) -> None:
    token, browser = await pages.create_token(), pages.browser()
    store, parsed = pages.api.engine_store, parse_token(token)
    assert parsed is not None

    async def last_used() -> Any:
        record = await store.find_token(parsed.digest)
        assert record is not None
        return record.last_used_at

    assert await last_used() is None
    await call(browser, token, "GET", "/locks")
    first = await last_used()
    assert (first.second, first.microsecond) == (0, 0)
    pages.api.clock.advance(120)
    await call(browser, token, "GET", "/locks")
    assert (await last_used() - first).total_seconds() == 120


async def test_token_gives_its_own_rights_at_the_socket(pages: Pages) -> None:
    token = await pages.create_token("ro", Access.READ)
    reply = await call(pages.browser("socket"), token, "POST", "/fixed")
    assert refusal(reply) == DENIED


# --- management ----------------------------------------------------------------------------------


@pytest.mark.parametrize("access", Access)
async def test_token_cannot_manage_tokens(pages: Pages, access: Access) -> None:
    token = await pages.create_token("ci", access)
    for kind in ("http", "socket"):
        browser = pages.browser(kind)
        for method, path in (("GET", "/tokens"), ("POST", "/tokens"), ("DELETE", "/tokens/ci")):
            reply = await call(browser, token, method, path)
            assert refusal(reply) in (DENIED, (400, "Common.BindJsonFailed")), (method, path)
    async with client(pages, token) as caller:
        with pytest.raises(ApiRefused) as caught:
            await caller.create_token("more")
    assert caught.value.status == 403
    assert [row["name"] for row in (await pages.api.get("/tokens"))["contents"]] == ["ci"]


async def test_agent_password_cannot_manage_tokens(pages: Pages) -> None:
    pages.api.agent_password = "agent's own"
    headers = pages.api.sign("/api/v1/tokens", name="X-OCS-Agent-Header", auth="agent's own")
    reply = await pages.api.send("GET", "/api/v1/tokens", headers=headers)
    assert reply.refusal[:2] == DENIED


async def test_empty_root_password_cannot_manage_tokens(pages: Pages) -> None:
    pages.api.root_password = ""
    reply = await pages.api.send_signed("POST", "/tokens", {"name": "x"}, auth="")
    assert reply.refusal[:2] == DENIED
    assert "root@sys has no password" in reply.text
    assert (await pages.browser("socket").get("/api/v1/tokens")).status == 200


async def test_token_is_not_created_over_plain_http_from_elsewhere(pages: Pages) -> None:
    target = "/api/v1/tokens"
    headers = {**pages.api.sign(target), "X-Test-Remote": ELSEWHERE}
    reply = await pages.api.send(
        "POST", target, headers=headers, body=encrypt_body(b'{"name":"x"}')
    )
    assert reply.status == 403
    assert "new token would be sent over plain HTTP" in reply.text
    assert (await pages.api.get("/tokens"))["contents"] == []


async def test_created_token_is_listed_audited_and_not_stored(pages: Pages) -> None:
    async with Client(f"unix:{pages.directory / 'api.sock'}", "") as local:
        created = await local.create_token("ci", read_only=True, expires_s=3600)
        (listed,) = await local.list_tokens()
        await local.revoke_token("ci", reason="left the team")
        audit = await local.list_audit()
    assert re.fullmatch(r"dag_[a-z0-9]+_[A-Za-z0-9_-]{43}", created["token"])
    assert listed == {name: value for name, value in created.items() if name != "token"}
    by = f"uid {os.geteuid()} (pid {os.getpid()}) at the socket"
    assert (listed["rights"], listed["created_by"]) == ("read", by)
    assert [(row["action"], row["by"], row["reason"]) for row in audit] == [
        ("REVOKE_TOKEN", by, "token ci: left the team"),
        ("CREATE_TOKEN", by, "token ci, rights: read"),
    ]
    files = list(pages.directory.glob("store.sqlite*"))
    content = b"".join(file.read_bytes() for file in files)
    text = created["token"][-43:]
    secret = base64.urlsafe_b64decode(f"{text}=")
    for written in (text.encode(), secret, secret.hex().encode()):
        assert written not in content


async def test_token_name_is_unique_until_it_is_revoked(pages: Pages) -> None:
    await pages.create_token("ci")
    reply = await pages.api.send_signed("POST", "/tokens", {"name": "ci"})
    assert reply.refusal[:2] == (400, "Common.IllegalArgument")
    await pages.api.send_signed("DELETE", "/tokens/ci")
    assert (await pages.api.send_signed("DELETE", "/tokens/ci")).status == 404
    assert (await pages.api.send_signed("POST", "/tokens", {"name": "ci"})).status == 200
    audit = [row["action"] for row in (await pages.api.get("/audit"))["contents"]]
    assert audit == ["CREATE_TOKEN", "REVOKE_TOKEN", "CREATE_TOKEN"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a b"},
        {"name": "a/b"},
        {"name": "-a"},
        {"name": "é"},
        {"name": "a" * 65},
        {"name": "a", "rights": "root"},
        {"name": "a", "expires_s": 0},
        {"name": "a", "expires_s": 10**12},
        {"name": "a", "expires_s": True},
        {"name": "a", "expires_s": "60"},
    ],
)
async def test_invalid_token_is_not_created(pages: Pages, body: dict[str, Any]) -> None:
    reply = await pages.api.send_signed("POST", "/tokens", body)
    assert reply.refusal[:2] == (400, "Common.BindJsonFailed")
    assert (await pages.api.get("/tokens"))["contents"] == []


async def test_user_of_socket_manages_tokens(pages: Pages) -> None:
    browser = pages.browser("socket")
    async with Client(f"unix:{pages.directory / 'api.sock'}", "") as caller:
        token = (await caller.create_token("ci"))["token"]
        (listed,) = await caller.list_tokens()
    assert listed["created_by"].startswith(f"uid {os.geteuid()} (pid ")
    assert (await call(browser, token, "GET", "/locks")).status == 200
