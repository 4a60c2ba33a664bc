"""A controller with minimal pages, on every kind of listener, and a browser that can misbehave."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, UnixConnector, web

from dagengine.api.auth import BODY
from dagengine.api.caller import required_right
from dagengine.api.connections import Limits
from dagengine.api.login.schemes import AUTHENTICATOR, SESSIONS
from dagengine.api.sessions import PAGE_SESSION, LoginForm
from dagengine.model.credentials import Access
from dagengine.runtime.clock import SystemClock
from dagengine.security.server_key import ServerKey
from dagengine.server.http_server import serving
from tests.support.api_controller import KEY, PASSWORD, ApiController
from tests.support.authority import Authority

REMOTE = "X-Test-Remote"
"""The address from which a request shall seem to come."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    cookies: Mapping[str, Any]
    text: str

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.text)
        return body

    @property
    def code(self) -> str:
        return str(self.body["error"]["errCode"])


@dataclass
class Browser:
    """Sends requests to one listener with its cookies; everything can be replaced."""

    url: str
    session: ClientSession
    address: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    async def send(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str | None] | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request as a browser does; a header that is None is omitted."""
        sent: dict[str, str | None] = {"Host": self.url.split("://")[1], REMOTE: self.address}
        if method not in ("GET", "HEAD"):
            sent |= {"Origin": self.url, "Content-Type": "application/x-www-form-urlencoded"}
        jar = self.cookies if cookies is None else cookies
        sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items()) or None
        sent |= headers or {}
        async with self.session.request(
            method,
            self.url + path,
            data=None if form is None else urlencode(form),
            headers={name: value for name, value in sent.items() if value},
            allow_redirects=False,
        ) as response:
            received: SimpleCookie = SimpleCookie()
            for line in response.headers.getall("Set-Cookie", []):
                received.load(line)
            for name, morsel in received.items():
                self.cookies[name] = morsel.value
            return Reply(response.status, response.headers, received, await response.text())

    async def get(self, path: str = "/ui/page", **options: Any) -> Reply:
        return await self.send("GET", path, **options)

    async def open_login(self) -> dict[str, Any]:
        reply = await self.get("/ui/login")
        assert reply.status == 200, reply.text
        return reply.body

    async def log_in(self, entry: str = "root", secret: str = PASSWORD, **options: Any) -> Reply:
        csrf = (await self.open_login())["csrf"]
        form = {"entry": entry, "secret": secret, "csrf": csrf}
        return await self.send("POST", "/ui/login", **{"form": form} | options)

    async def csrf(self) -> str:
        return str((await self.get()).body["csrf"])

    async def act(self, **options: Any) -> Reply:
        form = {"csrf": await self.csrf()}
        return await self.send("POST", "/ui/act", **{"form": form} | options)

    @property
    def session_cookie(self) -> str:
        (name,) = [name for name in self.cookies if "dagengine" in name and "login" not in name]
        return name


@dataclass
class Pages:
    """The controller and its listeners."""

    api: ApiController
    app: web.Application
    directory: Path
    http_url: str
    https_url: str
    authority: Authority
    _sessions: list[ClientSession] = field(default_factory=list)

    def browser(self, kind: str = "http", *, address: str = "") -> Browser:
        """Return a new browser at a listener: http, https or socket."""
        connector: TCPConnector | UnixConnector = TCPConnector()
        if kind == "https":
            trust = ssl.create_default_context(cafile=self.authority.file)
            connector = TCPConnector(ssl=trust)
        elif kind == "socket":
            connector = UnixConnector(str(self.directory / "api.sock"))
        session = ClientSession(connector=connector, cookie_jar=DummyCookieJar())
        self._sessions.append(session)
        urls = {"http": self.http_url, "https": self.https_url, "socket": "http://localhost:8886"}
        return Browser(urls[kind], session, address)

    async def create_token(self, name: str = "ci", access: Access = Access.ACT, **more: Any) -> str:
        """Return the text of a new token."""
        body = {"name": name, "rights": access, **more}
        answer = await self.api.send_signed("POST", "/tokens", body)
        return str(answer.data["token"])

    async def close(self) -> None:
        for session in self._sessions:
            await session.close()


@asynccontextmanager
async def open_pages(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pages]:
    """Open a controller with pages on TCP, TLS and a unix socket."""
    monkeypatch.setenv("WIRE_PASSWORD", PASSWORD)
    authority = Authority(directory, "authority")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("listener"))
    plain, secure = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(directory / "api.sock"))
    key = ServerKey(KEY)
    async with ClientSession() as session:
        api = ApiController(directory, session, port=plain.getsockname()[1])
        async with api.engine:
            app = api.app(key)
            _add_pages(app)
            listeners = [(plain, None), (secure, tls), (local, None)]
            pages = Pages(
                api,
                app,
                directory,
                f"http://127.0.0.1:{plain.getsockname()[1]}",
                f"https://127.0.0.1:{secure.getsockname()[1]}",
                authority,
            )
            # Connections use the real clock; with the other one, all would time out.
            async with serving(app, Limits(), SystemClock(), listeners):
                yield pages
                await pages.close()
    await api.pool.close()
    key.close()


def _add_pages(app: web.Application) -> None:
    @web.middleware
    async def set_remote(request: web.Request, handler: Handler) -> web.StreamResponse:
        address = request.headers.get(REMOTE)
        return await handler(request.clone(remote=address) if address else request)

    async def open_login(request: web.Request) -> web.Response:
        form = app[SESSIONS].open_login(request)
        response = web.json_response(_render_form(form))
        if form.cookie is not None:
            form.cookie.put(response)
        return response

    async def log_in(request: web.Request) -> web.Response:
        cookie = await app[SESSIONS].log_in(request)
        response = web.json_response({})
        cookie.put(response)
        return response

    async def show(request: web.Request) -> web.Response:
        caller = await app[AUTHENTICATOR].authenticate(request)
        caller.ensure_right(required_right(request.method))
        shown = {"caller": str(caller), "kind": caller.kind, "csrf": request[PAGE_SESSION].csrf}
        shown["rights"] = " ".join(sorted(caller.rights))
        return web.json_response({**shown, "body": request[BODY].decode()})

    async def log_out(request: web.Request) -> web.Response:
        await app[AUTHENTICATOR].authenticate(request)
        response = web.json_response({})
        (await app[SESSIONS].log_out(request)).put(response)
        return response

    async def recheck(request: web.Request) -> web.Response:
        await app[SESSIONS].recheck(request)
        return web.json_response({})

    app.middlewares.insert(0, set_remote)
    app.router.add_get("/ui/login", open_login)
    app.router.add_post("/ui/login", log_in)
    app.router.add_get("/ui/page", show)
    app.router.add_route("*", "/ui/act", show)
    app.router.add_post("/ui/logout", log_out)
    app.router.add_get("/ui/recheck", recheck)


def _render_form(form: LoginForm) -> dict[str, Any]:
    return {
        "csrf": form.csrf,
        "entries": list(form.entries),
        "local_name": form.local_name,
        "has_root_password": form.has_root_password,
    }
