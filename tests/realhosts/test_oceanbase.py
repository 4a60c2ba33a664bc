"""The same hosts with the oceanbase flavour: three stand-in observers in three zones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.realhosts.fault_points import FAULT_POINTS, release
from tests.realhosts.faults import LINK_DOWN, SSHD_FROZEN, Fault
from tests.realhosts.host_cluster import HostCluster, log_text, sub_task
from tests.realhosts.oceanbase_cluster import open_oceanbase_cluster
from tests.realhosts.report import Row, row_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

AddRow = Callable[[Row], None]
CHECK, HEALTH, CLUSTER = 2, 4, 5
BY_NAME = {point.name: point for point in FAULT_POINTS}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_cluster(made_clusters: list[HostCluster]) -> AsyncIterator[HostCluster]:
    """A bootstrapped cluster with every server in service."""
    async with open_oceanbase_cluster(made_clusters) as new_cluster:
        yield new_cluster


@pytest.mark.parametrize(
    ("point_name", "fault"),
    [("before stage 2", SSHD_FROZEN), ("in the middle of stage 4", LINK_DOWN)],
    ids=["sshd frozen before the start", "link down in the health wait"],
)
async def test_start_oceanbase_lost_host_leaves_others_in_service(
    cluster: HostCluster, point_name: str, fault: Fault, add_row: AddRow
) -> None:
    host, fault_point = cluster.hosts[2], BY_NAME[point_name]
    await cluster.end_server(host)
    wait_for_point = fault_point.prepare(cluster, host)
    dag_id = await cluster.start()
    await wait_for_point()
    fault.cause(cluster, host)
    cluster.undo.callback(fault.repair, cluster, host)
    lost_at = datetime.now(UTC)
    release(cluster)
    dag = await cluster.end_of(dag_id)
    assert (dag["state"], dag["stage"]) == ("FAILED", fault_point.noticing_stage), log_text(dag)
    task = sub_task(dag, fault_point.noticing_stage, cluster.names[2])
    assert host.ip in task["task_logs"][-1]
    for name in cluster.names[:2]:
        assert dag["additional_data"]["evidence"][name]["level"] == "in service"
    assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
    add_row(row_of(f"oceanbase: {fault.name} {point_name}", lost_at, task, dag, cluster.names[:2]))

    await cluster.reset()
    retried = await cluster.retry(dag_id)
    assert retried["state"] == "SUCCEED", log_text(retried)
    await cluster.expect_nothing_left()


async def test_start_oceanbase_lost_majority_names_missing_servers(
    cluster: HostCluster, add_row: AddRow
) -> None:
    for host in cluster.hosts:
        await cluster.end_server(host)
    for host in cluster.hosts[1:]:
        LINK_DOWN.cause(cluster, host)
        cluster.undo.callback(LINK_DOWN.repair, cluster, host)
    lost_at = datetime.now(UTC)
    dag = await cluster.end_of(await cluster.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), log_text(dag)
    for name in cluster.names[1:]:
        assert sub_task(dag, CHECK, name)["state"] == "FAILED"
    (task,) = dag["nodes"][CLUSTER - 1]["sub_tasks"]
    assert task["state"] == "FAILED"
    for host in cluster.hosts[1:]:
        assert host.ip in task["task_logs"][-1], log_text(dag)
    assert "majority" in task["task_logs"][-1]
    noticed_s = (datetime.fromisoformat(task["end_time"]) - lost_at).total_seconds()
    add_row(Row("oceanbase: majority lost, two links down", noticed_s, task["task_logs"][-1]))

    await cluster.reset()
    retried = await cluster.retry(dag["id"])
    assert retried["state"] == "SUCCEED", log_text(retried)
    await cluster.expect_nothing_left()


async def test_start_oceanbase_server_does_not_contact_other_host(
    cluster: HostCluster,
) -> None:
    ended_host, lost_host = cluster.hosts[0], cluster.hosts[2]
    await cluster.end_server(ended_host)
    await cluster.restart_without_watch()
    LINK_DOWN.cause(cluster, lost_host)
    cluster.undo.callback(LINK_DOWN.repair, cluster, lost_host)
    before = lost_host.contacts
    dag = await cluster.end_of(await cluster.start("SERVER", [cluster.names[0]]))
    assert dag["state"] == "SUCCEED", log_text(dag)
    await cluster.reset()
    assert lost_host.contacts == before
