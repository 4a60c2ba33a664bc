"""`Start OB` on the oceanbase flavour: three zones of three stand-in observers each."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dagengine.testing import eventually
from tests.acceptance.conftest import sub_tasks, told, wait_dag
from tests.acceptance.ocean import OceanWorld, make_ocean

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

CHECK, START, HEALTH, CLUSTER, VERIFY = 2, 3, 4, 5, 6
ALL = list(range(9))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[OceanWorld]:
    """A cluster that was started as a whole; `first` is the DAG that did it."""
    async with make_ocean() as found:
        await found.start_controller()
        found.first = await start(found, "GLOBAL")
        yield found


async def start(world: OceanWorld, scope: str, *targets: str) -> dict[str, Any]:
    async with world.client() as client:
        return await wait_dag(client, (await client.start(scope, list(targets)))["id"])


async def retry(world: OceanWorld, dag: dict[str, Any]) -> dict[str, Any]:
    async with world.client() as client:
        await client.operate_dag(dag["id"], "RETRY")
        return await wait_dag(client, dag["id"])


def last_line(dag: dict[str, Any], stage: int) -> str:
    (task,) = dag["nodes"][stage - 1]["sub_tasks"]
    return str(task["task_logs"][-1])


async def test_a_global_start_brings_every_server_into_service(world: OceanWorld) -> None:
    dag = world.first
    assert (dag["name"], dag["state"], dag["max_stage"]) == ("Start OB", "SUCCEED", 6), told(dag)
    assert world.serving() == ALL
    evidence = dag["additional_data"]["evidence"]
    for number in ALL:
        found = evidence[world.name(number)]
        assert (found["level"], found["cross_checked"]) == ("in service", True)
    statements = world.take_statements()
    assert statements[:9] == [
        f"ALTER SYSTEM START SERVER '127.0.0.1:{member.rpc_port}'"
        for member in world.cluster.members
    ]
    assert statements[9:] == [f"ALTER SYSTEM START ZONE 'zone{n}'" for n in (1, 2, 3)]
    assert "ACTIVE already" in told(dag)


async def test_a_second_start_changes_no_process(world: OceanWorld) -> None:
    before = world.pids()
    dag = await start(world, "GLOBAL")
    assert dag["state"] == "SUCCEED", told(dag)
    assert told(dag).count("already running") == 18
    assert world.pids() == before


async def test_one_server_alone_is_not_cross_checked_and_no_zone_is_started(
    world: OceanWorld,
) -> None:
    await world.kill(4)
    world.take_statements()
    dag = await start(world, "SERVER", world.name(4))
    assert dag["state"] == "SUCCEED", told(dag)
    assert "not cross-checked" in last_line(dag, VERIFY)
    assert dag["additional_data"]["evidence"][world.name(4)]["cross_checked"] is False
    port = world.cluster.members[4].rpc_port
    assert world.take_statements() == [f"ALTER SYSTEM START SERVER '127.0.0.1:{port}'"]
    assert world.serving() == ALL


async def test_a_host_out_of_scope_is_not_contacted_though_it_is_down(world: OceanWorld) -> None:
    await world.kill(2)
    down = world.cluster.servers[8].host.pid
    logs = [world.watch_sshd(number) for number in ALL if number != 2]
    os.kill(down, signal.SIGSTOP)  # it takes connections and answers nothing
    try:
        dag = await start(world, "SERVER", world.name(2))
    finally:
        os.kill(down, signal.SIGCONT)  # would now log what came meanwhile
    assert dag["state"] == "SUCCEED", told(dag)
    again = await start(world, "SERVER", world.name(2))
    assert again["state"] == "SUCCEED"
    assert [log() for log in logs] == [""] * 8


async def test_a_stopped_zone_and_a_stopped_server_are_started_by_sql(world: OceanWorld) -> None:
    ask = world.ledger.execute
    ask(world.cluster.members[0], "ALTER SYSTEM STOP ZONE 'zone2'")
    port = world.cluster.members[3].rpc_port
    ask(world.cluster.members[0], f"ALTER SYSTEM STOP SERVER '127.0.0.1:{port}'")
    world.take_statements()
    dag = await start(world, "ZONE", "zone2")
    assert dag["state"] == "SUCCEED", told(dag)
    assert world.take_statements()[-1] == "ALTER SYSTEM START ZONE 'zone2'"
    assert ("zone2", "ACTIVE") in world.ledger.rows("SELECT zone, status FROM DBA_OB_ZONES")
    assert world.ledger.rows("SELECT 1 FROM server WHERE stop_time IS NOT NULL") == []


async def test_a_rollback_ends_what_this_start_has_begun_and_nothing_else(
    world: OceanWorld,
) -> None:
    await world.kill(0, 8)
    with world.unplugged(8):
        dag = await start(world, "GLOBAL")
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), told(dag)
    assert world.serving() == ALL[:-1]
    before = world.pids()
    async with world.client() as client:
        await client.operate_dag(dag["id"], "ROLLBACK")
        undone = await wait_dag(client, dag["id"])
    assert (undone["state"], undone["operator"]) == ("SUCCEED", "ROLLBACK"), told(undone)
    assert world.pids() == [None, *before[1:]]
    assert (await start(world, "GLOBAL"))["state"] == "SUCCEED"
    assert world.serving() == ALL


async def test_a_server_that_hangs_is_cancelled_and_its_start_rolled_back(
    world: OceanWorld,
) -> None:
    await world.kill(4)
    world.cluster.wish(4, hangs=True)
    async with world.client() as client:
        dag = await client.start("SERVER", [world.name(4)])

        async def waits() -> bool:
            found = await client.get_dag(dag["id"])
            waiting = found["additional_data"].get("wait", {}).get(world.name(4), {})
            return found["stage"] == HEALTH and waiting.get("kind") == "sql"

        await eventually(waits, timeout_s=60, what="the wait for SQL")
        await client.operate_dag(dag["id"], "CANCEL")
        ended = await wait_dag(client, dag["id"])
        assert (ended["state"], ended["operator"]) == ("FAILED", "CANCEL")
        assert world.pid(4) is not None
        await client.operate_dag(dag["id"], "ROLLBACK")
        undone = await wait_dag(client, dag["id"])
    assert undone["state"] == "SUCCEED", told(undone)
    assert world.pid(4) is None
    world.cluster.wish(4, boot_s=1.5)
    assert (await start(world, "SERVER", world.name(4)))["state"] == "SUCCEED"
    world.cluster.wish(4)


async def test_the_cluster_is_read_as_its_own_table_has_it(world: OceanWorld) -> None:
    stopped = world.cluster.members[7]
    world.ledger.execute(stopped, f"ALTER SYSTEM STOP SERVER '127.0.0.1:{stopped.rpc_port}'")
    await world.kill(8)

    async def read_states() -> dict[int, str]:
        async with world.client() as client:
            zones = (await client.get("/ob/info"))["obcluster_info"]["topology"]
        servers = [server for zone in zones.values() for server in zone]
        return {server["svr_port"]: server["status"] for server in servers}

    async def is_told() -> bool:
        states = await read_states()
        told_of = [states[world.cluster.members[number].rpc_port] for number in (0, 7, 8)]
        return told_of == ["ACTIVE", "STOPPED", "INACTIVE"]

    await eventually(is_told, timeout_s=60, what="the states of the cluster's table")
    assert (await start(world, "ZONE", "zone3"))["state"] == "SUCCEED"

    await world.kill(0, 3)

    async def is_restricted() -> bool:
        async with world.client() as client:
            states = await client.get("/agents/status")
        return bool(states[world.name(1)]["obState"] == 2)

    await eventually(is_restricted, timeout_s=60, what="a restricted connection")
    assert (await start(world, "GLOBAL"))["state"] == "SUCCEED"
    async with world.client() as client:
        assert (await client.status())["obState"] == 3


async def test_a_lost_majority_is_told_with_what_is_missing_and_regained_by_a_start(
    world: OceanWorld,
) -> None:
    await world.kill(3, 4, 5, 6, 7, 8)
    world.set_sql_timeout(2)
    dag = await start(world, "ZONE", "zone1")
    world.set_sql_timeout(60)
    assert (dag["state"], dag["stage"]) == ("FAILED", CLUSTER)
    said = last_line(dag, CLUSTER)
    assert "no majority" in said
    assert "servers of 2 of its 3 zones are needed" in said
    assert "1 answer (zone1)" in said
    for number in (3, 4, 5, 6, 7, 8):
        assert world.name(number) in said
    assert "start the servers of 1 more zone" in said
    regained = await start(world, "ZONE", "zone2")
    assert regained["state"] == "SUCCEED", told(regained)
    mended = await retry(world, dag)
    assert mended["state"] == "SUCCEED", told(mended)
    whole = await start(world, "GLOBAL")
    assert whole["state"] == "SUCCEED", told(whole)
    assert world.serving() == ALL


async def test_what_passes_is_tried_again_and_what_does_not_is_told_at_once(
    world: OceanWorld,
) -> None:
    world.cluster.wish(0, failures=3, code=4023)
    dag = await start(world, "SERVER", world.name(0))
    assert dag["state"] == "SUCCEED", told(dag)
    world.cluster.wish(0, failures=4, code=1227)
    world.take_statements()
    dag = await start(world, "SERVER", world.name(0))
    assert (dag["state"], dag["stage"]) == ("FAILED", CLUSTER)
    assert "1227" in last_line(dag, CLUSTER)
    world.cluster.wish(0)
    assert (await retry(world, dag))["state"] == "SUCCEED"


async def test_a_server_that_dies_of_a_full_disk_is_told_and_the_others_serve(
    world: OceanWorld,
) -> None:
    await world.kill(1, 7)
    world.cluster.wish(7, refuses_sql=True, dies="out of disk", dies_after_s=0.5)
    dag = await start(world, "GLOBAL")
    assert (dag["state"], dag["stage"]) == ("FAILED", HEALTH), told(dag)
    said = sub_tasks(dag, HEALTH)[world.name(7)]["task_logs"][-1]
    assert "-4184" in said
    assert "disk" in said
    assert dag["nodes"][VERIFY - 1]["state"] == "SUCCEED"
    assert world.serving() == [number for number in ALL if number != 7]
    world.cluster.wish(7)
    assert (await retry(world, dag))["state"] == "SUCCEED"
    assert world.serving() == ALL


async def test_a_server_that_does_not_come_into_service_is_told_by_its_level(
    world: OceanWorld,
) -> None:
    await world.kill(5)
    world.cluster.wish(5, never_serves=True)
    world.set_sql_timeout(2)
    dag = await start(world, "ZONE", "zone2")
    assert (dag["state"], dag["stage"]) == ("FAILED", VERIFY), told(dag)
    assert "not yet in service" in last_line(dag, VERIFY)
    evidence = dag["additional_data"]["evidence"]
    waiting = evidence[world.name(5)]
    assert (waiting["level"], waiting["in_service"]) == ("sql", False)
    assert evidence[world.name(3)]["level"] == "in service"
    world.set_sql_timeout(60)
    world.cluster.wish(5)
    assert (await retry(world, dag))["state"] == "SUCCEED"


async def test_a_refused_password_is_named_and_never_set(world: OceanWorld) -> None:
    world.cluster.wish(6, password="")
    dag = await start(world, "SERVER", world.name(6))
    assert (dag["state"], dag["stage"]) == ("FAILED", HEALTH), told(dag)
    said = sub_tasks(dag, HEALTH)[world.name(6)]["task_logs"][-1]
    assert "IncorrectOceanbasePassword" in said
    assert "set the configured one" not in told(dag)
    world.cluster.wish(6)
    assert (await retry(world, dag))["state"] == "SUCCEED"


async def test_a_server_that_was_never_bootstrapped_is_a_blocker(world: OceanWorld) -> None:
    await world.kill(8)
    config = world.cluster.servers[8].home / "etc/observer.config.bin"
    aside = config.rename(config.with_name("aside"))
    dag = await start(world, "SERVER", world.name(8))
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK)
    said = sub_tasks(dag, CHECK)[world.name(8)]["task_logs"][-1]
    assert "never bootstrapped" in said
    assert "obd" in said
    aside.rename(config)
    assert (await retry(world, dag))["state"] == "SUCCEED"
