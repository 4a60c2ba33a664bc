"""`Stop OB` on the oceanbase flavour: checks, kinds and operators."""

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
from tests.acceptance.conftest import all_log_lines, sub_tasks, wait_dag
from tests.acceptance.oceanbase_cluster import OceanTestbed, make_ocean_testbed

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

CHECK, FREEZE, STOP, SQL, VERIFY = 2, 3, 4, 5, 6
ALL = list(range(9))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[OceanTestbed]:
    async with make_ocean_testbed() as testbed:
        await testbed.start_controller()
        yield testbed


@pytest_asyncio.fixture(loop_scope="module")
async def testbed(running: OceanTestbed) -> OceanTestbed:
    """Every server is in service."""
    for number in ALL:
        running.cluster.wish(number)
    if running.serving() != ALL or running.ledger.rows(
        "SELECT 1 FROM server WHERE stop_time IS NOT NULL"
        " UNION SELECT 1 FROM zone WHERE status <> 'ACTIVE'"
    ):
        async with running.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "SUCCEED", all_log_lines(dag)
    running.take_statements()
    return running


async def stop(testbed: OceanTestbed, scope: str, *targets: str, **flags: bool) -> dict[str, Any]:
    async with testbed.client() as client:
        return await wait_dag(client, (await client.stop(scope, list(targets), **flags))["id"])


async def refusal(
    testbed: OceanTestbed, scope: str, *targets: str, **flags: bool
) -> tuple[str, str]:
    async with testbed.client() as client:
        with pytest.raises(ApiRefused) as caught:
            await client.stop(scope, list(targets), **flags)
    assert caught.value.status == 400
    return caught.value.code, caught.value.message


def last_line(dag: dict[str, Any], stage: int) -> str:
    (task,) = dag["nodes"][stage - 1]["sub_tasks"]
    return str(task["task_logs"][-1])


# --- plain: by SQL -----------------------------------------------------------------------------


async def test_stop_plain_of_zone_keeps_processes(
    testbed: OceanTestbed,
) -> None:
    before = testbed.pids()
    dag = await stop(testbed, "ZONE", "zone3")
    assert (dag["name"], dag["state"], dag["max_stage"]) == ("Stop OB", "SUCCEED", 6), (
        all_log_lines(dag)
    )
    assert testbed.take_statements() == ["ALTER SYSTEM STOP ZONE 'zone3'"]
    assert ("zone3", "INACTIVE") in testbed.ledger.rows("SELECT zone, status FROM zone")
    assert testbed.pids() == before
    stopped = dag["additional_data"]["evidence"][testbed.name(6)]
    assert (stopped["level"], stopped["in_service"]) == ("sql", False)


async def test_zone_stop_route_freezes_before_stop(testbed: OceanTestbed) -> None:
    before = testbed.pids()
    async with testbed.client() as client:
        path = "/ob/zone/zone3/stop"
        assert await client.post(f"{path}/check", {"freeze_server": True}) == {}
        assert testbed.take_statements() == []
        created = await client.create(path, {"freeze_server": True, "reason": "maintenance"})
        dag = await wait_dag(client, created["id"])
        assert (dag["name"], dag["state"]) == ("Stop OB", "SUCCEED"), all_log_lines(dag)
        assert [row["reason"] for row in await client.list_audit(dag["id"])] == ["maintenance"]
        freeze, stop_zone = testbed.take_statements()
        assert freeze.lower().startswith("alter system minor freeze")
        assert stop_zone == "ALTER SYSTEM STOP ZONE 'zone3'"
        assert testbed.pids() == before
        for route in (path.replace("zone3", "zone1"), f"{path.replace('zone3', 'zone1')}/check"):
            with pytest.raises(ApiRefused, match=r"OB\.Server\.StoppedInMultiZone"):
                await client.post(route, {})
        with pytest.raises(ApiRefused, match=r"OB\.Zone\.NotExist"):
            await client.post("/ob/zone/zone9/stop", {})
    assert testbed.take_statements() == []


