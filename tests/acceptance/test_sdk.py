"""The official Python SDK starts a real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from obshell.service.client_v1 import OBShellHandleError

from tests.acceptance.conftest import CALLED, ClusterTestbed, make_testbed

pytestmark = pytest.mark.asyncio(loop_scope="module")

LANES = ("Check servers", "Start observers", "Wait for observers to become healthy")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=CALLED)
async def testbed(request: pytest.FixtureRequest) -> AsyncIterator[ClusterTestbed]:
    """Three servers that the SDK has started."""
    async with make_testbed(3, request.param) as opened:
        await opened.start_controller()
        opened.first = await start(opened, "GLOBAL", [])
        yield opened


async def start(testbed: ClusterTestbed, level: str, targets: list[str]) -> Any:
    return await asyncio.to_thread(testbed.sdk().start_sync, level, targets)


def logs_of(dag: Any) -> list[str]:
    return [line for node in dag.nodes for task in node.sub_tasks for line in task.task_logs]


async def test_sdk_start_global_starts_every_server(testbed: ClusterTestbed) -> None:
    dag = testbed.first
    assert (dag.name, dag.state, dag.max_stage) == ("Start OB", "SUCCEED", 6)
    assert len(dag.nodes) == 6
    for node in dag.nodes:
        assert len(node.sub_tasks) == (3 if node.name in LANES else 1)
        assert all(task.task_logs for task in node.sub_tasks), node.name
    assert len(testbed.server_pids()) == 3


async def test_sdk_start_repeated_changes_no_process(testbed: ClusterTestbed) -> None:
    before = testbed.server_pids()
    dag = await start(testbed, "GLOBAL", [])
    assert dag.state == "SUCCEED"
    assert sum("already running" in line for line in logs_of(dag)) == 6
    assert testbed.server_pids() == before


async def test_sdk_start_zone_and_server_scopes_limit_targets(testbed: ClusterTestbed) -> None:
    by_zone = await start(testbed, "ZONE", ["zone2"])
    by_server = await start(testbed, "SERVER", ["127.0.0.1:2888", "127.0.0.1:2886"])
    agents = [
        [str(task.execute_agent) for task in dag.nodes[2].sub_tasks] for dag in (by_zone, by_server)
    ]
    assert agents == [["127.0.0.1:2887"], ["127.0.0.1:2886", "127.0.0.1:2888"]]
    assert (by_zone.state, by_server.state) == ("SUCCEED", "SUCCEED")


async def test_sdk_get_node_and_get_sub_task_return_single_records(testbed: ClusterTestbed) -> None:
    sdk = testbed.sdk()
    dag = testbed.first
    node = await asyncio.to_thread(sdk.get_node, dag.nodes[1].generic_id)
    task = await asyncio.to_thread(sdk.get_sub_task, node.sub_tasks[0].generic_id)
    assert (node.name, task.name, task.state) == ("Check servers", "Check servers", "SUCCEED")
    assert await asyncio.to_thread(sdk.get_unfinished_dags) == []


async def test_sdk_operators_on_finished_dag_are_refused(testbed: ClusterTestbed) -> None:
    sdk = testbed.sdk()
    dag = testbed.first
    for operator, code in (
        ("CANCEL", "Task.Dag.Operator.CancelFinishedDag"),
        ("RETRY", "Task.Dag.Operator.RetryNotFailedDag"),
        ("PASS", "Task.Dag.Operator.PassNotFailedDag"),
        ("ROLLBACK", "Task.Dag.Operator."),
        ("EXPLODE", "Task.Dag.Operator.NotSupport"),
    ):
        with pytest.raises(OBShellHandleError, match=code):
            await asyncio.to_thread(sdk.operate_dag, dag.generic_id, operator)


@pytest.mark.parametrize(
    ("level", "targets", "code"),
    [
        ("GALAXY", [], "OB.Cluster.Scope.Invalid"),
        ("ZONE", [], "Common.IllegalArgument"),
        ("ZONE", ["nowhere"], "OB.Zone.NotExist"),
        ("SERVER", ["127.0.0.1:2999"], "Agent.NotExist"),
        ("SERVER", ["127.0.0.1:80"], "Common.InvalidPort"),
        ("SERVER", [""], "Common.InvalidAddress"),
    ],
)
async def test_sdk_start_invalid_scope_is_refused(
    testbed: ClusterTestbed, level: str, targets: list[str], code: str
) -> None:
    with pytest.raises(OBShellHandleError, match=code):
        await asyncio.to_thread(testbed.sdk().start, level, targets)


async def test_sdk_wrong_password_is_refused_without_secret_in_log(testbed: ClusterTestbed) -> None:
    with pytest.raises(OBShellHandleError, match="IncorrectOceanbasePassword"):
        await asyncio.to_thread(testbed.sdk("not-the-password").start, "GLOBAL", [])
    written = testbed.log.read_text() + "".join(
        file.read_bytes().decode("latin-1") for file in testbed.log.parent.glob("var/*.sqlite*")
    )
    assert testbed.cluster.password not in written
    assert "not-the-password" not in written
