"""Idempotency-Key: the same request again makes no second DAG, whatever happened in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.testing import Latch
from tests.integration.event_world import World, client, collect, stage, world

__all__ = ["client", "stage", "world"]  # fixtures


BODY: dict[str, Any] = {"scope": {"type": "GLOBAL", "target": []}}


async def start(client: Client, key: str, body: dict[str, Any] = BODY) -> str:
    return str((await client.post("/ob/start", body, key=key))["id"])


async def count(client: Client) -> int:
    return len(await client.list_dags())


async def test_the_same_key_and_body_answer_with_the_same_dag(
    world: World,
    client: Client,
) -> None:
    world.gate = Latch()
    first = await client.post("/ob/start", BODY, key="k-1")
    running = await client.post("/ob/start", BODY, key="k-1")
    assert (running["id"], running["state"], running["nodes"]) == (first["id"], "RUNNING", None)
    world.gate.open()
    await collect(client, first["id"])
    ended = await client.post("/ob/start", BODY, key="k-1")
    assert (ended["id"], ended["state"]) == (first["id"], "SUCCEED")
    assert list(ended) == list(first)
    assert await count(client) == 1


async def test_requests_at_the_same_moment_make_one_dag(client: Client) -> None:
    ids = await asyncio.gather(*(start(client, "together") for _ in range(20)))
    assert len(set(ids)) == 1
    assert await count(client) == 1


async def test_a_key_is_remembered_over_a_restart(tmp_path: Path) -> None:
    found = World(tmp_path)
    async with found.client() as client:
        async with found.controller():
            dag_id = await start(client, "k")
            await collect(client, dag_id)
        async with found.controller():
            assert await start(client, "k") == dag_id
            assert await count(client) == 1


async def test_another_body_under_the_same_key_is_refused(client: Client) -> None:
    dag_id = await start(client, "k")
    for body in ({"scope": {"type": "ZONE", "target": ["z1"]}}, {}):
        with pytest.raises(ApiRefused, match=dag_id) as refused:
            await start(client, "k", body)
        assert (refused.value.status, refused.value.code) == (409, "Request.IdempotencyKey.Reused")
    assert await count(client) == 1


async def test_how_a_body_is_spelt_does_not_count(client: Client) -> None:
    dag_id = await start(client, "k", {"scope": {"type": "GLOBAL", "target": []}})
    respelt = {"unknown": 1, "SCOPE": {"target": [], "type": "GLOBAL"}}
    assert await start(client, "k", respelt) == dag_id


async def test_another_key_makes_another_dag_even_within_the_window(
    world: World,
    client: Client,
) -> None:
    world.dedupe_window_s = 3600.0
    world.gate = Latch()
    first = await start(client, "k-1")
    assert await start(client, "k-2") != first
    assert await start(client, "k-1") == first
    world.gate.open()


async def test_without_a_key_nothing_is_remembered(client: Client) -> None:
    assert await start(client, "") != await start(client, "")


@pytest.mark.parametrize("key", ["x" * 201, "a b", "ü", "k\tk"])
async def test_a_key_that_is_none_is_refused(client: Client, key: str) -> None:
    with pytest.raises(ApiRefused) as refused:
        await start(client, key)
    assert (refused.value.status, refused.value.code) == (400, "Common.IllegalArgument")
    assert await count(client) == 0


async def test_a_key_of_two_hundred_characters_is_taken(client: Client) -> None:
    dag_id = await start(client, "x" * 200)
    assert await start(client, "x" * 200) == dag_id
