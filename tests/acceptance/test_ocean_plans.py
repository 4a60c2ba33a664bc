"""`?dryRun=true` of a stop on the oceanbase flavour: what each way would do; nothing is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dagengine.errors import ApiRefused
from tests.acceptance.conftest import told, wait_dag
from tests.acceptance.ocean import OceanWorld, make_ocean

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ALL = list(range(6))  # two in each of three zones
LAST = (4, 5)  # those of zone3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[OceanWorld]:
    async with make_ocean(per_zone=2) as found:
        await found.start_controller()
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def world(running: OceanWorld) -> OceanWorld:
    """Every server is in service."""
    if running.serving() != ALL:
        async with running.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "SUCCEED", told(dag)
    running.take_statements()
    return running


async def plan(world: OceanWorld, scope: str, *targets: str, **how: bool) -> list[dict[str, Any]]:
    """What would be done on each server; makes sure that nothing was."""
    async with world.client() as client:
        before = await state_of(world), await client.list_dags(), await client.list_audit()
        found = await client.stop(scope, list(targets), dry_run=True, **how)
        assert (found["dry_run"], found["name"]) == (True, "Stop OB")
        assert found["lock"] == {"key": "cluster", "dag_id": None, "about": "free"}
        after = await state_of(world), await client.list_dags(), await client.list_audit()
    assert after == before
    servers: list[dict[str, Any]] = found["servers"]
    return servers


async def state_of(world: OceanWorld) -> object:
    """What runs, what is in service, and what the cluster was told since it was last asked."""
    return world.pids(), world.serving(), world.take_statements()


def address(world: OceanWorld, number: int) -> str:
    return f"'127.0.0.1:{world.cluster.members[number].rpc_port}'"


async def test_a_plain_stop_of_a_zone_would_be_one_statement(world: OceanWorld) -> None:
    servers = await plan(world, "ZONE", "zone3")
    assert [server["server"] for server in servers] == [world.name(n) for n in LAST]
    for server in servers:
        assert (server["verdict"], server["commands"]) == (
            "stop",
            ["ALTER SYSTEM STOP ZONE 'zone3'"],
        )
        assert "its process runs on" in server["reason"]


async def test_a_plain_stop_of_a_server_would_name_it_as_the_cluster_does(
    world: OceanWorld,
) -> None:
    (server,) = await plan(world, "SERVER", world.name(5))
    assert server["server"] == world.name(5)
    assert server["commands"] == [f"ALTER SYSTEM STOP SERVER {address(world, 5)}"]


async def test_a_plain_stop_asks_no_host_so_one_that_is_down_is_in_the_plan(
    world: OceanWorld,
) -> None:
    await world.kill(5)
    with world.unplugged(5):
        (server,) = await plan(world, "SERVER", world.name(5))
    assert server["verdict"] == "stop"


async def test_terminate_would_freeze_and_then_end_the_processes(world: OceanWorld) -> None:
    pids = world.pids()
    servers = await plan(world, "ZONE", "zone3", terminate=True)
    for number, server in zip(LAST, servers, strict=True):
        assert (server["server"], server["verdict"]) == (world.name(number), "stop")
        assert server["reason"] == f"runs, pid {pids[number]}; mode terminate"
        freeze, end = server["commands"]
        assert freeze == f"ALTER SYSTEM MINOR FREEZE SERVER = ({address(world, number)})"
        assert end.startswith("dagengine-stop ")


async def test_force_would_end_the_processes_and_write_nothing_first(world: OceanWorld) -> None:
    servers = await plan(world, "GLOBAL", force=True)
    assert [server["server"] for server in servers] == [world.name(n) for n in ALL]
    for server in servers:
        (command,) = server["commands"]
        assert command.startswith("dagengine-stop ")


async def test_what_does_not_run_would_be_left_and_a_host_that_is_down_is_not_known(
    world: OceanWorld,
) -> None:
    await world.kill(4)
    with world.unplugged(5):
        first, second = await plan(world, "ZONE", "zone3", terminate=True)
    assert (first["verdict"], first["reason"], first["commands"]) == (
        *("nothing", "does not run"),
        [],
    )
    assert (second["server"], second["verdict"], second["commands"]) == (
        *(world.name(5), "unknown"),
        [],
    )


@pytest.mark.parametrize(
    ("scope", "targets", "how", "code"),
    [
        ("GLOBAL", (), {}, "OB.Cluster.ForceStopOrTerminateRequired"),
        ("ZONE", ("zone3",), {"force": True, "terminate": True}, "OB.Cluster.StopModeConflict"),
        ("ZONE", ("zone1", "zone2"), {}, "OB.Server.StoppedInMultiZone"),
        ("ZONE", ("none",), {"terminate": True}, "OB.Zone.NotExist"),
    ],
)
async def test_a_plan_is_refused_as_the_stop_would_be(
    world: OceanWorld, scope: str, targets: tuple[str, ...], how: dict[str, bool], code: str
) -> None:
    async with world.client() as client:
        for dry_run in (True, False):
            with pytest.raises(ApiRefused) as refused:
                await client.stop(scope, list(targets), dry_run=dry_run, **how)
            assert refused.value.code == code
    assert world.take_statements() == []


async def test_without_a_majority_only_force_of_servers_has_a_plan(world: OceanWorld) -> None:
    await world.kill(0, 1, 2, 3)
    async with world.client() as client:
        for how in ({}, {"terminate": True}):
            with pytest.raises(ApiRefused) as refused:
                await client.stop("ZONE", ["zone3"], dry_run=True, **how)
            assert refused.value.code == "OB.Cluster.ForceStopRequired"
    servers = await plan(world, "SERVER", *(world.name(number) for number in LAST), force=True)
    assert [server["verdict"] for server in servers] == ["stop", "stop"]


async def test_the_stop_does_what_its_plan_said(world: OceanWorld) -> None:
    (planned,) = await plan(world, "SERVER", world.name(4), terminate=True)
    async with world.client() as client:
        made = await client.stop("SERVER", [world.name(4)], terminate=True)
        dag = await wait_dag(client, made["id"])
    assert dag["state"] == "SUCCEED", told(dag)
    assert world.take_statements() == planned["commands"][:1]
    assert world.pid(4) is None
