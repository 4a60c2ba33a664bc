"""Log-in to the fleet page by TLS client certificate, with real TLS clients."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tasks.demo.hosts import free_port
from tests.support.authority import Authority
from tests.support.fleet_controller import NAMES, FleetController

CSRF = re.compile(r'name="csrf" value="([^"]+)"')
KEY = re.compile(r'name="key" value="([^"]+)"')
ENTRY = 'name="entry" value="certificate"'


@dataclass(frozen=True)
class Reply:
    status: int
    location: str
    text: str
    cookies: tuple[str, ...]


@dataclass
class TlsBrowser:
    """A browser without scripts, with or without a client certificate."""

    session: aiohttp.ClientSession
    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def send(self, method: str, path: str = "/ui/", **form: str) -> Reply:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if method == "POST":
            headers["Origin"] = self.url
        async with self.session.request(
            method, self.url + path, data=form or None, headers=headers, allow_redirects=False
        ) as response:
            self.cookies |= {name: morsel.value for name, morsel in response.cookies.items()}
            return Reply(
                response.status,
                response.headers.get("Location", ""),
                await response.text(),
                tuple(response.headers.getall("Set-Cookie", [])),
            )

    async def log_in(self) -> Reply:
        token = CSRF.search((await self.send("GET", "/ui/login")).text)
        assert token is not None
        return await self.send("POST", "/ui/login", csrf=token[1], entry="certificate")


@dataclass
class SecureFleet:
    """A controller whose service accepts client certificates, and two authorities."""

    controller: FleetController
    authority: Authority
    stranger: Authority
    url: str

    @asynccontextmanager
    async def browser(self, certificate: tuple[Path, Path] | None) -> AsyncIterator[TlsBrowser]:
        """Open a browser that presents a certificate; None for none."""
        trust = ssl.create_default_context(cafile=self.authority.file)
        if certificate is not None:
            trust.load_cert_chain(*certificate)
        connector = aiohttp.TCPConnector(ssl=trust)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
            yield TlsBrowser(session, self.url)


@pytest.fixture
def fleet(tmp_path: Path) -> SecureFleet:
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    cert, key = authority.issue("listener")
    port = free_port()
    controller = FleetController(
        tmp_path,
        port=port,
        tls_cert_file=str(cert),
        tls_key_file=str(key),
        tls_client_ca_file=str(authority.file),
    )
    return SecureFleet(controller, authority, stranger, f"https://127.0.0.1:{port}")


async def test_certificate_logs_in_by_form_only(fleet: SecureFleet) -> None:
    own = fleet.authority.issue("operator")
    async with fleet.controller.running(), fleet.browser(own) as browser:
        before = await browser.send("GET")
        assert (before.status, before.location) == (303, "/ui/login?next=/ui/")
        form = await browser.send("GET", "/ui/login")
        assert ENTRY in form.text
        assert "Log in as certificate operator" in form.text
        refused = await browser.send("POST", "/ui/login", csrf="x", entry="certificate")
        assert refused.status == 403
        reply = await browser.log_in()
        assert (reply.status, reply.location) == (303, "/ui/")
        (cookie,) = reply.cookies
        assert cookie.startswith("__Host-")
        for flag in ("HttpOnly", "Secure", "SameSite=Lax", "Path=/"):
            assert flag in cookie
        page = await browser.send("GET")
        assert page.status == 200
        for expected in ("certificate operator", *NAMES):
            assert expected in page.text


async def test_session_of_certificate_starts_clusters(fleet: SecureFleet) -> None:
    own = fleet.authority.issue("operator")
    async with fleet.controller.running(), fleet.browser(own) as browser:
        await browser.log_in()
        page = (await browser.send("GET")).text
        csrf, key = CSRF.search(page), KEY.search(page)
        assert csrf is not None
        assert key is not None
        form = {"key": key[1], "cluster": NAMES[0], "reason": "after maintenance"}
        assert (await browser.send("POST", csrf="x", **form)).status == 403
        assert (await browser.send("POST", csrf=csrf[1], **form)).status == 200
        async with fleet.controller.client(NAMES[0]) as client:
            (row,) = await client.list_audit()
        assert row["by"].startswith("certificate operator from 127.0.0.1")
        fleet.controller.latches[NAMES[0]].open()


async def test_session_of_certificate_needs_this_certificate(fleet: SecureFleet) -> None:
    own, other = fleet.authority.issue("operator"), fleet.authority.issue("another")
    async with fleet.controller.running(), fleet.browser(own) as browser:
        await browser.log_in()
        for certificate in (None, other):
            async with fleet.browser(certificate) as thief:
                thief.cookies = dict(browser.cookies)
                reply = await thief.send("GET")
                assert (reply.status, reply.location) == (303, "/ui/login?next=/ui/")
        assert (await browser.send("GET")).status == 200


async def test_session_of_certificate_survives_restart(fleet: SecureFleet) -> None:
    own = fleet.authority.issue("operator")
    async with fleet.controller.running(), fleet.browser(own) as browser:
        await browser.log_in()
        cookies = browser.cookies
    async with fleet.controller.running(), fleet.browser(own) as browser:
        browser.cookies = cookies
        assert (await browser.send("GET")).status == 200


async def test_browser_without_certificate_is_not_offered_entry(fleet: SecureFleet) -> None:
    async with fleet.controller.running(), fleet.browser(None) as browser:
        assert ENTRY not in (await browser.send("GET", "/ui/login")).text
        reply = await browser.log_in()
        assert reply.status == 400  # the page does not offer this entry
        assert (await browser.send("GET")).status == 303


async def test_certificate_of_another_authority_is_refused(fleet: SecureFleet) -> None:
    foreign = fleet.stranger.issue("operator")
    async with fleet.controller.running(), fleet.browser(foreign) as browser:
        with pytest.raises(aiohttp.ClientError):
            await browser.send("GET", "/ui/login")
