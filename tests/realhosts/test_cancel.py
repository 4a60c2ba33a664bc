"""CANCEL during each stage: no process of the task remains, whether or not the host responds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from dagengine.testing import eventually
from tests.realhosts.fault_points import FAULT_POINTS, FaultPoint
from tests.realhosts.faults import FAULTS, LINK_DOWN, PACKETS_DROPPED, Fault
from tests.realhosts.host_cluster import Dag, HostCluster, log_text, sub_task
from tests.realhosts.report import Row, ended_at
from tests.support.quick_cases import sample_pairs

pytestmark = pytest.mark.asyncio(loop_scope="module")

AddRow = Callable[[Row], None]
MIDDLES = [
    fault_point for fault_point in FAULT_POINTS if fault_point.name.startswith("in the middle")
]
START = 3
SILENT = (LINK_DOWN, PACKETS_DROPPED)
LOST = [
    case
    for case in sample_pairs(MIDDLES, FAULTS)
    if case.values[0].stage == START or case.values[1] in SILENT
]


async def cancel(cluster: HostCluster, dag_id: str) -> tuple[Dag, float]:
    """Cancel a DAG; return its end and the duration in seconds."""
    requested_at = datetime.now(UTC)
    await cluster.client.operate_dag(dag_id, "CANCEL")
    dag = await cluster.end_of(dag_id)
    return dag, (ended_at(dag) - requested_at).total_seconds()


@pytest.mark.parametrize("fault_point", MIDDLES, ids=lambda fault_point: fault_point.name)
async def test_cancel_leaves_nothing_running_on_hosts(
    cluster: HostCluster, fault_point: FaultPoint, add_row: AddRow
) -> None:
    host = cluster.hosts[2]
    if fault_point.is_fresh:
        await cluster.end_server(host)
    wait_for_point = fault_point.prepare(cluster, host)
    dag_id = await cluster.start()
    await wait_for_point()

    async def is_there() -> bool:  # every lane, not only the held one
        return (await cluster.client.get_dag(dag_id))["stage"] == fault_point.stage

    await eventually(is_there, timeout_s=120, what=f"stage {fault_point.stage} of all lanes")
    dag, took_s = await cancel(cluster, dag_id)

    assert (dag["state"], dag["operator"], dag["stage"]) == ("FAILED", "CANCEL", fault_point.stage)
    # Checked immediately, without waiting: the DAG ends only after the confirmation.
    for each in cluster.hosts:
        assert each.other_processes() == [], each.ip
        assert not each.is_home_locked(), each.ip
        assert each.temporary_files() == [], each.ip
    running = 0 if fault_point.stage == START else 1
    assert [len(each.servers()) for each in cluster.hosts] == [1, 1, running]
    assert await cluster.client.list_unfinished() == []
    add_row(
        Row(
            f"CANCEL {fault_point.name}",
            took_s,
            last_log_line(dag, fault_point, cluster.name(host)),
        )
    )

    await cluster.reset()
    next_dag = await cluster.end_of(await cluster.start())
    assert next_dag["state"] == "SUCCEED", log_text(next_dag)
    await cluster.expect_nothing_left()


@pytest.mark.parametrize(("fault_point", "fault"), LOST)
async def test_cancel_with_lost_host_ends_and_next_start_probes_first(
    cluster: HostCluster, fault_point: FaultPoint, fault: Fault, add_row: AddRow
) -> None:
    host = cluster.hosts[2]
    if fault_point.is_fresh:
        await cluster.end_server(host)
    launches = [each.launches for each in cluster.hosts]
    wait_for_point = fault_point.prepare(cluster, host)
    if fault_point.is_lane:
        (
            cluster.holds / "5-before"
        ).touch()  # a loss that is noticed must not end the DAG before the cancel
    dag_id = await cluster.start()
    await wait_for_point()
    servers = [[server.pid for server in each.servers()] for each in cluster.hosts[:2]]
    fault.cause(cluster, host)
    cluster.undo.callback(fault.repair, cluster, host)
    dag, took_s = await cancel(cluster, dag_id)
    assert (dag["state"], dag["operator"]) == ("FAILED", "CANCEL")
    assert await cluster.client.list_unfinished() == []
    for each, running in zip(cluster.hosts, servers, strict=False):
        assert each.other_processes() == [], each.ip
        assert [server.pid for server in each.servers()] == running
    last = last_log_line(dag, fault_point, cluster.name(host))
    add_row(Row(f"CANCEL {fault_point.name}, {fault.name}", took_s, last))

    # The lost commands continue unobserved; the next start finds the server that they started.
    await cluster.reset()
    next_dag = await cluster.end_of(await cluster.start())
    assert next_dag["state"] == "SUCCEED", log_text(next_dag)
    launched = [
        each.launches - before for each, before in zip(cluster.hosts, launches, strict=True)
    ]
    assert launched == [0, 0, 1 if fault_point.is_fresh else 0], log_text(next_dag)
    await cluster.expect_nothing_left()


def last_log_line(dag: Dag, fault_point: FaultPoint, server: str) -> str:
    if fault_point.stage in (2, 3, 4):
        tasks = [sub_task(dag, fault_point.stage, server)]
    else:
        tasks = dag["nodes"][fault_point.stage - 1]["sub_tasks"]
    lines = [line for task in tasks for line in task["task_logs"] or ["nothing"]]
    return str(lines[-1])