async def test_stop_plain_of_servers_uses_cluster_addresses(testbed: OceanTestbed) -> None:
    dag = await stop(testbed, "SERVER", testbed.name(4), testbed.name(3))
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    ports = [testbed.cluster.members[number].rpc_port for number in (3, 4)]
    assert testbed.take_statements() == [
        f"ALTER SYSTEM STOP SERVER '127.0.0.1:{port}'" for port in ports
    ]
    stopped = testbed.ledger.rows("SELECT svr_port FROM server WHERE stop_time IS NOT NULL")
    assert sorted(stopped) == sorted((port,) for port in ports)


async def test_stop_plain_of_dead_server_succeeds(testbed: OceanTestbed) -> None:
    await testbed.kill(5)
    with testbed.unplugged(5):
        dag = await stop(testbed, "SERVER", testbed.name(5))
    assert dag["state"] == "SUCCEED", all_log_lines(dag)


# --- refusals, in the order of the checks --------------------------------------------------------


async def test_stop_invalid_request_is_refused_by_code(testbed: OceanTestbed) -> None:
    first, fourth = testbed.name(0), testbed.name(3)
    assert (await refusal(testbed, "GLOBAL"))[0] == "OB.Cluster.ForceStopOrTerminateRequired"
    both = {"force": True, "terminate": True}
    assert (await refusal(testbed, "GLOBAL", **both))[0] == "OB.Cluster.StopModeConflict"
    assert (await refusal(testbed, "ZONE", "zone1", **both))[0] == "OB.Cluster.StopModeConflict"
    assert (await refusal(testbed, "ZONE", "zone9", **both))[0] == "OB.Zone.NotExist"
    assert (await refusal(testbed, "PLANET"))[0] == "OB.Cluster.Scope.Invalid"
    assert (await refusal(testbed, "SERVER"))[0] == "Common.IllegalArgument"
    code, message = await refusal(testbed, "SERVER", first, fourth)
    assert code == "OB.Server.StoppedInMultiZone"
    assert "zone1, zone2" in message
    assert (await refusal(testbed, "ZONE", "zone1", "zone2"))[0] == "OB.Server.StoppedInMultiZone"
    assert testbed.take_statements() == []


async def test_stop_second_zone_out_of_service_is_refused(testbed: OceanTestbed) -> None:
    assert (await stop(testbed, "SERVER", testbed.name(8)))["state"] == "SUCCEED"
    code, message = await refusal(testbed, "ZONE", "zone1")
    assert code == "OB.Server.StoppedInMultiZone"
    assert "zone3" in message
    assert (await refusal(testbed, "SERVER", testbed.name(0)))[0] == "OB.Server.StoppedInMultiZone"
    assert (await stop(testbed, "ZONE", "zone3"))["state"] == "SUCCEED"


