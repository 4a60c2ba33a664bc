"""The checks of stage 2 and the health of stage 4 on real hosts: told, skipped, refused."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
from typing import Any

import pytest

from dagengine.errors import ApiRefused
from dagengine.testing import eventually
from tests.acceptance.conftest import WorldOf, sub_tasks, told, wait_dag

GOOD, BAD = "127.0.0.1:2886", "127.0.0.1:2887"
CHECK, START, HEALTH = 2, 3, 4

pytestmark = pytest.mark.slow


def checks_of(dag: dict[str, Any], server: str) -> dict[str, dict[str, Any]]:
    evidence = dag["additional_data"]["evidence"].get(server, {})
    return {entry["check"]: entry for entry in evidence.get("checks", ())}


async def test_a_skipped_check_is_told_audited_and_does_not_block(world_of: WorldOf) -> None:
    async with world_of(2) as world, world.client() as client:
        world.cluster.server_entry(1)["start_options"] = {"memory_limit": "4000G"}
        world.cluster.write()
        await world.start_controller()
        with pytest.raises(ApiRefused) as unknown:
            await client.start("GLOBAL", skip_checks=["no-such"])
        assert (unknown.value.status, unknown.value.code) == (400, "Common.IllegalArgument")
        assert "memory" in str(unknown.value)
        with pytest.raises(ApiRefused) as harmful:
            await client.start("GLOBAL", skip_checks=["manager"])
        assert "cannot be skipped" in str(harmful.value)

        blocked = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert (blocked["state"], blocked["stage"]) == ("FAILED", CHECK), told(blocked)
        assert "--skip-check memory" in sub_tasks(blocked, CHECK)[BAD]["task_logs"][-1]
        assert checks_of(blocked, BAD)["memory"]["level"] == "block"

        entry = world.cluster.server_entry(1)["start_options"]
        with closing(socket.create_server(("127.0.0.1", world.cluster.servers[1].sql_port))):
            entry["memory_limit"] = "2G"
            world.cluster.write()
            dag = await client.start("SERVER", [BAD], skip_checks=["ports"])
            ended = await wait_dag(client, dag["id"])
        lines = sub_tasks(ended, CHECK)[BAD]["task_logs"]
        assert any("skipped on request: [ports]" in line for line in lines)
        # It was let through, and the server itself said what the check would have said.
        assert (ended["state"], ended["stage"]) == ("FAILED", HEALTH), told(ended)
        assert "a port is taken" in sub_tasks(ended, HEALTH)[BAD]["task_logs"][-1]
        (audited,) = await client.list_audit(dag["id"])
        assert (audited["action"], audited["reason"]) == ("START", "skips the checks ports")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_data_of_another_user_are_not_started_by_root_even_when_skipped(
    world_of: WorldOf,
) -> None:
    async with world_of(1) as world, world.client() as client:
        store = world.cluster.servers[0].home / "store"
        store.mkdir()
        os.chown(store, 12345, 12345)
        await world.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL", skip_checks=["owner"]))["id"])
        assert (dag["state"], dag["stage"]) == ("FAILED", CHECK)
        line = sub_tasks(dag, CHECK)[GOOD]["task_logs"][-1]
        assert "uid 12345" in line
        assert "root cannot skip" in line


async def test_a_server_that_dies_while_it_is_to_stay_healthy_is_noticed_at_once(
    world_of: WorldOf,
) -> None:
    async with world_of(1) as world, world.client() as client:
        # Longer than the test waits: only the death itself can end the stage.
        world.cluster.entries["health"] = {"stable_s": 250}
        world.cluster.write()
        await world.start_controller()
        dag_id = (await client.start("GLOBAL"))["id"]

        async def is_staying() -> bool:
            data = (await client.get_dag(dag_id))["additional_data"] or {}
            wait = data.get("wait", {}).get(GOOD, {})
            return bool(wait.get("kind") == "stable") and "level sql" in wait.get("last", "")

        await eventually(is_staying, timeout_s=60, what="the answer to SQL")
        (pid,) = world.server_pids()
        os.kill(pid, signal.SIGKILL)
        dag = await wait_dag(client, dag_id)
        assert (dag["state"], dag["stage"]) == ("FAILED", HEALTH), told(dag)
        assert f"pid {pid}) is gone" in sub_tasks(dag, HEALTH)[GOOD]["task_logs"][-1]
        assert dag["additional_data"]["evidence"][GOOD]["level"] == "none"


async def test_a_server_that_stays_healthy_for_its_time_succeeds(world_of: WorldOf) -> None:
    async with world_of(1) as world, world.client() as client:
        world.cluster.entries["health"] = {"stable_s": 1.5}
        world.cluster.write()
        await world.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "SUCCEED", told(dag)
        lines = sub_tasks(dag, HEALTH)[GOOD]["task_logs"]
        assert any("stayed healthy for 1.5 s" in line for line in lines)
        assert dag["additional_data"]["evidence"][GOOD]["level"] == "sql"
