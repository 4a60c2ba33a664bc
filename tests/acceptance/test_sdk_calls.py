"""Every call of the official Python SDK about tasks, status and info, in success and in error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from obshell.service.client_v1 import OBShellHandleError, TaskExecuteFailedError

from tasks.demo.hosts import free_port
from tests.acceptance.conftest import World, make_world

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

FIRST, SECOND = "127.0.0.1:2886", "127.0.0.1:2887"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """Two servers that the SDK has started."""
    async with make_world(2) as found:
        await found.start_controller()
        found.first = await call(found, "start_sync", "GLOBAL", [])
        yield found


async def call(world: World, method: str, *arguments: Any, **named: Any) -> Any:
    """One call of a fresh SDK client."""
    return await asyncio.to_thread(getattr(world.sdk(), method), *arguments, **named)


async def operated(world: World, dag_id: str, operator: str) -> Any:
    """The DAG after the SDK has seen the operator's end."""
    assert await call(world, "operate_dag_sync", dag_id, operator) is True
    return await call(world, "get_dag", dag_id)


def refusals(world: World) -> list[str]:
    """The errCodes that the controller has told, oldest first."""
    lines = [json.loads(line) for line in world.log.read_text().splitlines() if line[:1] == "{"]
    return [line["err_code"] for line in lines if line["event"] == "request_refused"]


@asynccontextmanager
async def unreachable(world: World, port: int) -> AsyncIterator[None]:
    """The second server's host cannot be reached while the context lasts."""
    ssh = world.cluster.server_entry(1)["ssh"]
    right = ssh["port"]
    ssh["port"] = port
    world.cluster.write()
    yield
    ssh["port"] = right
    world.cluster.write()


# --- info and status -----------------------------------------------------------------------------


async def test_info_and_status_tell_a_cluster_agent(world: World) -> None:
    info = await call(world, "get_info")
    port = int(world.cluster.url.rpartition(":")[2])
    assert (info.identity, info.ip, info.port, info.state) == (
        "CLUSTER AGENT",
        "127.0.0.1",
        port,
        2,
    )
    status = await call(world, "get_status")
    assert (status.agent.identity, status.state, status.ob_state) == ("CLUSTER AGENT", 2, 3)
    assert status.pid == world.pid == info.pid


async def test_ob_info_tells_the_servers_and_their_zones(world: World) -> None:
    info = await call(world, "get_ob_info")
    assert [(a.ip, a.port, a.zone, a.identity) for a in info.agents] == [
        ("127.0.0.1", 2886, "zone1", "CLUSTER AGENT"),
        ("127.0.0.1", 2887, "zone2", "CLUSTER AGENT"),
    ]
    assert (info.cluster.cluster_id, bool(info.cluster.version)) == (1, True)
    (server,) = info.cluster.zone_config["zone2"]
    assert (server.status, server.agent_port) == ("ACTIVE", 2887)
    assert server.sql_port == world.cluster.servers[1].sql_port


# --- tasks ---------------------------------------------------------------------------------------


async def test_a_dag_is_shown_with_and_without_details(world: World) -> None:
    full = await call(world, "get_dag", world.first.generic_id)
    short = await call(world, "get_dag", world.first.generic_id, False)
    assert (len(full.nodes), short.nodes, short.additional_data) == (6, [], None)
    node = full.nodes[1]
    assert (await call(world, "get_node", node.generic_id)).node_id == node.node_id
    bare = await call(world, "get_node", node.generic_id, False)
    assert (bare.node_id, bare.sub_tasks) == (node.node_id, [])
    for task in node.sub_tasks:
        assert (await call(world, "get_sub_task", task.generic_id)).task_id == task.task_id


async def test_while_nothing_runs_the_lists_are_empty_and_nobody_holds_the_lock(
    world: World,
) -> None:
    for method in (
        *("get_unfinished_dags", "get_cluster_unfinished_dag", "get_agent_unfinished_dag"),
        "get_all_agent_last_maintenance_dag",
    ):
        assert await call(world, method) == [], method
    for method in ("get_agent_last_maintenance_dag", "get_ob_last_maintenance_dag"):
        with pytest.raises(OBShellHandleError, match=r"Task\.NotFound.*Task not found"):
            await call(world, method)


