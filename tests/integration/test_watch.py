"""For those who watch: DAGs in pages, locks, the audit in pages, health, readiness, figures."""

from __future__ import annotations

import asyncio
import re
import sqlite3

import aiohttp
import pytest

from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.testing import Latch, eventually
from tests.integration.event_world import World, client, collect, stage, world

__all__ = ["client", "stage", "world"]  # fixtures


async def start(client: Client) -> str:
    return str((await client.start("GLOBAL"))["id"])


async def ended(client: Client) -> str:
    dag_id = await start(client)
    await collect(client, dag_id)
    return dag_id


async def ask(world: World, path: str) -> tuple[int, str, str]:
    """Status, content type and text of a route that needs no login."""
    async with aiohttp.ClientSession() as session, session.get(world.url + path) as response:
        return response.status, response.headers["Content-Type"], await response.text()


# --- lists in pages --------------------------------------------------------------------------


async def test_dags_come_in_pages_that_new_ones_do_not_move(client: Client) -> None:
    ids = [await ended(client) for _ in range(5)]
    first = await client.get("/task/dags?limit=2")
    await ended(client)
    second = await client.get(f"/task/dags?limit=2&cursor={first['next_cursor']}")
    third = await client.get(f"/task/dags?limit=2&cursor={second['next_cursor']}")
    pages = [[dag["id"] for dag in page["contents"]] for page in (first, second, third)]
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert third["next_cursor"] is None
    assert all(dag["nodes"] is None for dag in first["contents"])


async def test_dags_are_found_by_state_and_name(world: World, client: Client) -> None:
    good = await ended(client)
    world.is_broken = True
    bad = await ended(client)

    async def found(query: str) -> list[str]:
        return [dag["id"] for dag in (await client.get(f"/task/dags?{query}"))["contents"]]

    assert await found("state=FAILED") == [bad]
    assert await found("state=SUCCEED&name=Start%20OB") == [good]
    assert await found("state=&name=&limit=10&cursor=") == [bad, good]
    assert await found("name=Stop%20OB") == []


@pytest.mark.parametrize(
    "query", ["state=BUSY", "limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=1-"]
)
async def test_a_search_that_makes_no_sense_is_refused(client: Client, query: str) -> None:
    with pytest.raises(ApiRefused) as refused:
        await client.get(f"/task/dags?{query}")
    assert refused.value.status == 400


async def test_the_audit_comes_in_pages(client: Client) -> None:
    ids = [await ended(client) for _ in range(3)]
    first = await client.get("/audit?limit=2")
    second = await client.get(f"/audit?limit=2&cursor={first['next_cursor']}")
    rows = [row["dag_id"] for page in (first, second) for row in page["contents"]]
    assert rows == ids[::-1]
    assert second["next_cursor"] is None
    assert (await client.get(f"/task/dag/{ids[0]}/audit"))["next_cursor"] is None
    with pytest.raises(ApiRefused, match="cursor"):
        await client.get("/audit?cursor=x")


async def test_a_lock_names_its_holder_and_what_that_waits_for(
    world: World,
    client: Client,
) -> None:
    world.takes_lock = True
    gate = world.gate = Latch()
    dag_id = await start(client)
    async with asyncio.timeout(30):
        await gate.reached.wait()
    (lock,) = (await client.get("/locks"))["contents"]
    assert (lock["key"], lock["dag_id"], lock["name"], lock["token"]) == (
        *("cluster", dag_id),
        *("Start OB", 1),
    )
    assert f"'Start OB' {dag_id}, at stage 1 of 2 'Look'" in lock["about"]
    gate.open()
    await collect(client, dag_id)
    (lock,) = (await client.get("/locks"))["contents"]
    assert (lock["dag_id"], lock["name"], lock["about"]) == (None, "", "free")


# --- health ----------------------------------------------------------------------------------


async def test_a_process_that_answers_is_healthy(world: World) -> None:
    assert await ask(world, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")


async def test_a_controller_that_can_work_is_ready(world: World) -> None:
    status, _, text = await ask(world, "/readyz")
    assert (status, text) == (200, '{"ready":true,"store":"ok","scheduler":"ok"}')


async def test_a_store_that_cannot_be_written_is_not_ready_and_then_is_again(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dagengine.api.handlers.monitoring._FRESH_S", 0.0)
    monkeypatch.setattr("dagengine.api.handlers.monitoring._PATIENCE_S", 0.3)
    other = sqlite3.connect(world.directory / "store.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # as another program that holds on to the file would
    status, _, text = await ask(world, "/readyz")
    assert status == 503
    assert '"ready":false' in text
    assert '"scheduler":"ok"' in text
    other.execute("ROLLBACK")
    other.close()

    async def is_ready() -> bool:
        return (await ask(world, "/readyz"))[0] == 200

    await eventually(is_ready, timeout_s=30, what="readiness")


# --- figures ---------------------------------------------------------------------------------


def figure(text: str, name: str, **labels: str) -> float:
    for line in text.splitlines():
        if line.startswith(name) and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no {name} with {labels} in:\n{text}")


async def test_the_figures_are_those_of_what_happened(
    world: World,
    client: Client,
) -> None:
    await ended(client)
    world.is_broken = True
    await ended(client)
    status, kind, text = await ask(world, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert figure(text, "dagengine_dags{", state="SUCCEED") == 1
    assert figure(text, "dagengine_dags{", state="FAILED") == 1
    assert figure(text, "dagengine_dags{", state="RUNNING") == 0
    stage_of = {"operation": "Start OB", "stage": "Look"}
    assert figure(text, "dagengine_stage_seconds_count", state="SUCCEED", **stage_of) == 1
    assert figure(text, "dagengine_stage_seconds_count", state="FAILED", **stage_of) == 1
    route = {"method": "POST", "route": "/api/v1/ob/start", "status": "200"}
    assert figure(text, "dagengine_api_seconds_count", **route) == 2
    assert figure(text, "dagengine_commits_total") >= 4
    assert figure(text, "dagengine_batches_total") >= figure(text, "dagengine_commits_total")
    assert figure(text, "dagengine_ssh_connects_total") == 0
    assert figure(text, "process_resident_memory_bytes") > 1e6


async def test_nobody_can_make_the_figures_grow_by_asking_for_nonsense(
    world: World,
) -> None:
    async with aiohttp.ClientSession() as session:
        for number in range(20):
            async with session.request(f"M{number}", f"{world.url}/api/v1/none/{number}"):
                pass
    _, _, text = await ask(world, "/metrics")
    counted = [line for line in text.splitlines() if line.startswith("dagengine_api_seconds_count")]
    assert not any("none" in line or "M1" in line for line in counted)


async def test_the_figures_name_no_host_no_task_and_no_person(
    world: World,
    client: Client,
) -> None:
    dag_id = await ended(client)
    _, _, text = await ask(world, "/metrics")
    assert dag_id not in text
    assert re.search(r"127\.0\.0\.1|root@sys", text) is None
