"""Web pages that act through a user's browser, against a whole controller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector, UnixConnector, test_utils, web
from yarl import URL

from dagengine.api.auth import Authenticator
from dagengine.api.caller import Caller, CallerKind, Right
from tests.support.listening_controller import open_controller

ROUTES = ["/api/v1/info", "/api/v1/task/dags/ob", "/metrics", "/openapi.json", "/nowhere"]
HOST, ORIGIN = "Request.Header.HostNotAllowed", "Request.Header.OriginNotAllowed"


@asynccontextmanager
async def open_session(directory: Path, *, at_socket: bool) -> AsyncIterator[ClientSession]:
    socket = directory / "api.sock"
    async with open_controller(
        directory, socket=str(socket), allowed_hosts=["dag.example.com"]
    ) as controller:
        connector = UnixConnector(str(socket)) if at_socket else TCPConnector()
        async with ClientSession(controller.url, connector=connector) as session:
            yield session


async def send(
    session: ClientSession, headers: Sequence[tuple[str, str]], route: str = ROUTES[0]
) -> tuple[int, str]:
    async with session.get(route, headers=headers) as response:
        text = await response.text()
        code = json.loads(text)["error"]["errCode"] if response.status == 403 else ""
        return response.status, code


@pytest.mark.parametrize("route", ROUTES)
async def test_listener_rebound_name_is_refused_on_every_route(tmp_path: Path, route: str) -> None:
    async with open_session(tmp_path, at_socket=False) as session:
        assert await send(session, [("Host", "evil.example")], route) == (403, HOST)
        for host in ("localhost:1", "[::1]", "203.0.113.1", "dag.example.com"):
            assert (await send(session, [("Host", host)], route))[0] != 403


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /metrics HTTP/1.1", 400),
        ("GET /metrics HTTP/1.0", 200),  # as some monitoring programs send
        ("GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost", 403),
        ("GET http://localhost/metrics HTTP/1.1\r\nHost: evil.example", 200),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", 400),
    ],
)
async def test_listener_host_of_raw_request(tmp_path: Path, head: str, status: int) -> None:
    async with open_controller(tmp_path) as controller:
        url = URL(controller.url)
        assert url.host is not None
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.readline()
        writer.close()
        assert answer.split()[1] == str(status).encode()


@pytest.mark.parametrize("at_socket", [False, True])
async def test_listener_foreign_origin_is_refused(tmp_path: Path, at_socket: bool) -> None:
    async with open_session(tmp_path, at_socket=at_socket) as session:
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"):
            for route in ROUTES:
                assert await send(session, [("Origin", origin)], route) == (403, ORIGIN)
        async with session.get(ROUTES[0]) as response:
            own = str(response.url.origin())
        assert await send(session, [("Origin", own)]) == (200, "")
        assert await send(session, [("Origin", "https://dag.example.com")]) == (200, "")


async def test_unix_socket_accepts_any_host(tmp_path: Path) -> None:
    async with open_session(tmp_path, at_socket=True) as session:
        assert await send(session, [("Host", "x")]) == (200, "")


class ReadToken:
    """A scheme that a later version could add."""

    def applies_to(self, request: web.Request) -> bool:
        return "Token" in request.headers

    async def authenticate(self, request: web.Request) -> tuple[Caller, bytes]:
        rights = frozenset({Right.READ})
        return Caller(CallerKind.ROOT, "reader", rights, request.remote or ""), b"body"


async def test_authenticator_uses_first_scheme_that_applies() -> None:
    request = test_utils.make_mocked_request("GET", "/", headers={"Token": "x"})
    caller = await Authenticator((ReadToken(),)).authenticate(request)
    assert (caller.name, caller.rights) == ("reader", {Right.READ})
