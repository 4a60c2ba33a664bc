"""A host is lost before and during each stage, by each of four faults."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.realhosts.fault_points import FAULT_POINTS, FaultPoint, release
from tests.realhosts.faults import FAULTS, Fault
from tests.realhosts.host_cluster import Dag, HostCluster, log_text, sub_task
from tests.realhosts.report import Row, ended_at, idle_share, row_of
from tests.support.quick_cases import sample_pairs

pytestmark = pytest.mark.asyncio(loop_scope="module")

AddRow = Callable[[Row], None]
LANES = (2, 3, 4)


async def lose_host(
    cluster: HostCluster, fault_point: FaultPoint, fault: Fault
) -> tuple[Dag, datetime]:
    """Start all servers and lose the third host at this point; return the DAG and the time."""
    host = cluster.hosts[2]
    if fault_point.is_fresh:
        await cluster.end_server(host)
    wait_for_point = fault_point.prepare(cluster, host)
    dag_id = await cluster.start()
    await wait_for_point()
    fault.cause(cluster, host)
    cluster.undo.callback(fault.repair, cluster, host)
    lost_at = datetime.now(UTC)
    release(cluster)
    return await cluster.end_of(dag_id), lost_at


@pytest.mark.parametrize(("fault_point", "fault"), sample_pairs(FAULT_POINTS, FAULTS))
async def test_start_with_lost_host_names_it_and_retry_recovers(
    cluster: HostCluster, fault_point: FaultPoint, fault: Fault, add_row: AddRow
) -> None:
    host, healthy, lost_server = cluster.hosts[2], cluster.names[:2], cluster.names[2]
    launches = [each.launches for each in cluster.hosts]
    dag, lost_at = await lose_host(cluster, fault_point, fault)

    # The stage that next needs the host fails; the log has the host and the remedy.
    assert (dag["state"], dag["operator"], dag["stage"]) == (
        "FAILED",
        "RUN",
        fault_point.noticing_stage,
    )
    failed = [number for number, node in enumerate(dag["nodes"], 1) if node["state"] == "FAILED"]
    assert failed == [fault_point.noticing_stage]
    task = find_task(dag, fault_point, lost_server)
    last = task["task_logs"][-1]
    assert "[Agent.RPC.RequestError]" in last, last
    assert host.ip in last, last
    assert "check that the host is up" in last, last
    assert last.endswith("then RETRY"), last

    # The loss did not delay the other hosts.
    for stage in LANES:
        assert {sub_task(dag, stage, name)["state"] for name in healthy} == {"SUCCEED"}
    if fault_point.is_lane:
        assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
        if fault.is_silent:
            assert max(ended_at(sub_task(dag, 4, n)) for n in healthy) < ended_at(task)
    assert idle_share(dag, healthy) < 0.5, log_text(dag)
    evidence = dag["additional_data"]["evidence"]
    assert all(evidence[name]["verified"] for name in healthy)

    # Once the host is back, RETRY completes the rest, and repeats nothing.
    await cluster.reset()
    retried = await cluster.retry(dag["id"])
    assert retried["state"] == "SUCCEED", log_text(retried)
    for stage in LANES:
        for name in healthy:
            assert sub_task(retried, stage, name) == sub_task(dag, stage, name)
    launched = [
        each.launches - before for each, before in zip(cluster.hosts, launches, strict=True)
    ]
    assert launched == [0, 0, 1 if fault_point.is_fresh else 0]
    await cluster.expect_nothing_left()
    add_row(row_of(f"{fault.name} {fault_point.name}", lost_at, task, dag, healthy))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_retry_with_host_still_lost_fails_alone(
    cluster: HostCluster, fault: Fault, add_row: AddRow
) -> None:
    dag, _ = await lose_host(cluster, FAULT_POINTS[0], fault)
    begun_at = datetime.now(UTC)
    second_try = await cluster.retry(dag["id"])
    assert (second_try["state"], second_try["stage"]) == ("FAILED", 2)
    task = sub_task(second_try, 2, cluster.names[2])
    assert task["execute_times"] == 2
    assert cluster.hosts[2].ip in task["task_logs"][-1]
    for name in cluster.names[:2]:
        assert sub_task(second_try, 2, name) == sub_task(dag, 2, name)
    noticed_s = (ended_at(task) - begun_at).total_seconds()
    add_row(Row(f"{fault.name} before the first connection", noticed_s, task["task_logs"][-1]))


def find_task(dag: Dag, fault_point: FaultPoint, server: str) -> Dag:
    """Return the sub-task that notices the loss."""
    if fault_point.is_lane:
        return sub_task(dag, fault_point.noticing_stage, server)
    task: Dag = dag["nodes"][fault_point.noticing_stage - 1]["sub_tasks"][0]
    return task
