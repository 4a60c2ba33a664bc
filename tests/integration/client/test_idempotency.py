"""Idempotency-Key: a repeated request never creates a second DAG."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.testing import Latch
from tests.support.event_controller import EventController, collect

BODY: dict[str, Any] = {"scope": {"type": "GLOBAL", "target": []}}


async def start(client: Client, key: str, body: dict[str, Any] = BODY) -> str:
    return str((await client.post("/ob/start", body, key=key))["id"])


async def count(client: Client) -> int:
    return len(await client.list_dags())


async def test_idempotency_key_repeated_request_returns_same_dag(
    running_controller: EventController,
    client: Client,
) -> None:
    running_controller.latch = Latch()
    first = await client.post("/ob/start", BODY, key="k-1")
    running = await client.post("/ob/start", BODY, key="k-1")
    assert (running["id"], running["state"], running["nodes"]) == (first["id"], "RUNNING", None)
    running_controller.latch.open()
    await collect(client, first["id"])
    ended = await client.post("/ob/start", BODY, key="k-1")
    assert (ended["id"], ended["state"]) == (first["id"], "SUCCEED")
    assert list(ended) == list(first)
    assert await count(client) == 1


async def test_idempotency_key_concurrent_requests_create_one_dag(client: Client) -> None:
    ids = await asyncio.gather(*(start(client, "together") for _ in range(20)))
    assert len(set(ids)) == 1
    assert await count(client) == 1


async def test_idempotency_key_is_remembered_after_restart(tmp_path: Path) -> None:
    stopped = EventController(tmp_path)
    async with stopped.client() as client:
        async with stopped.running():
            dag_id = await start(client, "k")
            await collect(client, dag_id)
        async with stopped.running():
            assert await start(client, "k") == dag_id
            assert await count(client) == 1


async def test_idempotency_key_with_other_body_is_refused(client: Client) -> None:
    dag_id = await start(client, "k")
    for body in ({"scope": {"type": "ZONE", "target": ["z1"]}}, {}):
        with pytest.raises(ApiRefused, match=dag_id) as refused:
            await start(client, "k", body)
        assert (refused.value.status, refused.value.code) == (409, "Request.IdempotencyKey.Reused")
    assert await count(client) == 1


async def test_idempotency_key_ignores_spelling_of_body(client: Client) -> None:
    dag_id = await start(client, "k", {"scope": {"type": "GLOBAL", "target": []}})
    other_spelling = {"unknown": 1, "SCOPE": {"target": [], "type": "GLOBAL"}}
    assert await start(client, "k", other_spelling) == dag_id


async def test_idempotency_key_overrides_dedupe_window(
    running_controller: EventController,
    client: Client,
) -> None:
    running_controller.dedupe_window_s = 3600.0
    running_controller.latch = Latch()
    first = await start(client, "k-1")
    assert await start(client, "k-2") != first
    assert await start(client, "k-1") == first
    running_controller.latch.open()


async def test_idempotency_key_missing_creates_new_dag(client: Client) -> None:
    assert await start(client, "") != await start(client, "")


@pytest.mark.parametrize("key", ["x" * 201, "a b", "ü", "k\tk"])
async def test_idempotency_key_invalid_is_refused(client: Client, key: str) -> None:
    with pytest.raises(ApiRefused) as refused:
        await start(client, key)
    assert (refused.value.status, refused.value.code) == (400, "Common.IllegalArgument")
    assert await count(client) == 0


async def test_idempotency_key_of_200_characters_is_accepted(client: Client) -> None:
    dag_id = await start(client, "x" * 200)
    assert await start(client, "x" * 200) == dag_id
