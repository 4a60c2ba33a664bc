"""A second start while the first one runs."""

from __future__ import annotations

import asyncio

import pytest
from obshell.service.client_v1 import TaskExecuteFailedError

from dagengine.testing import eventually
from tests.acceptance.conftest import OpenTestbed, other_controller_in_soak, wait_dag


async def test_start_while_lock_is_held_fails_and_names_holder(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        reached = testbed.cluster.directory / "reached"
        hold = {"stage": "Start observers", "side": "before", "reached": str(reached)}
        await testbed.start_controller(**hold)
        first = await client.start("GLOBAL")

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what="the latch")
        with pytest.raises(TaskExecuteFailedError) as caught:
            # Another scope, because the same one returns the first DAG within a second.
            await asyncio.to_thread(testbed.sdk().start_sync, "SERVER", ["127.0.0.1:2886"])
        assert first["id"] in str(caught.value)
        second = (await client.list_dags(details=True))[0]
        assert (second["state"], second["stage"]) == ("FAILED", 1)
        assert (await client.list_unfinished())[0]["maintenance_type"] == 2
        reached.unlink()
        assert (await wait_dag(client, first["id"]))["state"] == "SUCCEED"


async def test_start_repeated_within_second_returns_same_dag(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        reached = testbed.cluster.directory / "reached"
        hold = {"stage": "Check operation lock", "side": "before", "reached": str(reached)}
        await testbed.start_controller(**hold)
        body = {"scope": {"type": "GLOBAL"}}
        # Without a key, as the SDK repeats a call.
        first, twin = await asyncio.gather(*(client.post("/ob/start", body) for _ in range(2)))
        assert first["id"] == twin["id"]
        assert first["state"] == "READY"
        assert (first["nodes"], first["additional_data"]) == (None, None)


@pytest.mark.slow
@other_controller_in_soak
async def test_cancel_running_start_fails_dag_and_releases_lock(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        reached = testbed.cluster.directory / "reached"
        hold = {"stage": "Start observers", "side": "before", "reached": str(reached)}
        await testbed.start_controller(**hold)
        first = await client.start("GLOBAL")

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what="the latch")
        await client.operate_dag(first["id"], "CANCEL")
        dag = await wait_dag(client, first["id"])
        assert (dag["state"], dag["operator"], dag["stage"]) == ("FAILED", "CANCEL", 3)
        assert testbed.server_pids() == []
        reached.unlink()
        await client.operate_dag(first["id"], "RETRY")

        async def is_held_again() -> bool:
            return reached.exists()

        await eventually(is_held_again, timeout_s=60, what="the latch")
        reached.unlink()
        assert (await wait_dag(client, first["id"]))["state"] == "SUCCEED"
