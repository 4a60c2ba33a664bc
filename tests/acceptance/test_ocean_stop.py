"""`Stop OB` on the oceanbase flavour: its checks, its three ways, its operators."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from obshell.service.client_v1 import OBShellHandleError

from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.testing import eventually
from tests.acceptance.conftest import sub_tasks, told, wait_dag
from tests.acceptance.ocean import OceanWorld, make_ocean

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

CHECK, FREEZE, STOP, SQL, VERIFY = 2, 3, 4, 5, 6
ALL = list(range(9))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[OceanWorld]:
    async with make_ocean() as found:
        await found.start_controller()
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def world(running: OceanWorld) -> OceanWorld:
    """Every server is in service."""
    for number in ALL:
        running.cluster.wish(number)
    if running.serving() != ALL or running.ledger.rows(
        "SELECT 1 FROM server WHERE stop_time IS NOT NULL"
        " UNION SELECT 1 FROM zone WHERE status <> 'ACTIVE'"
    ):
        async with running.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "SUCCEED", told(dag)
    running.take_statements()
    return running


async def stop(world: OceanWorld, scope: str, *targets: str, **how: bool) -> dict[str, Any]:
    async with world.client() as client:
        return await wait_dag(client, (await client.stop(scope, list(targets), **how))["id"])


async def refusal(world: OceanWorld, scope: str, *targets: str, **how: bool) -> tuple[str, str]:
    async with world.client() as client:
        with pytest.raises(ApiRefused) as caught:
            await client.stop(scope, list(targets), **how)
    assert caught.value.status == 400
    return caught.value.code, caught.value.message


def last_line(dag: dict[str, Any], stage: int) -> str:
    (task,) = dag["nodes"][stage - 1]["sub_tasks"]
    return str(task["task_logs"][-1])


# --- plain: by SQL -----------------------------------------------------------------------------


async def test_a_plain_stop_of_a_zone_takes_it_out_of_service_and_ends_no_process(
    world: OceanWorld,
) -> None:
    before = world.pids()
    dag = await stop(world, "ZONE", "zone3")
    assert (dag["name"], dag["state"], dag["max_stage"]) == ("Stop OB", "SUCCEED", 6), told(dag)
    assert world.take_statements() == ["ALTER SYSTEM STOP ZONE 'zone3'"]
    assert ("zone3", "INACTIVE") in world.ledger.rows("SELECT zone, status FROM zone")
    assert world.pids() == before
    stopped = dag["additional_data"]["evidence"][world.name(6)]
    assert (stopped["level"], stopped["in_service"]) == ("sql", False)


async def test_a_plain_stop_of_servers_names_them_as_the_cluster_does(world: OceanWorld) -> None:
    dag = await stop(world, "SERVER", world.name(4), world.name(3))
    assert dag["state"] == "SUCCEED", told(dag)
    ports = [world.cluster.members[number].rpc_port for number in (3, 4)]
    assert world.take_statements() == [
        f"ALTER SYSTEM STOP SERVER '127.0.0.1:{port}'" for port in ports
    ]
    stopped = world.ledger.rows("SELECT svr_port FROM server WHERE stop_time IS NOT NULL")
    assert sorted(stopped) == sorted((port,) for port in ports)


async def test_a_plain_stop_works_for_a_server_that_is_dead(world: OceanWorld) -> None:
    await world.kill(5)
    with world.unplugged(5):
        dag = await stop(world, "SERVER", world.name(5))
    assert dag["state"] == "SUCCEED", told(dag)


# --- refusals, in the order of the checks --------------------------------------------------------


async def test_what_a_stop_must_not_do_is_refused_by_its_code(world: OceanWorld) -> None:
    first, fourth = world.name(0), world.name(3)
    assert (await refusal(world, "GLOBAL"))[0] == "OB.Cluster.ForceStopOrTerminateRequired"
    both = {"force": True, "terminate": True}
    assert (await refusal(world, "GLOBAL", **both))[0] == "OB.Cluster.StopModeConflict"
    assert (await refusal(world, "ZONE", "zone1", **both))[0] == "OB.Cluster.StopModeConflict"
    assert (await refusal(world, "ZONE", "zone9", **both))[0] == "OB.Zone.NotExist"
    assert (await refusal(world, "PLANET"))[0] == "OB.Cluster.Scope.Invalid"
    assert (await refusal(world, "SERVER"))[0] == "Common.IllegalArgument"
    code, message = await refusal(world, "SERVER", first, fourth)
    assert code == "OB.Server.StoppedInMultiZone"
    assert "zone1, zone2" in message
    assert (await refusal(world, "ZONE", "zone1", "zone2"))[0] == "OB.Server.StoppedInMultiZone"
    assert world.take_statements() == []


async def test_only_one_zone_may_be_out_of_service_at_a_time(world: OceanWorld) -> None:
    assert (await stop(world, "SERVER", world.name(8)))["state"] == "SUCCEED"
    code, message = await refusal(world, "ZONE", "zone1")
    assert code == "OB.Server.StoppedInMultiZone"
    assert "zone3" in message
    assert (await refusal(world, "SERVER", world.name(0)))[0] == "OB.Server.StoppedInMultiZone"
    assert (await stop(world, "ZONE", "zone3"))["state"] == "SUCCEED"


async def test_a_zone_whose_stop_would_cost_a_majority_is_refused_with_the_tenant(
    world: OceanWorld,
) -> None:
    await world.kill(4)  # in zone2 the only replica of the log stream of the second rank
    code, message = await refusal(world, "ZONE", "zone3")
    assert code == "OB.Cluster.Tenant.Replica.Invalid"
    assert "shop (log stream 1002)" in message
    assert (await stop(world, "ZONE", "zone2"))["state"] == "SUCCEED"


async def test_without_a_majority_only_force_works(world: OceanWorld) -> None:
    await world.kill(0, 3)
    code, message = await refusal(world, "SERVER", world.name(8), terminate=True)
    assert code == "OB.Cluster.ForceStopRequired"
    assert "majority" in message
    assert (await refusal(world, "ZONE", "zone3", force=True))[0] == "OB.Cluster.ForceStopRequired"
    dag = await stop(world, "SERVER", world.name(8), force=True)
    assert dag["state"] == "SUCCEED", told(dag)
    assert world.pid(8) is None


# --- terminate and force -------------------------------------------------------------------------


async def test_terminate_freezes_first_and_then_ends_the_processes(world: OceanWorld) -> None:
    ports = [world.cluster.members[number].rpc_port for number in (6, 7, 8)]
    dag = await stop(world, "ZONE", "zone3", terminate=True)
    assert dag["state"] == "SUCCEED", told(dag)
    names = ", ".join(f"'127.0.0.1:{port}'" for port in ports)
    assert world.take_statements() == [f"ALTER SYSTEM MINOR FREEZE SERVER = ({names})"]
    assert "every checkpoint has grown" in last_line(dag, FREEZE)
    assert [world.pid(number) for number in (6, 7, 8)] == [None, None, None]
    assert world.serving() == [0, 1, 2, 3, 4, 5]
    assert dag["additional_data"]["evidence"][world.name(7)]["ended_by"] == "SIGTERM"


async def test_a_freeze_that_does_not_end_is_a_failure_that_can_be_passed(
    world: OceanWorld,
) -> None:
    port = world.cluster.members[7].rpc_port
    world.ledger.set(f"stuck {port}", "yes")
    world.cluster.entries["stop"] = {"freeze_timeout_s": 1}
    world.cluster.write()
    dag = await stop(world, "SERVER", world.name(7), terminate=True)
    world.ledger.set(f"stuck {port}", "")
    del world.cluster.entries["stop"]
    world.cluster.write()
    assert (dag["state"], dag["stage"]) == ("FAILED", FREEZE), told(dag)
    assert "OB.Cluster.MinorFreezeTimeout" in last_line(dag, FREEZE)
    assert world.name(7) in last_line(dag, FREEZE)
    assert world.pid(7) is not None
    async with world.client() as client:
        await client.pass_node(dag["nodes"][FREEZE - 1]["id"])
        done = await wait_dag(client, dag["id"])
    assert done["state"] == "SUCCEED", told(done)
    assert world.pid(7) is None


async def test_force_ends_the_whole_cluster_and_a_start_brings_it_back(world: OceanWorld) -> None:
    dag = await stop(world, "GLOBAL", force=True)
    assert dag["state"] == "SUCCEED", told(dag)
    assert world.pids() == [None] * 9
    assert world.take_statements() == []
    again = await stop(world, "GLOBAL", force=True)
    assert again["state"] == "SUCCEED", told(again)
    assert told(again).count("does not run: nothing to stop") == 9


async def test_a_server_that_ignores_sigterm_is_killed_after_the_stated_time(
    world: OceanWorld,
) -> None:
    await world.kill(1)
    world.cluster.wish(1, ignores_term=True)
    world.cluster.entries["stop"] = {"kill_after_s": 1}
    world.cluster.write()
    async with world.client() as client:
        up = await wait_dag(client, (await client.start("SERVER", [world.name(1)]))["id"])
    assert up["state"] == "SUCCEED", told(up)
    dag = await stop(world, "SERVER", world.name(1), force=True)
    del world.cluster.entries["stop"]
    world.cluster.write()
    assert dag["state"] == "SUCCEED", told(dag)
    assert world.pid(1) is None
    assert "did not end within 1 s of SIGTERM" in told(dag)
    assert dag["additional_data"]["evidence"][world.name(1)]["ended_by"] == "SIGKILL"


async def test_one_host_that_is_down_fails_alone_and_retry_stops_its_server(
    world: OceanWorld,
) -> None:
    with world.unplugged(8):
        dag = await stop(world, "SERVER", world.name(7), world.name(8), force=True)
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), told(dag)
    assert sub_tasks(dag, STOP)[world.name(7)]["state"] == "SUCCEED"
    assert world.pid(7) is None
    assert world.pid(8) is not None
    async with world.client() as client:
        await client.operate_dag(dag["id"], "RETRY")
        mended = await wait_dag(client, dag["id"])
    assert mended["state"] == "SUCCEED", told(mended)
    assert world.pid(8) is None


# --- operators -----------------------------------------------------------------------------------


async def hold_freeze(world: OceanWorld, client: Client, number: int) -> dict[str, Any]:
    """A stop that waits for a checkpoint that does not grow."""
    world.ledger.set(f"stuck {world.cluster.members[number].rpc_port}", "yes")
    dag = await client.stop("SERVER", [world.name(number)], terminate=True)

    async def waits() -> bool:
        found = await client.get_dag(dag["id"])
        return "waiting for their checkpoints" in told(found)

    await eventually(waits, timeout_s=60, what="the wait for the checkpoint")
    return dag


async def test_a_cancelled_stop_ends_nothing_and_its_retry_does(world: OceanWorld) -> None:
    async with world.client() as client:
        dag = await hold_freeze(world, client, 5)
        waits = (await client.get_dag(dag["id"]))["additional_data"]["wait"]
        assert any("checkpoints" in wait["on"] for wait in waits.values())
        await client.operate_dag(dag["id"], "CANCEL")
        ended = await wait_dag(client, dag["id"])
        assert (ended["state"], ended["operator"]) == ("FAILED", "CANCEL")
        assert world.pid(5) is not None
        world.ledger.set(f"stuck {world.cluster.members[5].rpc_port}", "")
        await client.operate_dag(dag["id"], "RETRY")
        done = await wait_dag(client, dag["id"])
        assert done["state"] == "SUCCEED", told(done)
        assert world.pid(5) is None


async def test_a_stop_goes_on_when_its_controller_was_killed(world: OceanWorld) -> None:
    async with world.client() as client:
        dag = await hold_freeze(world, client, 7)
    await world.end_controller(signal.SIGKILL)
    assert world.pid(7) is not None
    world.ledger.set(f"stuck {world.cluster.members[7].rpc_port}", "")
    await world.start_controller()
    async with world.client() as client:
        done = await wait_dag(client, dag["id"])
    assert done["state"] == "SUCCEED", told(done)
    assert world.pid(7) is None
    freeze = done["nodes"][FREEZE - 1]["sub_tasks"][0]
    assert freeze["execute_times"] == 1  # what was interrupted costs no try


async def test_a_rollback_is_taken_before_anything_was_stopped_and_refused_after(
    world: OceanWorld,
) -> None:
    async with world.client() as client:
        dag = await hold_freeze(world, client, 5)
        await client.operate_dag(dag["id"], "CANCEL")
        await wait_dag(client, dag["id"])
        await client.operate_dag(dag["id"], "ROLLBACK")
        undone = await wait_dag(client, dag["id"])
        assert (undone["state"], undone["operator"]) == ("SUCCEED", "ROLLBACK")
        world.ledger.set(f"stuck {world.cluster.members[5].rpc_port}", "")

        with world.unplugged(8):
            failed = await stop(world, "SERVER", world.name(7), world.name(8), force=True)
        with pytest.raises(ApiRefused) as caught:
            await client.operate_dag(failed["id"], "ROLLBACK")
        assert caught.value.code == "Task.Dag.Operator.RollbackNotAllowed"
        assert "Stop observers" in caught.value.message


async def test_a_stop_that_hangs_holds_the_lock_until_a_start_passes_it(world: OceanWorld) -> None:
    async with world.client() as client:
        stuck = await hold_freeze(world, client, 2)
        refused = await wait_dag(client, (await client.start("SERVER", [world.name(0)]))["id"])
        assert (refused["state"], refused["stage"]) == ("FAILED", 1)
        assert stuck["id"] in told(refused)
        lock_successor_id = await client.start("SERVER", [world.name(0)], [stuck["id"]])
        assert (await wait_dag(client, lock_successor_id["id"]))["state"] == "SUCCEED"
        assert (await client.get_dag(stuck["id"]))["operator"] == "PASS"
        world.ledger.set(f"stuck {world.cluster.members[2].rpc_port}", "")
        assert world.pid(2) is not None


async def test_the_official_sdk_stops_servers_in_all_three_ways(world: OceanWorld) -> None:
    sdk = world.sdk()
    plain = await asyncio.to_thread(sdk.stop_sync, "ZONE", ["zone2"])
    assert (plain.name, plain.state) == ("Stop OB", "SUCCEED")
    ended = await asyncio.to_thread(sdk.stop_sync, "ZONE", ["zone2"], False, True)
    assert ended.state == "SUCCEED"
    killed = await asyncio.to_thread(sdk.stop_sync, "GLOBAL", [], True)
    assert killed.state == "SUCCEED"
    assert world.pids() == [None] * 9
    with pytest.raises(OBShellHandleError, match="ForceStopOrTerminateRequired"):
        await asyncio.to_thread(sdk.stop_sync, "GLOBAL", [])
