"""A controller that answers 503 or 421 for a while, as during the take-over of a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dagengine.client import Client
from dagengine.errors import ApiRefused

TOKEN = "dag_demo_" + "a" * 43


class TakeOver:
    """Answers 503 `refusals` times, and then as an owner does.

    Attributes:
        keys: the idempotency keys of the requests.
    """

    def __init__(self, refusals: int, status: int = 503) -> None:
        self.keys: list[str] = []
        self._refusals = refusals
        self._status = status

    async def answer(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        if len(self.keys) <= self._refusals:
            body = {"status": self._status, "error": {"errCode": "E", "message": "no owner"}}
            return web.json_response(body, status=self._status)
        if request.path.endswith("/events"):
            return web.Response(status=204)
        return web.json_response({"data": {"id": "1"}})

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        async with TestServer(app) as server:
            url = f"http://127.0.0.1:{server.port}"
            async with Client(url, "", token=TOKEN) as client:
                yield client


async def test_create_during_take_over_repeats_with_same_key() -> None:
    take_over = TakeOver(2)
    async with take_over.client() as client:
        assert (await client.create("/ob/start", {}))["id"] == "1"
    assert len(take_over.keys) == 3
    assert len({*take_over.keys}) == 1


async def test_get_during_take_over_repeats() -> None:
    take_over = TakeOver(2)
    async with take_over.client() as client:
        assert (await client.get("/task/dag/1"))["id"] == "1"
    assert len(take_over.keys) == 3


@pytest.mark.parametrize("status", [421, 503])
async def test_follow_during_take_over_continues(status: int) -> None:
    take_over = TakeOver(3, status)
    async with take_over.client() as client:
        assert [event async for event in client.follow("1")] == []
    assert len(take_over.keys) == 4


async def test_follow_refused_for_good_raises_at_once() -> None:
    take_over = TakeOver(1, status=403)
    async with take_over.client() as client:
        with pytest.raises(ApiRefused):
            await anext(client.follow("1"))
    assert len(take_over.keys) == 1