async def test_stop_zone_needed_by_tenant_majority_is_refused(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(4)  # in zone2 the only replica of the log stream of the second rank
    code, message = await refusal(testbed, "ZONE", "zone3")
    assert code == "OB.Cluster.Tenant.Replica.Invalid"
    assert "shop (log stream 1002)" in message
    assert (await stop(testbed, "ZONE", "zone2"))["state"] == "SUCCEED"


async def test_stop_without_majority_allows_only_force(testbed: OceanTestbed) -> None:
    await testbed.kill(0, 3)
    code, message = await refusal(testbed, "SERVER", testbed.name(8), terminate=True)
    assert code == "OB.Cluster.ForceStopRequired"
    assert "majority" in message
    assert (await refusal(testbed, "ZONE", "zone3", force=True))[
        0
    ] == "OB.Cluster.ForceStopRequired"
    dag = await stop(testbed, "SERVER", testbed.name(8), force=True)
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert testbed.pid(8) is None


# --- terminate and force -------------------------------------------------------------------------


async def test_stop_terminate_freezes_before_ending_processes(testbed: OceanTestbed) -> None:
    ports = [testbed.cluster.members[number].rpc_port for number in (6, 7, 8)]
    dag = await stop(testbed, "ZONE", "zone3", terminate=True)
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    names = ", ".join(f"'127.0.0.1:{port}'" for port in ports)
    assert testbed.take_statements() == [f"ALTER SYSTEM MINOR FREEZE SERVER = ({names})"]
    assert "every checkpoint has grown" in last_line(dag, FREEZE)
    assert [testbed.pid(number) for number in (6, 7, 8)] == [None, None, None]
    assert testbed.serving() == [0, 1, 2, 3, 4, 5]
    assert dag["additional_data"]["evidence"][testbed.name(7)]["ended_by"] == "SIGTERM"


async def test_stop_freeze_time_out_fails_and_can_be_passed(
    testbed: OceanTestbed,
) -> None:
    port = testbed.cluster.members[7].rpc_port
    testbed.ledger.set(f"stuck {port}", "yes")
    testbed.cluster.entries["stop"] = {"freeze_timeout_s": 1}
    testbed.cluster.write()
    dag = await stop(testbed, "SERVER", testbed.name(7), terminate=True)
    testbed.ledger.set(f"stuck {port}", "")
    del testbed.cluster.entries["stop"]
    testbed.cluster.write()
    assert (dag["state"], dag["stage"]) == ("FAILED", FREEZE), all_log_lines(dag)
    assert "OB.Cluster.MinorFreezeTimeout" in last_line(dag, FREEZE)
    assert testbed.name(7) in last_line(dag, FREEZE)
    assert testbed.pid(7) is not None
    async with testbed.client() as client:
        await client.pass_node(dag["nodes"][FREEZE - 1]["id"])
        done = await wait_dag(client, dag["id"])
    assert done["state"] == "SUCCEED", all_log_lines(done)
    assert testbed.pid(7) is None


async def test_stop_force_ends_all_servers_and_is_repeatable(testbed: OceanTestbed) -> None:
    dag = await stop(testbed, "GLOBAL", force=True)
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert testbed.pids() == [None] * 9
    assert testbed.take_statements() == []
    repeated = await stop(testbed, "GLOBAL", force=True)
    assert repeated["state"] == "SUCCEED", all_log_lines(repeated)
    assert all_log_lines(repeated).count("does not run: nothing to stop") == 9


async def test_stop_server_ignoring_sigterm_is_killed(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(1)
    testbed.cluster.wish(1, ignores_term=True)
    testbed.cluster.entries["stop"] = {"kill_after_s": 1}
    testbed.cluster.write()
    async with testbed.client() as client:
        started = await wait_dag(client, (await client.start("SERVER", [testbed.name(1)]))["id"])
    assert started["state"] == "SUCCEED", all_log_lines(started)
    dag = await stop(testbed, "SERVER", testbed.name(1), force=True)
    del testbed.cluster.entries["stop"]
    testbed.cluster.write()
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert testbed.pid(1) is None
    assert "did not end within 1 s of SIGTERM" in all_log_lines(dag)
    assert dag["additional_data"]["evidence"][testbed.name(1)]["ended_by"] == "SIGKILL"


async def test_stop_unreachable_host_fails_alone_and_is_retried(
    testbed: OceanTestbed,
) -> None:
    with testbed.unplugged(8):
        dag = await stop(testbed, "SERVER", testbed.name(7), testbed.name(8), force=True)
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), all_log_lines(dag)
    assert sub_tasks(dag, STOP)[testbed.name(7)]["state"] == "SUCCEED"
    assert testbed.pid(7) is None
    assert testbed.pid(8) is not None
    async with testbed.client() as client:
        await client.operate_dag(dag["id"], "RETRY")
        retried = await wait_dag(client, dag["id"])
    assert retried["state"] == "SUCCEED", all_log_lines(retried)
    assert testbed.pid(8) is None


# --- operators -----------------------------------------------------------------------------------


async def hold_freeze(testbed: OceanTestbed, client: Client, number: int) -> dict[str, Any]:
    """A stop that waits for a checkpoint that does not grow."""
    testbed.ledger.set(f"stuck {testbed.cluster.members[number].rpc_port}", "yes")
    dag = await client.stop("SERVER", [testbed.name(number)], terminate=True)

    async def waits() -> bool:
        current = await client.get_dag(dag["id"])
        return "waiting for their checkpoints" in all_log_lines(current)

    await eventually(waits, timeout_s=60, what="the wait for the checkpoint")
    return dag


async def test_stop_cancelled_ends_no_process_until_retry(testbed: OceanTestbed) -> None:
    async with testbed.client() as client:
        dag = await hold_freeze(testbed, client, 5)
        waits = (await client.get_dag(dag["id"]))["additional_data"]["wait"]
        assert any("checkpoints" in wait["on"] for wait in waits.values())
        await client.operate_dag(dag["id"], "CANCEL")
        ended = await wait_dag(client, dag["id"])
        assert (ended["state"], ended["operator"]) == ("FAILED", "CANCEL")
        assert testbed.pid(5) is not None
        testbed.ledger.set(f"stuck {testbed.cluster.members[5].rpc_port}", "")
        await client.operate_dag(dag["id"], "RETRY")
        done = await wait_dag(client, dag["id"])
        assert done["state"] == "SUCCEED", all_log_lines(done)
        assert testbed.pid(5) is None


async def test_stop_controller_killed_is_resumed(testbed: OceanTestbed) -> None:
    async with testbed.client() as client:
        dag = await hold_freeze(testbed, client, 7)
    await testbed.end_controller(signal.SIGKILL)
    assert testbed.pid(7) is not None
    testbed.ledger.set(f"stuck {testbed.cluster.members[7].rpc_port}", "")
    await testbed.start_controller()
    async with testbed.client() as client:
        done = await wait_dag(client, dag["id"])
    assert done["state"] == "SUCCEED", all_log_lines(done)
    assert testbed.pid(7) is None
    freeze = done["nodes"][FREEZE - 1]["sub_tasks"][0]
    assert freeze["execute_times"] == 1  # an interrupted attempt does not count


async def test_stop_rollback_is_refused_after_first_process_end(
    testbed: OceanTestbed,
) -> None:
    async with testbed.client() as client:
        dag = await hold_freeze(testbed, client, 5)
        await client.operate_dag(dag["id"], "CANCEL")
        await wait_dag(client, dag["id"])
        await client.operate_dag(dag["id"], "ROLLBACK")
        undone = await wait_dag(client, dag["id"])
        assert (undone["state"], undone["operator"]) == ("SUCCEED", "ROLLBACK")
        testbed.ledger.set(f"stuck {testbed.cluster.members[5].rpc_port}", "")

        with testbed.unplugged(8):
            failed = await stop(testbed, "SERVER", testbed.name(7), testbed.name(8), force=True)
        with pytest.raises(ApiRefused) as caught:
            await client.operate_dag(failed["id"], "ROLLBACK")
        assert caught.value.code == "Task.Dag.Operator.RollbackNotAllowed"
        assert "Stop observers" in caught.value.message


async def test_stop_hanging_holds_lock_until_force_pass(testbed: OceanTestbed) -> None:
    async with testbed.client() as client:
        hanging = await hold_freeze(testbed, client, 2)
        refused = await wait_dag(client, (await client.start("SERVER", [testbed.name(0)]))["id"])
        assert (refused["state"], refused["stage"]) == ("FAILED", 1)
        assert hanging["id"] in all_log_lines(refused)
        successor = await client.start("SERVER", [testbed.name(0)], [hanging["id"]])
        assert (await wait_dag(client, successor["id"]))["state"] == "SUCCEED"
        assert (await client.get_dag(hanging["id"]))["operator"] == "PASS"
        testbed.ledger.set(f"stuck {testbed.cluster.members[2].rpc_port}", "")
        assert testbed.pid(2) is not None


async def test_sdk_stop_supports_all_three_modes(testbed: OceanTestbed) -> None:
    sdk = testbed.sdk()
    plain = await asyncio.to_thread(sdk.stop_sync, "ZONE", ["zone2"])
    assert (plain.name, plain.state) == ("Stop OB", "SUCCEED")
    ended = await asyncio.to_thread(sdk.stop_sync, "ZONE", ["zone2"], False, True)
    assert ended.state == "SUCCEED"
    killed = await asyncio.to_thread(sdk.stop_sync, "GLOBAL", [], True)
    assert killed.state == "SUCCEED"
    assert testbed.pids() == [None] * 9
    with pytest.raises(OBShellHandleError, match="ForceStopOrTerminateRequired"):
        await asyncio.to_thread(sdk.stop_sync, "GLOBAL", [])
