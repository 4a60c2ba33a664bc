"""`Stop OB` on real seekdb servers: what makes sense there, and the process that is not ours."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dagengine.errors import ApiRefused
from tests.acceptance.conftest import World, WorldOf, sub_tasks, told, wait_dag

pytestmark = pytest.mark.slow

FIRST = "127.0.0.1:2886"
STOP = 4


async def start_all(world: World) -> None:
    await world.start_controller()
    async with world.client() as client:
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
    assert dag["state"] == "SUCCEED", told(dag)


async def test_terminate_freezes_real_servers_and_ends_them_and_they_start_again(
    world_of: WorldOf,
) -> None:
    async with world_of(2) as world, world.client() as client:
        await start_all(world)
        (before, _) = world.server_pids()
        dag = await wait_dag(client, (await client.stop("SERVER", [FIRST], terminate=True))["id"])
        assert (dag["name"], dag["state"]) == ("Stop OB", "SUCCEED"), told(dag)
        assert "every checkpoint has grown" in told(dag)
        assert len(world.server_pids()) == 1
        stopped = dag["additional_data"]["evidence"][FIRST]
        assert (stopped["level"], stopped["ended_by"]) == ("none", "SIGTERM")
        assert before != 0
        again = await wait_dag(client, (await client.start("SERVER", [FIRST]))["id"])
        assert again["state"] == "SUCCEED", told(again)
        assert len(world.server_pids()) == 2


async def test_force_ends_all_and_a_second_stop_finds_nothing_to_do(world_of: WorldOf) -> None:
    async with world_of(2) as world, world.client() as client:
        await start_all(world)
        dag: Any = await asyncio.to_thread(world.sdk().stop_sync, "GLOBAL", [], True)
        assert (dag.name, dag.state) == ("Stop OB", "SUCCEED")
        assert world.server_pids() == []
        again = await wait_dag(client, (await client.stop("GLOBAL", force=True))["id"])
        assert again["state"] == "SUCCEED"
        assert told(again).count("does not run: nothing to stop") == 2
        with pytest.raises(ApiRefused) as caught:
            await client.stop("GLOBAL", terminate=True)
        assert caught.value.code == "OB.Cluster.ForceStopRequired"


async def test_a_plain_stop_of_seekdb_is_refused_with_what_to_send(world_of: WorldOf) -> None:
    async with world_of(1) as world, world.client() as client:
        await start_all(world)
        for scope, targets in (("SERVER", [FIRST]), ("ZONE", ["zone1"])):
            with pytest.raises(ApiRefused) as caught:
                await client.stop(scope, targets)
            assert caught.value.code == "OB.Cluster.ForceStopOrTerminateRequired"
            assert "seekdb" in caught.value.message
        assert len(world.server_pids()) == 1


async def test_a_process_that_is_no_server_of_this_home_is_left_alone(world_of: WorldOf) -> None:
    async with world_of(2) as world, world.client() as client:
        await start_all(world)
        home = world.cluster.servers[0].home
        near = subprocess.Popen(["sleep", "600"], cwd=home)  # noqa: ASYNC220
        try:
            other = world.server_pids()
            dag = await wait_dag(client, (await client.stop("SERVER", [FIRST], force=True))["id"])
            assert dag["state"] == "SUCCEED", told(dag)
            assert sub_tasks(dag, STOP).keys() == {FIRST}
            (left,) = world.server_pids()
            assert left in other
            assert Path(f"/proc/{left}/cwd").resolve() == world.cluster.servers[1].home
            assert near.poll() is None
        finally:
            near.kill()
            near.wait()


async def test_the_stop_command_says_what_is_missing_and_then_stops(world_of: WorldOf) -> None:
    async with world_of(1) as world:
        await start_all(world)

        async def command(*words: str) -> tuple[int, str]:
            process = await asyncio.create_subprocess_exec(
                *(str(Path(sys.executable).with_name("dagengine")), "stop", *words),
                env=dict(world.cluster.environment),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            return process.returncode or 0, output.decode()

        code, said = await command()
        assert (code, "ForceStopOrTerminateRequired" in said) == (2, True)
        assert (await command("--zone", "zone1", "--server", FIRST))[0] == 2
        assert (await command("--force", "--terminate"))[0] == 2
        assert len(world.server_pids()) == 1
        code, said = await command("--server", FIRST, "--force")
        assert code == 0, said
        assert world.server_pids() == []