@pytest.mark.parametrize("method", ["get_dag", "get_node", "get_sub_task"])
async def test_an_id_that_is_none_or_of_nothing_is_refused(world: World, method: str) -> None:
    with pytest.raises(OBShellHandleError, match=r"Task\.GenericID\.Invalid"):
        await call(world, method, "x")
    with pytest.raises(OBShellHandleError, match=r"Task\.NotFound.*Task not found"):
        await call(world, method, "201684300810288613")  # of 10.10.10.1: never fetched
    with pytest.raises(OBShellHandleError, match=r"Task\.NotFound"):
        await call(world, method, world.first.generic_id + "999")


async def test_a_failed_start_tells_its_cause_and_goes_on_once_it_is_mended(world: World) -> None:
    async with unreachable(world, free_port()):
        with pytest.raises(TaskExecuteFailedError, match=SECOND) as caught:
            await call(world, "start_sync", "GLOBAL", [])
    failed = caught.value.dag
    assert (failed.state, failed.operator) == ("FAILED", "RUN")
    dag = await operated(world, failed.generic_id, "RETRY")
    assert (dag.state, dag.operator, dag.generic_id) == ("SUCCEED", "RUN", failed.generic_id)


async def test_a_failed_start_can_be_rolled_back_and_takes_down_nothing_else(world: World) -> None:
    before = world.server_pids()
    async with unreachable(world, free_port()):
        with pytest.raises(TaskExecuteFailedError) as caught:
            await call(world, "start_sync", "GLOBAL", [])
    dag = await operated(world, caught.value.dag.generic_id, "ROLLBACK")
    assert (dag.state, dag.operator) == ("SUCCEED", "ROLLBACK")
    assert world.server_pids() == before


async def test_a_failed_start_can_be_passed(world: World) -> None:
    async with unreachable(world, free_port()):
        with pytest.raises(TaskExecuteFailedError) as caught:
            await call(world, "start_sync", "GLOBAL", [])
    dag_id = caught.value.dag.generic_id
    assert await call(world, "operate_dag", dag_id, "PASS") is True
    dag = await call(world, "get_dag", dag_id)
    assert (dag.state, dag.operator) == ("SUCCEED", "PASS")


async def test_a_running_start_is_listed_holds_the_lock_and_can_be_cancelled(world: World) -> None:
    silent = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as hanging:
        async with unreachable(world, hanging.sockets[0].getsockname()[1]):
            started = await call(world, "start", "SERVER", [SECOND])
            for method in ("get_unfinished_dags", "get_cluster_unfinished_dag"):
                (listed,) = await call(world, method)
                assert listed.generic_id == started.generic_id
            dag = await operated(world, started.generic_id, "CANCEL")
        silent.set()
    assert (dag.state, dag.operator) == ("FAILED", "CANCEL")


# --- what the SDK does twice --------------------------------------------------------------------


async def test_a_refused_call_arrives_twice_and_does_no_harm(world: World) -> None:
    told = len(refusals(world))
    count = len(await dags(world))
    with pytest.raises(OBShellHandleError, match=r"OB\.Zone\.NotExist"):
        await call(world, "start", "ZONE", ["nowhere"])
    assert refusals(world)[told:] == ["OB.Zone.NotExist"] * 2
    assert len(await dags(world)) == count


async def test_a_start_after_the_key_has_changed_is_sent_twice_and_makes_one_task(
    world: World,
) -> None:
    sdk = world.sdk()
    await asyncio.to_thread(sdk.get_ob_info)  # it has the key now
    await world.end_controller()
    (key,) = (world.cluster.directory / "var").glob("*.key.pem")
    key.unlink()
    await world.start_controller()
    count = len(await dags(world))
    dag = await asyncio.to_thread(sdk.start, "SERVER", [FIRST])
    assert refusals(world)[-1] == "Security.Authentication.Header.DecryptFailed"
    newest, *_ = await dags(world)
    assert (len(await dags(world)), newest["id"]) == (count + 1, dag.generic_id)
    assert (await asyncio.to_thread(sdk.wait_dag_succeed, dag.generic_id)).state == "SUCCEED"


async def dags(world: World) -> list[dict[str, Any]]:
    async with world.client() as client:
        return await client.list_dags()
