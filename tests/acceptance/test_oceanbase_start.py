"""`Start OB` on the oceanbase flavour: three zones of three stand-in observers each."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dagengine.testing import eventually
from tests.acceptance.conftest import all_log_lines, sub_tasks, wait_dag
from tests.acceptance.oceanbase_cluster import OceanTestbed, make_ocean_testbed

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

CHECK, START, HEALTH, CLUSTER, VERIFY = 2, 3, 4, 5, 6
ALL = list(range(9))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def testbed() -> AsyncIterator[OceanTestbed]:
    """A cluster that was started by the DAG `first`."""
    async with make_ocean_testbed() as testbed:
        await testbed.start_controller()
        testbed.first = await start(testbed, "GLOBAL")
        yield testbed


async def start(testbed: OceanTestbed, scope: str, *targets: str) -> dict[str, Any]:
    async with testbed.client() as client:
        return await wait_dag(client, (await client.start(scope, list(targets)))["id"])


async def retry(testbed: OceanTestbed, dag: dict[str, Any]) -> dict[str, Any]:
    async with testbed.client() as client:
        await client.operate_dag(dag["id"], "RETRY")
        return await wait_dag(client, dag["id"])


def last_line(dag: dict[str, Any], stage: int) -> str:
    (task,) = dag["nodes"][stage - 1]["sub_tasks"]
    return str(task["task_logs"][-1])


async def test_start_global_brings_every_server_into_service(testbed: OceanTestbed) -> None:
    dag = testbed.first
    assert (dag["name"], dag["state"], dag["max_stage"]) == ("Start OB", "SUCCEED", 6), (
        all_log_lines(dag)
    )
    assert testbed.serving() == ALL
    evidence = dag["additional_data"]["evidence"]
    for number in ALL:
        server_evidence = evidence[testbed.name(number)]
        assert (server_evidence["level"], server_evidence["cross_checked"]) == ("in service", True)
    statements = testbed.take_statements()
    assert statements[:9] == [
        f"ALTER SYSTEM START SERVER '127.0.0.1:{member.rpc_port}'"
        for member in testbed.cluster.members
    ]
    assert statements[9:] == [f"ALTER SYSTEM START ZONE 'zone{n}'" for n in (1, 2, 3)]
    assert "ACTIVE already" in all_log_lines(dag)


async def test_start_repeated_changes_no_process(testbed: OceanTestbed) -> None:
    before = testbed.pids()
    dag = await start(testbed, "GLOBAL")
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert all_log_lines(dag).count("already running") == 18
    assert testbed.pids() == before


async def test_start_single_server_skips_cross_check_and_zones(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(4)
    testbed.take_statements()
    dag = await start(testbed, "SERVER", testbed.name(4))
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert "not cross-checked" in last_line(dag, VERIFY)
    assert dag["additional_data"]["evidence"][testbed.name(4)]["cross_checked"] is False
    port = testbed.cluster.members[4].rpc_port
    assert testbed.take_statements() == [f"ALTER SYSTEM START SERVER '127.0.0.1:{port}'"]
    assert testbed.serving() == ALL


async def test_start_contacts_no_host_outside_scope(testbed: OceanTestbed) -> None:
    await testbed.kill(2)
    down = testbed.cluster.servers[8].host.pid
    logs = [testbed.watch_sshd(number) for number in ALL if number != 2]
    os.kill(down, signal.SIGSTOP)  # it takes connections and answers nothing
    try:
        dag = await start(testbed, "SERVER", testbed.name(2))
    finally:
        os.kill(down, signal.SIGCONT)  # would now log the missed events
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    repeated = await start(testbed, "SERVER", testbed.name(2))
    assert repeated["state"] == "SUCCEED"
    assert [log() for log in logs] == [""] * 8


async def test_start_stopped_zone_and_server_are_started_by_sql(testbed: OceanTestbed) -> None:
    execute_sql = testbed.ledger.execute
    execute_sql(testbed.cluster.members[0], "ALTER SYSTEM STOP ZONE 'zone2'")
    port = testbed.cluster.members[3].rpc_port
    execute_sql(testbed.cluster.members[0], f"ALTER SYSTEM STOP SERVER '127.0.0.1:{port}'")
    testbed.take_statements()
    dag = await start(testbed, "ZONE", "zone2")
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert testbed.take_statements()[-1] == "ALTER SYSTEM START ZONE 'zone2'"
    assert ("zone2", "ACTIVE") in testbed.ledger.rows("SELECT zone, status FROM DBA_OB_ZONES")
    assert testbed.ledger.rows("SELECT 1 FROM server WHERE stop_time IS NOT NULL") == []


async def test_rollback_stops_only_servers_started_by_its_dag(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(0, 8)
    with testbed.unplugged(8):
        dag = await start(testbed, "GLOBAL")
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), all_log_lines(dag)
    assert testbed.serving() == ALL[:-1]
    before = testbed.pids()
    async with testbed.client() as client:
        await client.operate_dag(dag["id"], "ROLLBACK")
        undone = await wait_dag(client, dag["id"])
    assert (undone["state"], undone["operator"]) == ("SUCCEED", "ROLLBACK"), all_log_lines(undone)
    assert testbed.pids() == [None, *before[1:]]
    assert (await start(testbed, "GLOBAL"))["state"] == "SUCCEED"
    assert testbed.serving() == ALL


async def test_cancel_hanging_start_can_be_rolled_back(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(4)
    testbed.cluster.wish(4, hangs=True)
    async with testbed.client() as client:
        dag = await client.start("SERVER", [testbed.name(4)])

        async def waits() -> bool:
            current = await client.get_dag(dag["id"])
            waiting = current["additional_data"].get("wait", {}).get(testbed.name(4), {})
            return current["stage"] == HEALTH and waiting.get("kind") == "sql"

        await eventually(waits, timeout_s=60, what="the wait for SQL")
        await client.operate_dag(dag["id"], "CANCEL")
        ended = await wait_dag(client, dag["id"])
        assert (ended["state"], ended["operator"]) == ("FAILED", "CANCEL")
        assert testbed.pid(4) is not None
        await client.operate_dag(dag["id"], "ROLLBACK")
        undone = await wait_dag(client, dag["id"])
    assert undone["state"] == "SUCCEED", all_log_lines(undone)
    assert testbed.pid(4) is None
    testbed.cluster.wish(4, boot_s=1.5)
    assert (await start(testbed, "SERVER", testbed.name(4)))["state"] == "SUCCEED"
    testbed.cluster.wish(4)


async def test_cluster_monitor_reports_states_of_cluster_table(testbed: OceanTestbed) -> None:
    stopped = testbed.cluster.members[7]
    testbed.ledger.execute(stopped, f"ALTER SYSTEM STOP SERVER '127.0.0.1:{stopped.rpc_port}'")
    await testbed.kill(8)

    async def read_states() -> dict[int, str]:
        async with testbed.client() as client:
            zones = (await client.get("/ob/info"))["obcluster_info"]["topology"]
        # null until the first server of nine has been probed
        servers = [server for zone in (zones or {}).values() for server in zone]
        return {server["svr_port"]: server["status"] for server in servers}

    async def has_states() -> bool:
        states = await read_states()
        statuses = [states.get(testbed.cluster.members[number].rpc_port) for number in (0, 7, 8)]
        return statuses == ["ACTIVE", "STOPPED", "INACTIVE"]

    await eventually(has_states, timeout_s=60, what="the states of the cluster's table")
    assert (await start(testbed, "ZONE", "zone3"))["state"] == "SUCCEED"

    await testbed.kill(0, 3)

    async def is_restricted() -> bool:
        async with testbed.client() as client:
            states = await client.get("/agents/status")
        return bool(states[testbed.name(1)]["obState"] == 2)

    await eventually(is_restricted, timeout_s=60, what="a restricted connection")
    assert (await start(testbed, "GLOBAL"))["state"] == "SUCCEED"
    async with testbed.client() as client:
        assert (await client.status())["obState"] == 3


async def test_start_without_majority_names_missing_servers(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(3, 4, 5, 6, 7, 8)
    testbed.set_sql_timeout(2)
    dag = await start(testbed, "ZONE", "zone1")
    testbed.set_sql_timeout(60)
    assert (dag["state"], dag["stage"]) == ("FAILED", CLUSTER)
    log_line = last_line(dag, CLUSTER)
    assert "a majority of the cluster does not respond" in log_line
    assert "servers of 2 of its 3 zones are needed" in log_line
    assert "responses from servers of 1 (zone1)" in log_line
    for number in (3, 4, 5, 6, 7, 8):
        assert testbed.name(number) in log_line
    assert "start the servers of 1 more zone" in log_line
    regained = await start(testbed, "ZONE", "zone2")
    assert regained["state"] == "SUCCEED", all_log_lines(regained)
    retried = await retry(testbed, dag)
    assert retried["state"] == "SUCCEED", all_log_lines(retried)
    whole = await start(testbed, "GLOBAL")
    assert whole["state"] == "SUCCEED", all_log_lines(whole)
    assert testbed.serving() == ALL


async def test_start_transient_sql_error_is_retried_permanent_fails(
    testbed: OceanTestbed,
) -> None:
    testbed.cluster.wish(0, failures=3, code=4023)
    dag = await start(testbed, "SERVER", testbed.name(0))
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    testbed.cluster.wish(0, failures=4, code=1227)
    testbed.take_statements()
    dag = await start(testbed, "SERVER", testbed.name(0))
    assert (dag["state"], dag["stage"]) == ("FAILED", CLUSTER)
    assert "1227" in last_line(dag, CLUSTER)
    testbed.cluster.wish(0)
    assert (await retry(testbed, dag))["state"] == "SUCCEED"


async def test_start_server_out_of_disk_fails_alone(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(1, 7)
    testbed.cluster.wish(7, refuses_sql=True)
    async with testbed.client() as client:
        dag = await client.start("GLOBAL")

        async def waits() -> bool:
            tasks = sub_tasks(await client.get_dag(dag["id"]), HEALTH)
            return tasks[testbed.name(7)]["state"] == "RUNNING"

        await eventually(waits, timeout_s=60, what="the health wait of the server")
        testbed.cluster.wish(7, refuses_sql=True, dies="out of disk")
        dag = await wait_dag(client, dag["id"])
    assert (dag["state"], dag["stage"]) == ("FAILED", HEALTH), all_log_lines(dag)
    log_line = sub_tasks(dag, HEALTH)[testbed.name(7)]["task_logs"][-1]
    assert "-4184" in log_line
    assert "disk" in log_line
    assert dag["nodes"][VERIFY - 1]["state"] == "SUCCEED"
    assert testbed.serving() == [number for number in ALL if number != 7]
    testbed.cluster.wish(7)
    assert (await retry(testbed, dag))["state"] == "SUCCEED"
    assert testbed.serving() == ALL


async def test_start_server_not_in_service_fails_at_verify_stage(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(5)
    testbed.cluster.wish(5, never_serves=True)
    testbed.set_sql_timeout(2)
    dag = await start(testbed, "ZONE", "zone2")
    assert (dag["state"], dag["stage"]) == ("FAILED", VERIFY), all_log_lines(dag)
    assert "not yet in service" in last_line(dag, VERIFY)
    evidence = dag["additional_data"]["evidence"]
    waiting = evidence[testbed.name(5)]
    assert (waiting["level"], waiting["in_service"]) == ("sql", False)
    assert evidence[testbed.name(3)]["level"] == "in service"
    testbed.set_sql_timeout(60)
    testbed.cluster.wish(5)
    assert (await retry(testbed, dag))["state"] == "SUCCEED"


async def test_start_refused_password_is_named_and_never_set(testbed: OceanTestbed) -> None:
    testbed.cluster.wish(6, password="")
    dag = await start(testbed, "SERVER", testbed.name(6))
    assert (dag["state"], dag["stage"]) == ("FAILED", HEALTH), all_log_lines(dag)
    log_line = sub_tasks(dag, HEALTH)[testbed.name(6)]["task_logs"][-1]
    assert "IncorrectOceanbasePassword" in log_line
    assert "set the configured one" not in all_log_lines(dag)
    testbed.cluster.wish(6)
    assert (await retry(testbed, dag))["state"] == "SUCCEED"


async def test_start_server_without_bootstrap_is_blocked(testbed: OceanTestbed) -> None:
    await testbed.kill(8)
    config = testbed.cluster.servers[8].home / "etc/observer.config.bin"
    aside = config.rename(config.with_name("aside"))
    dag = await start(testbed, "SERVER", testbed.name(8))
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK)
    log_line = sub_tasks(dag, CHECK)[testbed.name(8)]["task_logs"][-1]
    assert "never bootstrapped" in log_line
    assert "obd" in log_line
    aside.rename(config)
    assert (await retry(testbed, dag))["state"] == "SUCCEED"
