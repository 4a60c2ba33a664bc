"""Every route whose data has a type in `wire_types.json`, in every state of a real cluster."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine.client import Client
from dagengine.testing import eventually
from tests.acceptance.conftest import OpenTestbed, all_log_lines, wait_dag
from tests.support.strict_decoder import ROUTES, DecodedResponses

pytestmark = pytest.mark.slow

READS = [
    name.removeprefix("GET ")
    for name in ROUTES
    if name.startswith("GET ") and "{" not in name and "maintain/ob" not in name
]
HELD = ("task/dag/maintain/ob", "task/dag/maintain/agent")  # 404 while the cluster is free


async def read_all(client: Client, *, is_held: bool) -> None:
    """Read every route without an id."""
    for path in READS:
        if is_held or path not in HELD:
            await client.get(f"/{path}")
    if is_held:
        await client.get(f"/{HELD[0]}")


async def read_dag(client: Client, dag: dict[str, Any]) -> None:
    """Read a DAG, its nodes and its sub-tasks."""
    detail = await client.get(f"/task/dag/{dag['id']}")
    await client.get(f"/task/dag/{dag['id']}?show_details=false")
    for node in detail["nodes"]:
        await client.get(f"/task/node/{node['id']}")
        for task in node["sub_tasks"] or ():
            await client.get(f"/task/sub_task/{task['id']}")


async def test_every_route_passes_strict_decoder(
    open_testbed: OpenTestbed, decoded_responses: DecodedResponses
) -> None:
    async with open_testbed(2) as testbed:
        await testbed.start_controller()
        async with testbed.client() as client:
            await read_all(client, is_held=False)  # nothing was ever started
            dag = await client.start("GLOBAL")

            async def is_held() -> bool:
                return bool((await client.get("/task/dag/maintain/agents"))["contents"])

            await eventually(is_held, what="the lock of the start")
            await read_all(client, is_held=True)
            await read_dag(client, dag)
            dag = await wait_dag(client, dag["id"])
            assert dag["state"] == "SUCCEED", all_log_lines(dag)
            await read_all(client, is_held=False)
            await read_dag(client, dag)
            topology = (await client.get("/ob/info"))["obcluster_info"]["topology"]
            assert sum(map(len, topology.values())) == len(testbed.cluster.servers)
            first = testbed.cluster.servers[0]
            stopped = await client.stop("SERVER", [first.name], force=True)
            stopped = await wait_dag(client, stopped["id"])
            assert stopped["state"] == "SUCCEED", all_log_lines(stopped)
            await read_all(client, is_held=False)
            await read_dag(client, stopped)
    received = {route for route, _ in decoded_responses.counts}
    # Only the oceanbase flavour stops a zone: tests/conftest.py checks all routes of a whole run.
    assert set(ROUTES) - received == {"POST ob/zone/{zone}/stop"}
