"""kill -9 of the controller in each stage: nothing is lost, nothing runs twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from dagengine.testing import eventually
from tests.acceptance.conftest import World, WorldOf, sub_tasks, wait_dag

STAGES = (
    "Check operation lock",
    "Check servers",
    "Start observers",
    "Wait for observers to become healthy",
    "Start servers and zones",
    "Verify the cluster",
)


def count_launches(world: World) -> Path:
    """Put a program before the server's that writes a line for every launch."""
    binary = world.cluster.servers[0].home / "bin" / "seekdb"
    launches = world.cluster.directory / "launches"
    real = binary.resolve()
    binary.unlink()
    binary.write_text(f'#!/bin/sh\necho "$$" >>"{launches}"\nexec "{real}" "$@"\n')
    binary.chmod(0o755)
    return launches


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_killed_controller_goes_on_where_it_was(
    world_of: WorldOf, stage: str, side: str
) -> None:
    async with world_of(1) as world, world.client() as client:
        launches = count_launches(world)
        reached = world.cluster.directory / "reached"
        await world.start_controller(stage=stage, side=side, reached=str(reached))
        accepted = await client.start("GLOBAL")

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what=f"the gate in '{stage}'")
        before = await client.get_dag(accepted["id"])
        await world.end_controller(signal.SIGKILL)
        await world.start_controller()
        dag = await wait_dag(client, accepted["id"])

        assert dag["state"] == "SUCCEED"
        for number in range(1, 7):
            for agent, task in sub_tasks(before, number).items():
                later = sub_tasks(dag, number)[agent]["task_logs"]
                assert later[: len(task["task_logs"] or [])] == (task["task_logs"] or [])
                assert sub_tasks(dag, number)[agent]["execute_times"] == 1
        (started,) = sub_tasks(dag, 3).values()
        evidence = dag["additional_data"]["evidence"]["127.0.0.1:2886"]
        assert world.server_pids() == [evidence["pid"]]
        assert sum("started, pid" in line for line in started["task_logs"]) <= 1
        assert len(launches.read_text().splitlines()) == 1, "the server was launched again"
        unlocked = await client.start("GLOBAL")
        assert (await wait_dag(client, unlocked["id"]))["state"] == "SUCCEED"


async def test_a_controller_that_is_told_to_stop_leaves_and_goes_on_later(
    world_of: WorldOf,
) -> None:
    async with world_of(1) as world, world.client() as client:
        await world.start_controller()
        accepted = await client.start("GLOBAL")
        assert await world.end_controller(signal.SIGTERM) == 0
        await world.start_controller()
        assert (await wait_dag(client, accepted["id"]))["state"] == "SUCCEED"
        assert len(world.server_pids()) == 1
