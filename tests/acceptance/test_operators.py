"""ROLLBACK and forcePassDag on real servers."""

from __future__ import annotations

import pytest

from dagengine.testing import eventually
from tests.acceptance.conftest import (
    ClusterTestbed,
    OpenTestbed,
    all_log_lines,
    other_controller_in_soak,
    sub_tasks,
    wait_dag,
)
from tests.acceptance.start_faults import BAD, GOOD, home_missing

CHECK, START, HEALTH = 2, 3, 4


async def wait_gone(testbed: ClusterTestbed) -> None:
    async def is_gone() -> bool:
        return testbed.server_pids() == []

    await eventually(is_gone, what="the end of every server")


async def test_rollback_stops_started_server_and_allows_new_start(
    open_testbed: OpenTestbed,
) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        fix = home_missing(testbed)
        await testbed.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert (dag["state"], len(testbed.server_pids())) == ("FAILED", 1)
        await client.operate_dag(dag["id"], "ROLLBACK", reason="wrong disk")
        undone = await wait_dag(client, dag["id"])
        assert (undone["state"], undone["operator"], undone["stage"]) == ("SUCCEED", "ROLLBACK", 1)
        assert "stopped, pid" in sub_tasks(undone, START)[GOOD]["task_logs"][-1]
        assert sub_tasks(undone, START)[BAD]["state"] == "PENDING"
        await wait_gone(testbed)
        newest, oldest = await client.list_audit(dag["id"])
        assert (newest["action"], newest["reason"], oldest["action"]) == (
            "ROLLBACK",
            "wrong disk",
            "START",
        )
        assert newest["by"] == "root@sys from 127.0.0.1"
        fix()
        restarted = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert restarted["state"] == "SUCCEED", all_log_lines(restarted)
        assert len(testbed.server_pids()) == 2


@pytest.mark.slow
@other_controller_in_soak
async def test_rollback_keeps_server_that_ran_before(open_testbed: OpenTestbed) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        await testbed.start_controller()
        first = await wait_dag(client, (await client.start("SERVER", [GOOD]))["id"])
        assert first["state"] == "SUCCEED"
        before = testbed.server_pids()
        home_missing(testbed)
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "FAILED"
        await client.operate_dag(dag["id"], "ROLLBACK")
        undone = await wait_dag(client, dag["id"])
        assert undone["state"] == "SUCCEED"
        assert "not started by this task" in sub_tasks(undone, START)[GOOD]["task_logs"][-1]
        assert testbed.server_pids() == before


@pytest.mark.slow
async def test_force_pass_hanging_start_releases_cluster_lock(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        reached = testbed.cluster.directory / "reached"
        hold = {"stage": "Start observers", "side": "after", "reached": str(reached)}
        await testbed.start_controller(**hold)
        hanging = await client.start("GLOBAL")

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what="the latch")
        waits = (await client.get_dag(hanging["id"]))["additional_data"]["wait"]
        assert waits[GOOD]["kind"] == "ssh"
        successor = await client.start("GLOBAL", force_pass=[hanging["id"]])

        async def is_passed() -> bool:
            return (await client.get_dag(hanging["id"]))["state"] == "SUCCEED"

        await eventually(is_passed, timeout_s=60, what="the force pass")
        reached.unlink(missing_ok=True)

        async def is_held_again() -> bool:
            return reached.exists()

        await eventually(is_held_again, timeout_s=60, what="the latch of the successor")
        reached.unlink()
        dag = await wait_dag(client, successor["id"])
        assert dag["state"] == "SUCCEED"
        (line, *_) = next(iter(sub_tasks(dag, 1).values()))["task_logs"]
        assert hanging["id"] in line
        assert len(testbed.server_pids()) == 1
        passed = await client.get_dag(hanging["id"])
        assert (passed["state"], passed["operator"]) == ("SUCCEED", "PASS")


@pytest.mark.slow
@other_controller_in_soak
async def test_pass_node_failed_check_resumes_lane(open_testbed: OpenTestbed) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        fix = home_missing(testbed)
        await testbed.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        fix()
        await client.pass_node(dag["nodes"][CHECK - 1]["id"])
        done = await wait_dag(client, dag["id"])
        assert done["state"] == "SUCCEED"
        assert sub_tasks(done, CHECK)[BAD]["operator"] == "PASS"
        assert sub_tasks(done, HEALTH)[BAD]["state"] == "SUCCEED"
        assert len(testbed.server_pids()) == 2
