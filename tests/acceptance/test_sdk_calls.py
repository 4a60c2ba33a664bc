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

from dagengine.testing import eventually
from tasks.demo.hosts import free_port
from tests.acceptance.conftest import CALLED, ClusterTestbed, make_testbed
from tests.acceptance.testbed import ForwardingTestbed

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

FIRST, SECOND = "127.0.0.1:2886", "127.0.0.1:2887"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=CALLED)
async def testbed(request: pytest.FixtureRequest) -> AsyncIterator[ClusterTestbed]:
    """Two servers that the SDK has started."""
    async with make_testbed(2, request.param) as opened:
        await opened.start_controller()
        opened.first = await call(opened, "start_sync", "GLOBAL", [])
        yield opened


async def call(testbed: ClusterTestbed, method: str, *arguments: Any, **named: Any) -> Any:
    """One call of a fresh SDK client."""
    return await asyncio.to_thread(getattr(testbed.sdk(), method), *arguments, **named)


async def operated(testbed: ClusterTestbed, dag_id: str, operator: str) -> Any:
    """Return the DAG after the SDK has waited for the operator."""
    assert await call(testbed, "operate_dag_sync", dag_id, operator) is True
    return await call(testbed, "get_dag", dag_id)


def refusals(testbed: ClusterTestbed) -> list[str]:
    """Return the errCodes that the controller has sent, oldest first."""
    lines = [json.loads(line) for line in testbed.log.read_text().splitlines() if line[:1] == "{"]
    return [line["err_code"] for line in lines if line["event"] == "request_refused"]


async def wait_holder(testbed: ClusterTestbed) -> Any:
    """Return the only DAG in the list of maintenance DAGs, once it has taken the lock."""
    listed: list[Any] = []

    async def is_listed() -> bool:
        listed[:] = await call(testbed, "get_all_agent_last_maintenance_dag")
        return bool(listed)

    await eventually(is_listed, what="the lock of the start")
    (holder,) = listed
    return holder


@asynccontextmanager
async def unreachable(testbed: ClusterTestbed, port: int) -> AsyncIterator[None]:
    """The second server's host cannot be reached while the context lasts."""
    ssh = testbed.cluster.server_entry(1)["ssh"]
    ssh_port = ssh["port"]
    ssh["port"] = port
    testbed.cluster.write()
    yield
    ssh["port"] = ssh_port
    testbed.cluster.write()


# --- info and status -----------------------------------------------------------------------------


async def test_sdk_info_and_status_describe_cluster_agent(testbed: ClusterTestbed) -> None:
    info = await call(testbed, "get_info")
    port = int(testbed.cluster.url.rpartition(":")[2])
    assert (info.identity, info.ip, info.port, info.state) == (
        "CLUSTER AGENT",
        "127.0.0.1",
        port,
        2,
    )
    status = await call(testbed, "get_status")
    assert (status.agent.identity, status.state, status.ob_state) == ("CLUSTER AGENT", 2, 3)
    assert status.pid == testbed.pid == info.pid


async def test_sdk_ob_info_lists_servers_and_zones(testbed: ClusterTestbed) -> None:
    info = await call(testbed, "get_ob_info")
    assert [(a.ip, a.port, a.zone, a.identity) for a in info.agents] == [
        ("127.0.0.1", 2886, "zone1", "CLUSTER AGENT"),
        ("127.0.0.1", 2887, "zone2", "CLUSTER AGENT"),
    ]
    assert (info.cluster.cluster_id, bool(info.cluster.version)) == (1, True)
    (server,) = info.cluster.zone_config["zone2"]
    assert (server.status, server.agent_port) == ("ACTIVE", 2887)
    assert server.sql_port == testbed.cluster.servers[1].sql_port


# --- tasks ---------------------------------------------------------------------------------------


async def test_sdk_get_dag_with_and_without_details(testbed: ClusterTestbed) -> None:
    full = await call(testbed, "get_dag", testbed.first.generic_id)
    short = await call(testbed, "get_dag", testbed.first.generic_id, False)
    assert (len(full.nodes), short.nodes, short.additional_data) == (6, [], None)
    node = full.nodes[1]
    assert (await call(testbed, "get_node", node.generic_id)).node_id == node.node_id
    bare = await call(testbed, "get_node", node.generic_id, False)
    assert (bare.node_id, bare.sub_tasks) == (node.node_id, [])
    for task in node.sub_tasks:
        assert (await call(testbed, "get_sub_task", task.generic_id)).task_id == task.task_id


async def test_sdk_lists_are_empty_while_nothing_runs(
    testbed: ClusterTestbed,
) -> None:
    for method in (
        *("get_unfinished_dags", "get_cluster_unfinished_dag", "get_agent_unfinished_dag"),
        "get_all_agent_last_maintenance_dag",
    ):
        assert await call(testbed, method) == [], method
    for method in ("get_agent_last_maintenance_dag", "get_ob_last_maintenance_dag"):
        with pytest.raises(OBShellHandleError, match=r"Task\.NotFound.*Task not found"):
            await call(testbed, method)


