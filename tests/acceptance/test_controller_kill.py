"""kill -9 of the controller in each stage loses nothing and runs nothing twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from dagengine.testing import eventually
from tests.acceptance.conftest import (
    ClusterTestbed,
    OpenTestbed,
    other_controller_in_soak,
    sub_tasks,
    wait_dag,
)
from tests.support.quick_cases import sample_pairs

STAGES = (
    "Check operation lock",
    "Check servers",
    "Start observers",
    "Wait for observers to become healthy",
    "Start servers and zones",
    "Verify the cluster",
)


def count_launches(testbed: ClusterTestbed) -> Path:
    """Wrap the server program in a script that writes a line for every launch."""
    binary = testbed.cluster.servers[0].home / "bin" / "seekdb"
    launches = testbed.cluster.directory / "launches"
    real = binary.resolve()
    binary.unlink()
    binary.write_text(f'#!/bin/sh\necho "$$" >>"{launches}"\nexec "{real}" "$@"\n')
    binary.chmod(0o755)
    return launches


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "side"), sample_pairs(STAGES, ("before", "after")))
@other_controller_in_soak
async def test_controller_killed_resumes_dag_at_its_stage(
    open_testbed: OpenTestbed, stage: str, side: str
) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        launches = count_launches(testbed)
        reached = testbed.cluster.directory / "reached"
        await testbed.start_controller(stage=stage, side=side, reached=str(reached))
        accepted = await client.start("GLOBAL")

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what=f"the latch in '{stage}'")
        before = await client.get_dag(accepted["id"])
        await testbed.end_controller(signal.SIGKILL)
        await testbed.start_controller()
        dag = await wait_dag(client, accepted["id"])

        assert dag["state"] == "SUCCEED"
        for number in range(1, 7):
            for agent, task in sub_tasks(before, number).items():
                later = sub_tasks(dag, number)[agent]["task_logs"]
                assert later[: len(task["task_logs"] or [])] == (task["task_logs"] or [])
                assert sub_tasks(dag, number)[agent]["execute_times"] == 1
        (started,) = sub_tasks(dag, 3).values()
        evidence = dag["additional_data"]["evidence"]["127.0.0.1:2886"]
        assert testbed.server_pids() == [evidence["pid"]]
        assert sum("started, pid" in line for line in started["task_logs"]) <= 1
        assert len(launches.read_text().splitlines()) == 1, "the server was launched again"
        unlocked = await client.start("GLOBAL")
        assert (await wait_dag(client, unlocked["id"]))["state"] == "SUCCEED"


@pytest.mark.slow
@other_controller_in_soak
async def test_controller_sigterm_exits_and_resumes_dag_later(
    open_testbed: OpenTestbed,
) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        await testbed.start_controller()
        accepted = await client.start("GLOBAL")
        assert await testbed.end_controller(signal.SIGTERM) == 0
        await testbed.start_controller()
        assert (await wait_dag(client, accepted["id"]))["state"] == "SUCCEED"
        assert len(testbed.server_pids()) == 1
