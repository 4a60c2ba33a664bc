"""The same hosts with the oceanbase flavour: three stand-in observers in three zones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.realhosts.fault_points import FAULT_POINTS, release
from tests.realhosts.faults import LINK_DOWN, SSHD_FROZEN, Fault
from tests.realhosts.host_cluster import HostCluster, log_text, sub_task
from tests.realhosts.oceanbase_cluster import make_ocean
from tests.realhosts.report import Row, row_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

AddRow = Callable[[Row], None]
CHECK, HEALTH, CLUSTER = 2, 4, 5
BY_NAME = {moment.name: moment for moment in FAULT_POINTS}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_world(made_worlds: list[HostCluster]) -> AsyncIterator[HostCluster]:
    """A bootstrapped cluster with every server in service."""
    async with make_ocean(made_worlds) as new_world:
        yield new_world


@pytest.mark.parametrize(
    ("moment", "fault"),
    [("before stage 2", SSHD_FROZEN), ("in the middle of stage 4", LINK_DOWN)],
    ids=["sshd frozen before the start", "link down in the health wait"],
)
async def test_start_oceanbase_lost_host_leaves_others_in_service(
    world: HostCluster, moment: str, fault: Fault, add_row: AddRow
) -> None:
    host, fault_point = world.hosts[2], BY_NAME[moment]
    await world.end_server(host)
    wait_for_point = fault_point.prepare(world, host)
    dag_id = await world.start()
    await wait_for_point()
    fault.cause(world, host)
    world.undo.callback(fault.repair, world, host)
    lost_at = datetime.now(UTC)
    release(world)
    dag = await world.end_of(dag_id)
    assert (dag["state"], dag["stage"]) == ("FAILED", fault_point.noticing_stage), log_text(dag)
    task = sub_task(dag, fault_point.noticing_stage, world.names[2])
    assert host.ip in task["task_logs"][-1]
    for name in world.names[:2]:
        assert dag["additional_data"]["evidence"][name]["level"] == "in service"
    assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
    add_row(row_of(f"oceanbase: {fault.name} {moment}", lost_at, task, dag, world.names[:2]))

    await world.reset()
    retried = await world.retry(dag_id)
    assert retried["state"] == "SUCCEED", log_text(retried)
    await world.expect_nothing_left()


async def test_start_oceanbase_lost_majority_names_missing_servers(
    world: HostCluster, add_row: AddRow
) -> None:
    for host in world.hosts:
        await world.end_server(host)
    for host in world.hosts[1:]:
        LINK_DOWN.cause(world, host)
        world.undo.callback(LINK_DOWN.repair, world, host)
    lost_at = datetime.now(UTC)
    dag = await world.end_of(await world.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), log_text(dag)
    for name in world.names[1:]:
        assert sub_task(dag, CHECK, name)["state"] == "FAILED"
    (task,) = dag["nodes"][CLUSTER - 1]["sub_tasks"]
    assert task["state"] == "FAILED"
    for host in world.hosts[1:]:
        assert host.ip in task["task_logs"][-1], log_text(dag)
    assert "majority" in task["task_logs"][-1]
    noticed_s = (datetime.fromisoformat(task["end_time"]) - lost_at).total_seconds()
    add_row(Row("oceanbase: majority lost, two links down", noticed_s, task["task_logs"][-1]))

    await world.reset()
    retried = await world.retry(dag["id"])
    assert retried["state"] == "SUCCEED", log_text(retried)
    await world.expect_nothing_left()


async def test_start_oceanbase_server_does_not_contact_other_host(
    world: HostCluster,
) -> None:
    one, lost_host = world.hosts[0], world.hosts[2]
    await world.end_server(one)
    LINK_DOWN.cause(world, lost_host)
    world.undo.callback(LINK_DOWN.repair, world, lost_host)
    before = lost_host.contacts
    dag = await world.end_of(await world.start("SERVER", [world.names[0]]))
    assert dag["state"] == "SUCCEED", log_text(dag)
    await world.reset()
    assert lost_host.contacts == before