@pytest.mark.parametrize("method", ["get_dag", "get_node", "get_sub_task"])
async def test_sdk_invalid_or_unknown_id_is_refused(testbed: ClusterTestbed, method: str) -> None:
    with pytest.raises(OBShellHandleError, match=r"Task\.GenericID\.Invalid"):
        await call(testbed, method, "x")
    with pytest.raises(OBShellHandleError, match=r"Task\.NotFound.*Task not found"):
        await call(testbed, method, "201684300810288613")  # of 10.10.10.1: never fetched
    with pytest.raises(OBShellHandleError, match=r"Task\.NotFound"):
        await call(testbed, method, testbed.first.generic_id + "999")


async def test_sdk_start_failed_reports_cause_and_is_retried(testbed: ClusterTestbed) -> None:
    async with unreachable(testbed, free_port()):
        with pytest.raises(TaskExecuteFailedError, match=SECOND) as caught:
            await call(testbed, "start_sync", "GLOBAL", [])
    failed = caught.value.dag
    assert (failed.state, failed.operator) == ("FAILED", "RUN")
    dag = await operated(testbed, failed.generic_id, "RETRY")
    assert (dag.state, dag.operator, dag.generic_id) == ("SUCCEED", "RUN", failed.generic_id)


async def test_sdk_rollback_of_failed_start_keeps_running_servers(testbed: ClusterTestbed) -> None:
    before = testbed.server_pids()
    async with unreachable(testbed, free_port()):
        with pytest.raises(TaskExecuteFailedError) as caught:
            await call(testbed, "start_sync", "GLOBAL", [])
    dag = await operated(testbed, caught.value.dag.generic_id, "ROLLBACK")
    assert (dag.state, dag.operator) == ("SUCCEED", "ROLLBACK")
    assert testbed.server_pids() == before


async def test_sdk_pass_of_failed_start_succeeds(testbed: ClusterTestbed) -> None:
    async with unreachable(testbed, free_port()):
        with pytest.raises(TaskExecuteFailedError) as caught:
            await call(testbed, "start_sync", "GLOBAL", [])
    dag_id = caught.value.dag.generic_id
    assert await call(testbed, "operate_dag", dag_id, "PASS") is True
    dag = await call(testbed, "get_dag", dag_id)
    assert (dag.state, dag.operator) == ("SUCCEED", "PASS")


async def test_sdk_running_start_is_listed_and_can_be_cancelled(testbed: ClusterTestbed) -> None:
    silent = asyncio.Event()

    async def accept_silently(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with await asyncio.start_server(accept_silently, "127.0.0.1", 0) as hanging:
        async with unreachable(testbed, hanging.sockets[0].getsockname()[1]):
            started = await call(testbed, "start", "SERVER", [SECOND])
            for method in ("get_unfinished_dags", "get_agent_unfinished_dag"):
                (listed,) = await call(testbed, method)
                assert listed.generic_id == started.generic_id
            assert await call(testbed, "get_cluster_unfinished_dag") == []
            holder = await wait_holder(testbed)
            assert (holder.generic_id, holder.name, holder.state) == (
                started.generic_id,
                "Start OB",
                "RUNNING",
            )
            dag = await operated(testbed, started.generic_id, "CANCEL")
        silent.set()
    assert (dag.state, dag.operator) == ("FAILED", "CANCEL")
    assert await call(testbed, "get_all_agent_last_maintenance_dag") == []


# --- what the SDK does twice --------------------------------------------------------------------


async def test_sdk_repeats_refused_call_without_effect(testbed: ClusterTestbed) -> None:
    refusal_count = len(refusals(testbed))
    count = len(await dags(testbed))
    with pytest.raises(OBShellHandleError, match=r"OB\.Zone\.NotExist"):
        await call(testbed, "start", "ZONE", ["nowhere"])
    assert refusals(testbed)[refusal_count:] == ["OB.Zone.NotExist"] * 2
    assert len(await dags(testbed)) == count


async def test_sdk_start_after_key_change_creates_one_dag(
    testbed: ClusterTestbed,
) -> None:
    if isinstance(testbed, ForwardingTestbed):
        pytest.skip("a shared store refuses a controller with another key")
    sdk = testbed.sdk()
    await asyncio.to_thread(sdk.get_ob_info)  # it has the key now
    await testbed.end_controller()
    (key,) = (testbed.cluster.directory / "var").glob("*.key.pem")
    key.unlink()
    await testbed.start_controller()
    count = len(await dags(testbed))
    dag = await asyncio.to_thread(sdk.start, "SERVER", [FIRST])
    assert refusals(testbed)[-1] == "Security.Authentication.Header.DecryptFailed"
    newest, *_ = await dags(testbed)
    assert (len(await dags(testbed)), newest["id"]) == (count + 1, dag.generic_id)
    assert (await asyncio.to_thread(sdk.wait_dag_succeed, dag.generic_id)).state == "SUCCEED"


async def dags(testbed: ClusterTestbed) -> list[dict[str, Any]]:
    async with testbed.client() as client:
        return await client.list_dags()
