"""The listener of a cluster stays open while its engine opens and closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import ClientSession, ServerDisconnectedError, UnixConnector, web
from aiohttp.typedefs import Handler

from dagengine import SystemClock
from dagengine.client import Client
from dagengine.server.cluster_listener import ClusterListener
from dagengine.server.cluster_service import ClusterService, SharedParts
from dagengine.server.config import ApiConfig, ClusterConfig
from dagengine.store import Retention, SqliteStore
from dagengine.testing import LocalRunnerPool
from tasks import EXTENSION
from tasks.demo.hosts import free_port
from tests.support.listening_controller import CLUSTER, PASSWORD


def app_of(text: str) -> web.Application:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text)

    app = web.Application()
    app.router.add_get("/", answer)
    return app


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[ClusterListener]:
    api = ApiConfig(port=free_port(), socket=tmp_path / "s")
    config = ClusterConfig("x", "clusters.x", tmp_path / "cluster.yaml", api, tmp_path / "x.sqlite")
    opened = ClusterListener(config, SystemClock())
    yield opened
    await opened.stop()
    opened.close()


async def read(url: str) -> str:
    async with ClientSession() as session, session.get(url) as response:
        return await response.text()


def make_app(handler: Handler) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    return app


async def test_listener_answers_by_app_then_elsewhere(listener: ClusterListener) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"elsewhere {request.path}")

    await listener.serve_elsewhere(partial(make_app, answer))
    await listener.accept()
    assert await read(f"{listener.url}/a") == "elsewhere /a"
    for name in ("first", "second"):
        async with listener.serve(app_of(name)):
            assert await read(listener.url) == name
        assert await read(f"{listener.url}/b") == "elsewhere /b"


async def test_listener_ends_open_connections_at_a_switch(listener: ClusterListener) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="elsewhere")

    await listener.serve_elsewhere(partial(make_app, answer))
    await listener.accept()
    async with ClientSession() as session:
        async with listener.serve(app_of("app")), session.get(listener.url) as response:
            assert await response.text() == "app"
        async with session.get(listener.url) as response:  # on a new connection
            assert await response.text() == "elsewhere"


async def test_listener_without_handler_closes_connections(listener: ClusterListener) -> None:
    await listener.accept()
    with pytest.raises(ServerDisconnectedError):
        await read(listener.url)


async def test_listener_after_stop_serves_nothing(listener: ClusterListener) -> None:
    async with listener.serve(app_of("app")):
        await listener.accept()
        await listener.stop()
    with pytest.raises(OSError, match="Connect"):
        await read(listener.url)


async def test_listener_requests_wait_until_it_accepts(listener: ClusterListener) -> None:
    async with listener.serve(app_of("app")), asyncio.TaskGroup() as group:
        early = group.create_task(read(listener.url), name="early")
        await asyncio.wait([early], timeout=0.05)
        assert not early.done()
        await listener.accept()
    assert early.result() == "app"


async def test_listener_socket_has_the_same_app(listener: ClusterListener) -> None:
    async with listener.serve(app_of("app")):
        await listener.accept()
        connector = UnixConnector(str(listener.socket))
        async with (
            ClientSession(connector=connector) as session,
            session.get("http://localhost/") as response,
        ):
            assert await response.text() == "app"


async def test_cluster_service_engine_closes_and_reopens(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    api = ApiConfig(port=free_port())
    config = ClusterConfig("x", "clusters.x", tmp_path / "cluster.yaml", api, tmp_path / "x.sqlite")
    pool = LocalRunnerPool()
    shared = SharedParts([EXTENSION], pool, SystemClock(), Retention())

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="elsewhere")

    async with ClusterService(config, shared) as service:
        await service.listener.serve_elsewhere(partial(make_app, answer))
        async with Client(service.url, PASSWORD) as client:
            key = await client.secret()
        await service.close_engine()
        assert service.local is None
        assert await read(f"{service.url}/api/v1/info") == "elsewhere"
        await service.open_engine(SqliteStore(config.store))
        async with Client(service.url, PASSWORD) as client:
            assert await client.secret() == key
            assert await client.list_dags() == []
