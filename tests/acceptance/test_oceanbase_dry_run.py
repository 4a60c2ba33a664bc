"""`?dryRun=true` of each kind of stop on the oceanbase flavour; nothing is stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dagengine.errors import ApiRefused
from tests.acceptance.conftest import all_log_lines, wait_dag
from tests.acceptance.oceanbase_cluster import OceanTestbed, make_ocean_testbed

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ALL = list(range(6))  # two in each of three zones
LAST = (4, 5)  # those of zone3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[OceanTestbed]:
    async with make_ocean_testbed(per_zone=2) as testbed:
        await testbed.start_controller()
        yield testbed


@pytest_asyncio.fixture(loop_scope="module")
async def testbed(running: OceanTestbed) -> OceanTestbed:
    """Every server is in service."""
    if running.serving() != ALL:
        async with running.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "SUCCEED", all_log_lines(dag)
    running.take_statements()
    return running


async def plan(
    testbed: OceanTestbed, scope: str, *targets: str, **flags: bool
) -> list[dict[str, Any]]:
    """Return the plan for each server, and check that nothing was done."""
    async with testbed.client() as client:
        before = await state_of(testbed), await client.list_dags(), await client.list_audit()
        plan = await client.stop(scope, list(targets), dry_run=True, **flags)
        assert (plan["dry_run"], plan["name"]) == (True, "Stop OB")
        assert plan["lock"] == {"key": "cluster", "dag_id": None, "about": "free"}
        after = await state_of(testbed), await client.list_dags(), await client.list_audit()
    assert after == before
    servers: list[dict[str, Any]] = plan["servers"]
    return servers


async def state_of(testbed: OceanTestbed) -> object:
    """Return running servers, servers in service, and ALTER statements since the last call."""
    return testbed.pids(), testbed.serving(), testbed.take_statements()


def address(testbed: OceanTestbed, number: int) -> str:
    return f"'127.0.0.1:{testbed.cluster.members[number].rpc_port}'"


async def test_dry_run_plain_stop_of_zone_is_one_statement(testbed: OceanTestbed) -> None:
    servers = await plan(testbed, "ZONE", "zone3")
    assert [server["server"] for server in servers] == [testbed.name(n) for n in LAST]
    for server in servers:
        assert (server["verdict"], server["commands"]) == (
            "stop",
            ["ALTER SYSTEM STOP ZONE 'zone3'"],
        )
        assert "its process keeps running" in server["reason"]


async def test_dry_run_plain_stop_of_server_uses_cluster_address(
    testbed: OceanTestbed,
) -> None:
    (server,) = await plan(testbed, "SERVER", testbed.name(5))
    assert server["server"] == testbed.name(5)
    assert server["commands"] == [f"ALTER SYSTEM STOP SERVER {address(testbed, 5)}"]


async def test_dry_run_plain_stop_contacts_no_host(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(5)
    with testbed.unplugged(5):
        (server,) = await plan(testbed, "SERVER", testbed.name(5))
    assert server["verdict"] == "stop"


async def test_dry_run_terminate_plans_freeze_then_process_end(testbed: OceanTestbed) -> None:
    pids = testbed.pids()
    servers = await plan(testbed, "ZONE", "zone3", terminate=True)
    for number, server in zip(LAST, servers, strict=True):
        assert (server["server"], server["verdict"]) == (testbed.name(number), "stop")
        assert server["reason"] == f"runs, pid {pids[number]}; mode terminate"
        freeze, end = server["commands"]
        assert freeze == f"ALTER SYSTEM MINOR FREEZE SERVER = ({address(testbed, number)})"
        assert end.startswith("dagengine-stop ")


async def test_dry_run_force_plans_process_end_only(testbed: OceanTestbed) -> None:
    servers = await plan(testbed, "GLOBAL", force=True)
    assert [server["server"] for server in servers] == [testbed.name(n) for n in ALL]
    for server in servers:
        (command,) = server["commands"]
        assert command.startswith("dagengine-stop ")


async def test_dry_run_terminate_reports_stopped_and_unreachable(
    testbed: OceanTestbed,
) -> None:
    await testbed.kill(4)
    with testbed.unplugged(5):
        first, second = await plan(testbed, "ZONE", "zone3", terminate=True)
    assert (first["verdict"], first["reason"], first["commands"]) == (
        *("nothing", "does not run"),
        [],
    )
    assert (second["server"], second["verdict"], second["commands"]) == (
        *(testbed.name(5), "unknown"),
        [],
    )


@pytest.mark.parametrize(
    ("scope", "targets", "flags", "code"),
    [
        ("GLOBAL", (), {}, "OB.Cluster.ForceStopOrTerminateRequired"),
        ("ZONE", ("zone3",), {"force": True, "terminate": True}, "OB.Cluster.StopModeConflict"),
        ("ZONE", ("zone1", "zone2"), {}, "OB.Server.StoppedInMultiZone"),
        ("ZONE", ("none",), {"terminate": True}, "OB.Zone.NotExist"),
    ],
)
async def test_dry_run_invalid_stop_is_refused_like_stop(
    testbed: OceanTestbed, scope: str, targets: tuple[str, ...], flags: dict[str, bool], code: str
) -> None:
    async with testbed.client() as client:
        for dry_run in (True, False):
            with pytest.raises(ApiRefused) as refused:
                await client.stop(scope, list(targets), dry_run=dry_run, **flags)
            assert refused.value.code == code
    assert testbed.take_statements() == []


async def test_dry_run_without_majority_plans_only_force_of_servers(testbed: OceanTestbed) -> None:
    await testbed.kill(0, 1, 2, 3)
    async with testbed.client() as client:
        for flags in ({}, {"terminate": True}):
            with pytest.raises(ApiRefused) as refused:
                await client.stop("ZONE", ["zone3"], dry_run=True, **flags)
            assert refused.value.code == "OB.Cluster.ForceStopRequired"
    servers = await plan(testbed, "SERVER", *(testbed.name(number) for number in LAST), force=True)
    assert [server["verdict"] for server in servers] == ["stop", "stop"]


async def test_stop_executes_commands_of_its_dry_run(testbed: OceanTestbed) -> None:
    (planned,) = await plan(testbed, "SERVER", testbed.name(4), terminate=True)
    async with testbed.client() as client:
        accepted = await client.stop("SERVER", [testbed.name(4)], terminate=True)
        dag = await wait_dag(client, accepted["id"])
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert testbed.take_statements() == planned["commands"][:1]
    assert testbed.pid(4) is None
