"""A second start while the first one runs."""

from __future__ import annotations

import asyncio

import pytest
from obshell.service.client_v1 import TaskExecuteFailedError

from dagengine.testing import eventually
from tests.acceptance.conftest import WorldOf, wait_dag


async def test_a_second_start_fails_at_stage_1_and_names_the_holder(world_of: WorldOf) -> None:
    async with world_of(1) as world, world.client() as client:
        reached = world.cluster.directory / "reached"
        gate = {"stage": "Start observers", "side": "before", "reached": str(reached)}
        await world.start_controller(**gate)
        first = await client.start("GLOBAL")

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what="the gate")
        with pytest.raises(TaskExecuteFailedError) as caught:
            # Another scope: the same one within a second is answered with the first DAG.
            await asyncio.to_thread(world.sdk().start_sync, "SERVER", ["127.0.0.1:2886"])
        assert first["id"] in str(caught.value)
        second = (await client.list_dags(details=True))[0]
        assert (second["state"], second["stage"]) == ("FAILED", 1)
        assert (await client.list_unfinished())[0]["maintenance_type"] == 2
        reached.unlink()
        assert (await wait_dag(client, first["id"]))["state"] == "SUCCEED"


async def test_the_same_start_within_a_second_is_the_same_dag(world_of: WorldOf) -> None:
    async with world_of(1) as world, world.client() as client:
        reached = world.cluster.directory / "reached"
        gate = {"stage": "Check operation lock", "side": "before", "reached": str(reached)}
        await world.start_controller(**gate)
        body = {"scope": {"type": "GLOBAL"}}
        # Without a key, as the SDK repeats a call.
        first, twin = await asyncio.gather(*(client.post("/ob/start", body) for _ in range(2)))
        assert first["id"] == twin["id"]
        assert first["state"] == "READY"
        assert (first["nodes"], first["additional_data"]) == (None, None)


async def test_cancel_ends_the_dag_and_frees_the_lock(world_of: WorldOf) -> None:
    async with world_of(1) as world, world.client() as client:
        reached = world.cluster.directory / "reached"
        gate = {"stage": "Start observers", "side": "before", "reached": str(reached)}
        await world.start_controller(**gate)
        first = await client.start("GLOBAL")

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what="the gate")
        await client.operate_dag(first["id"], "CANCEL")
        dag = await wait_dag(client, first["id"])
        assert (dag["state"], dag["operator"], dag["stage"]) == ("FAILED", "CANCEL", 3)
        assert world.server_pids() == []
        reached.unlink()
        await client.operate_dag(first["id"], "RETRY")

        async def is_held_again() -> bool:
            return reached.exists()

        await eventually(is_held_again, timeout_s=60, what="the gate")
        reached.unlink()
        assert (await wait_dag(client, first["id"]))["state"] == "SUCCEED"
