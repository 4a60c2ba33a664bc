"""Routes for monitoring: pages of DAGs and the audit, locks, health, readiness, metrics."""

from __future__ import annotations

import asyncio
import re
import sqlite3

import aiohttp
import pytest

from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.testing import Latch, eventually
from tests.support.event_controller import EventController, collect


async def start(client: Client) -> str:
    return str((await client.start("GLOBAL"))["id"])


async def run_to_end(client: Client) -> str:
    dag_id = await start(client)
    await collect(client, dag_id)
    return dag_id


async def fetch(running_controller: EventController, path: str) -> tuple[int, str, str]:
    """Status, content type and text of a route that needs no login."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(running_controller.url + path) as response,
    ):
        return response.status, response.headers["Content-Type"], await response.text()


# --- lists in pages --------------------------------------------------------------------------


async def test_dags_route_pages_are_stable_under_new_dags(client: Client) -> None:
    ids = [await run_to_end(client) for _ in range(5)]
    first = await client.get("/task/dags?limit=2")
    await run_to_end(client)
    second = await client.get(f"/task/dags?limit=2&cursor={first['next_cursor']}")
    third = await client.get(f"/task/dags?limit=2&cursor={second['next_cursor']}")
    pages = [[dag["id"] for dag in page["contents"]] for page in (first, second, third)]
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert third["next_cursor"] is None
    assert all(dag["nodes"] is None for dag in first["contents"])


async def test_dags_route_filters_by_state_and_name(
    running_controller: EventController, client: Client
) -> None:
    good = await run_to_end(client)
    running_controller.is_broken = True
    bad = await run_to_end(client)

    async def find_ids(query: str) -> list[str]:
        return [dag["id"] for dag in (await client.get(f"/task/dags?{query}"))["contents"]]

    assert await find_ids("state=FAILED") == [bad]
    assert await find_ids("state=SUCCEED&name=Start%20OB") == [good]
    assert await find_ids("state=&name=&limit=10&cursor=") == [bad, good]
    assert await find_ids("name=Stop%20OB") == []


@pytest.mark.parametrize(
    "query", ["state=BUSY", "limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=1-"]
)
async def test_dags_route_invalid_query_is_refused(client: Client, query: str) -> None:
    with pytest.raises(ApiRefused) as refused:
        await client.get(f"/task/dags?{query}")
    assert refused.value.status == 400


async def test_audit_route_returns_pages(client: Client) -> None:
    ids = [await run_to_end(client) for _ in range(3)]
    first = await client.get("/audit?limit=2")
    second = await client.get(f"/audit?limit=2&cursor={first['next_cursor']}")
    rows = [row["dag_id"] for page in (first, second) for row in page["contents"]]
    assert rows == ids[::-1]
    assert second["next_cursor"] is None
    assert (await client.get(f"/task/dag/{ids[0]}/audit"))["next_cursor"] is None
    with pytest.raises(ApiRefused, match="cursor"):
        await client.get("/audit?cursor=x")


async def test_locks_route_names_holder_and_its_wait(
    running_controller: EventController,
    client: Client,
) -> None:
    running_controller.takes_lock = True
    latch = running_controller.latch = Latch()
    dag_id = await start(client)
    async with asyncio.timeout(30):
        await latch.reached.wait()
    (lock,) = (await client.get("/locks"))["contents"]
    assert (lock["key"], lock["dag_id"], lock["name"], lock["token"]) == (
        *("cluster", dag_id),
        *("Start OB", 1),
    )
    assert f"'Start OB' {dag_id}, at stage 1 of 2 'Look'" in lock["about"]
    latch.open()
    await collect(client, dag_id)
    (lock,) = (await client.get("/locks"))["contents"]
    assert (lock["dag_id"], lock["name"], lock["about"]) == (None, "", "free")


# --- health ----------------------------------------------------------------------------------


async def test_healthz_route_of_running_process_is_ok(running_controller: EventController) -> None:
    assert await fetch(running_controller, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")


async def test_readyz_route_of_working_controller_is_ready(
    running_controller: EventController,
) -> None:
    status, _, text = await fetch(running_controller, "/readyz")
    assert (status, text) == (200, '{"ready":true,"store":"ok","scheduler":"ok"}')


async def test_readyz_route_locked_store_is_not_ready(
    running_controller: EventController,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dagengine.api.handlers.monitoring._FRESH_S", 0.0)
    monkeypatch.setattr("dagengine.api.handlers.monitoring._PATIENCE_S", 0.3)
    blocker = sqlite3.connect(running_controller.directory / "store.sqlite", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # as another program that holds on to the file would
    status, _, text = await fetch(running_controller, "/readyz")
    assert status == 503
    assert '"ready":false' in text
    assert '"scheduler":"ok"' in text
    blocker.execute("ROLLBACK")
    blocker.close()

    async def is_ready() -> bool:
        return (await fetch(running_controller, "/readyz"))[0] == 200

    await eventually(is_ready, timeout_s=30, what="readiness")


# --- figures ---------------------------------------------------------------------------------


def metric_value(text: str, name: str, **labels: str) -> float:
    for line in text.splitlines():
        if line.startswith(name) and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no {name} with {labels} in:\n{text}")


async def test_metrics_route_counts_dags_stages_and_requests(
    running_controller: EventController,
    client: Client,
) -> None:
    await run_to_end(client)
    running_controller.is_broken = True
    await run_to_end(client)
    status, kind, text = await fetch(running_controller, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert metric_value(text, "dagengine_dags{", state="SUCCEED") == 1
    assert metric_value(text, "dagengine_dags{", state="FAILED") == 1
    assert metric_value(text, "dagengine_dags{", state="RUNNING") == 0
    stage_of = {"operation": "Start OB", "stage": "Look"}
    assert metric_value(text, "dagengine_stage_seconds_count", state="SUCCEED", **stage_of) == 1
    assert metric_value(text, "dagengine_stage_seconds_count", state="FAILED", **stage_of) == 1
    route = {"method": "POST", "route": "/api/v1/ob/start", "status": "200"}
    assert metric_value(text, "dagengine_api_seconds_count", **route) == 2
    assert metric_value(text, "dagengine_commits_total") >= 4
    assert metric_value(text, "dagengine_batches_total") >= metric_value(
        text, "dagengine_commits_total"
    )
    assert metric_value(text, "dagengine_ssh_connects_total") == 0
    assert metric_value(text, "process_resident_memory_bytes") > 1e6


async def test_metrics_route_ignores_unknown_routes(
    running_controller: EventController,
) -> None:
    async with aiohttp.ClientSession() as session:
        for number in range(20):
            async with session.request(
                f"M{number}", f"{running_controller.url}/api/v1/none/{number}"
            ):
                pass
    _, _, text = await fetch(running_controller, "/metrics")
    counted = [line for line in text.splitlines() if line.startswith("dagengine_api_seconds_count")]
    assert not any("none" in line or "M1" in line for line in counted)


async def test_metrics_route_contains_no_host_task_or_user(
    running_controller: EventController,
    client: Client,
) -> None:
    dag_id = await run_to_end(client)
    _, _, text = await fetch(running_controller, "/metrics")
    assert dag_id not in text
    assert re.search(r"127\.0\.0\.1|root@sys", text) is None
