"""Tokens of the service: the schemes, routes and client methods that its listener uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from dagengine.api.auth import BODY, Authenticator
from dagengine.api.binding import bind, bind_query
from dagengine.api.connections import Limits
from dagengine.api.endpoint import BoundRequest
from dagengine.api.extension import NoBody, NoQuery
from dagengine.api.handlers import tokens
from dagengine.api.login.schemes import Login
from dagengine.api.login.token_manager import TokenManager
from dagengine.api.middleware import ANSWER, envelope_middleware
from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.runtime.clock import SystemClock
from dagengine.security.request_origin import OriginPolicy
from dagengine.security.server_key import ServerKey
from dagengine.security.tokens import SERVICE, render_token
from dagengine.server.http_server import serving
from dagengine.server.listener import listen_at
from dagengine.store.sqlite.store import SqliteStore
from dagengine.translation import Translator
from tests.support.api_controller import KEY


@dataclass(frozen=True)
class Service:
    """What the handlers need."""

    tokens: TokenManager
    clock: SystemClock
    has_root_password: Callable[[], bool] = lambda: True


@dataclass
class ServiceListener:
    url: str
    audit: list[tuple[str, str, str]]


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[ServiceListener]:
    """The routes of tokens below `/fleet/v1`, and one that names its caller, at a socket."""
    clock, key, store = SystemClock(), ServerKey(KEY), SqliteStore(tmp_path / "service.sqlite")
    opened = ServiceListener(f"unix:{tmp_path / 'service.sock'}", [])

    async def append(action: str, by: str, reason: str) -> None:
        opened.audit.append((action, by, reason))

    ctx = Service(TokenManager(store, SERVICE, clock, lambda size: b"s" * size, append), clock)
    policy = OriginPolicy.create((), ("127.0.0.1", 2880))
    app = web.Application(
        middlewares=[envelope_middleware(clock, lambda *_: None, policy, Translator(()))]
    )
    await store.open()
    authenticator = Login(store, key, clock, 5.0).install(
        app, cluster=SERVICE, passwords=None, replay=None
    )
    _add_routes(app, authenticator, ctx)
    with listen_at(tmp_path / "service.sock") as listener:
        async with serving(app, Limits(), clock, [(listener, None)]):
            yield opened
    await store.close()
    key.close()


def _add_routes(app: web.Application, authenticator: Authenticator, ctx: Service) -> None:
    async def bound(request: web.Request, body: Any, query: Any) -> BoundRequest[Any, Any]:
        caller = await authenticator.authenticate(request)
        values = bind_query(request.query, query), bind(request[BODY], body)
        return BoundRequest("", None, *values, caller, request)

    def route(
        handler: Callable[[Any, Any], Awaitable[Any]], body: Any = NoBody, query: Any = NoQuery
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return request[ANSWER].success(await handler(ctx, await bound(request, body, query)))

        return handle

    async def tell(_: Service, call: BoundRequest[Any, Any]) -> Any:
        return {"caller": str(call.caller), "clusters": call.caller.clusters}

    router = app.router
    router.add_get("/fleet/v1/tokens", route(tokens.list_tokens))
    router.add_post("/fleet/v1/tokens", route(tokens.create_service_token, tokens.ServiceTokenBody))
    router.add_delete(
        "/fleet/v1/tokens/{name}", route(tokens.revoke_token, query=tokens.RevokeQuery)
    )
    router.add_get("/api/v1/caller", route(tell))


async def test_service_token_has_its_clusters_and_empty_name(service: ServiceListener) -> None:
    async with Client(service.url, "") as local:
        created = await local.create_token("ops", service=True, clusters=["a", "b"])
        assert [row["clusters"] for row in await local.list_tokens(service=True)] == [["a", "b"]]
    assert created["token"] == render_token("", b"s" * 32)
    assert created["token"].startswith("dag__")
    async with Client(service.url, "", token=created["token"]) as client:
        told = await client.get("/caller")
    assert told == {"caller": "token ops from the socket", "clusters": ["a", "b"]}


async def test_service_token_is_revoked_and_audited(service: ServiceListener) -> None:
    async with Client(service.url, "") as local:
        token = (await local.create_token("ops", service=True))["token"]
        await local.revoke_token("ops", service=True)
    async with Client(service.url, "", token=token) as client:
        with pytest.raises(ApiRefused) as caught:
            await client.get("/caller")
    assert caught.value.status == 401
    assert [action for action, *_ in service.audit] == ["CREATE_TOKEN", "REVOKE_TOKEN"]


@pytest.mark.parametrize("method", ["create", "list", "revoke"])
async def test_service_token_cannot_manage_tokens(service: ServiceListener, method: str) -> None:
    async with Client(service.url, "") as local:
        token = (await local.create_token("ops", service=True))["token"]
    async with Client(service.url, "", token=token) as client:
        calls = {
            "create": lambda: client.create_token("more", service=True),
            "list": lambda: client.list_tokens(service=True),
            "revoke": lambda: client.revoke_token("ops", service=True),
        }
        with pytest.raises(ApiRefused) as caught:
            await calls[method]()  # type: ignore[no-untyped-call]
    assert caught.value.status == 403


async def test_token_of_cluster_is_refused_by_service(service: ServiceListener) -> None:
    text = render_token("demo", b"s" * 32)
    async with Client(service.url, "", token=text) as client:
        with pytest.raises(ApiRefused, match="is for cluster demo, but this is the service"):
            await client.get("/caller")
