"""ROLLBACK and forcePassDag on real servers."""

from __future__ import annotations

from dagengine.testing import eventually
from tests.acceptance.conftest import World, WorldOf, sub_tasks, told, wait_dag
from tests.acceptance.test_failures import BAD, GOOD, home_missing

CHECK, START, HEALTH = 2, 3, 4


async def wait_gone(world: World) -> None:
    async def is_gone() -> bool:
        return world.server_pids() == []

    await eventually(is_gone, what="the end of every server")


async def test_a_rollback_stops_what_this_dag_started_and_a_start_works_again(
    world_of: WorldOf,
) -> None:
    async with world_of(2) as world, world.client() as client:
        mend = home_missing(world)
        await world.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert (dag["state"], len(world.server_pids())) == ("FAILED", 1)
        await client.operate_dag(dag["id"], "ROLLBACK", reason="wrong disk")
        undone = await wait_dag(client, dag["id"])
        assert (undone["state"], undone["operator"], undone["stage"]) == ("SUCCEED", "ROLLBACK", 1)
        assert "stopped, pid" in sub_tasks(undone, START)[GOOD]["task_logs"][-1]
        assert sub_tasks(undone, START)[BAD]["state"] == "PENDING"
        await wait_gone(world)
        newest, oldest = await client.list_audit(dag["id"])
        assert (newest["action"], newest["reason"], oldest["action"]) == (
            "ROLLBACK",
            "wrong disk",
            "START",
        )
        assert newest["by"] == "root@sys from 127.0.0.1"
        mend()
        again = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert again["state"] == "SUCCEED", told(again)
        assert len(world.server_pids()) == 2


async def test_a_rollback_leaves_a_server_alone_that_ran_before(world_of: WorldOf) -> None:
    async with world_of(2) as world, world.client() as client:
        await world.start_controller()
        first = await wait_dag(client, (await client.start("SERVER", [GOOD]))["id"])
        assert first["state"] == "SUCCEED"
        before = world.server_pids()
        home_missing(world)
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "FAILED"
        await client.operate_dag(dag["id"], "ROLLBACK")
        undone = await wait_dag(client, dag["id"])
        assert undone["state"] == "SUCCEED"
        assert "not started by this task" in sub_tasks(undone, START)[GOOD]["task_logs"][-1]
        assert world.server_pids() == before


async def test_a_force_pass_frees_the_cluster_from_a_task_that_hangs(world_of: WorldOf) -> None:
    async with world_of(1) as world, world.client() as client:
        reached = world.cluster.directory / "reached"
        gate = {"stage": "Start observers", "side": "after", "reached": str(reached)}
        await world.start_controller(**gate)
        stuck = await client.start("GLOBAL")

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what="the gate")
        waits = (await client.get_dag(stuck["id"]))["additional_data"]["wait"]
        assert waits[GOOD]["kind"] == "ssh"
        lock_successor_id = await client.start("GLOBAL", force_pass=[stuck["id"]])

        async def is_passed() -> bool:
            return (await client.get_dag(stuck["id"]))["state"] == "SUCCEED"

        await eventually(is_passed, timeout_s=60, what="the force pass")
        reached.unlink(missing_ok=True)

        async def is_held_again() -> bool:
            return reached.exists()

        await eventually(is_held_again, timeout_s=60, what="the heir's gate")
        reached.unlink()
        dag = await wait_dag(client, lock_successor_id["id"])
        assert dag["state"] == "SUCCEED"
        (line, *_) = next(iter(sub_tasks(dag, 1).values()))["task_logs"]
        assert stuck["id"] in line
        assert len(world.server_pids()) == 1
        passed = await client.get_dag(stuck["id"])
        assert (passed["state"], passed["operator"]) == ("SUCCEED", "PASS")


async def test_a_passed_check_lets_the_lane_go_on_to_its_start(world_of: WorldOf) -> None:
    async with world_of(2) as world, world.client() as client:
        mend = home_missing(world)
        await world.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        mend()
        await client.pass_node(dag["nodes"][CHECK - 1]["id"])
        done = await wait_dag(client, dag["id"])
        assert done["state"] == "SUCCEED"
        assert sub_tasks(done, CHECK)[BAD]["operator"] == "PASS"
        assert sub_tasks(done, HEALTH)[BAD]["state"] == "SUCCEED"
        assert len(world.server_pids()) == 2
