"""The same hosts with the oceanbase flavour: three stand-in observers in three zones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.realhosts.faults import LINK_DOWN, SSHD_FROZEN, Fault
from tests.realhosts.moments import MOMENTS, release
from tests.realhosts.ocean import make_ocean
from tests.realhosts.report import Row, row_of
from tests.realhosts.world import World, sub_task, told

pytestmark = pytest.mark.asyncio(loop_scope="module")

Tell = Callable[[Row], None]
CHECK, HEALTH, CLUSTER = 2, 4, 5
BY_NAME = {moment.name: moment for moment in MOMENTS}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_world(made_worlds: list[World]) -> AsyncIterator[World]:
    """A bootstrapped cluster of which every server is in service."""
    async with make_ocean(made_worlds) as found:
        yield found


@pytest.mark.parametrize(
    ("moment", "fault"),
    [("before stage 2", SSHD_FROZEN), ("in the middle of stage 4", LINK_DOWN)],
    ids=["sshd frozen before the start", "link down in the health wait"],
)
async def test_a_lost_host_leaves_the_others_in_service(
    world: World, moment: str, fault: Fault, tell: Tell
) -> None:
    host, when = world.hosts[2], BY_NAME[moment]
    await world.end_server(host)
    come = when.prepare(world, host)
    dag_id = await world.start()
    await come()
    fault.cause(world, host)
    world.undo.callback(fault.mend, world, host)
    lost_at = datetime.now(UTC)
    release(world)
    dag = await world.end_of(dag_id)
    assert (dag["state"], dag["stage"]) == ("FAILED", when.seen_at), told(dag)
    task = sub_task(dag, when.seen_at, world.names[2])
    assert host.ip in task["task_logs"][-1]
    for name in world.names[:2]:
        assert dag["additional_data"]["evidence"][name]["level"] == "in service"
    assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
    tell(row_of(f"oceanbase: {fault.name} {moment}", lost_at, task, dag, world.names[:2]))

    await world.reset()
    mended = await world.retry(dag_id)
    assert mended["state"] == "SUCCEED", told(mended)
    await world.expect_nothing_left()


async def test_a_lost_majority_is_told_with_the_servers_that_are_missing_and_comes_back(
    world: World, tell: Tell
) -> None:
    for host in world.hosts:
        await world.end_server(host)
    for host in world.hosts[1:]:
        LINK_DOWN.cause(world, host)
        world.undo.callback(LINK_DOWN.mend, world, host)
    lost_at = datetime.now(UTC)
    dag = await world.end_of(await world.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), told(dag)
    for name in world.names[1:]:
        assert sub_task(dag, CHECK, name)["state"] == "FAILED"
    (task,) = dag["nodes"][CLUSTER - 1]["sub_tasks"]
    assert task["state"] == "FAILED"
    for host in world.hosts[1:]:
        assert host.ip in task["task_logs"][-1], told(dag)
    assert "majority" in task["task_logs"][-1]
    noticed_s = (datetime.fromisoformat(task["end_time"]) - lost_at).total_seconds()
    tell(Row("oceanbase: majority lost, two links down", noticed_s, task["task_logs"][-1]))

    await world.reset()
    mended = await world.retry(dag["id"])
    assert mended["state"] == "SUCCEED", told(mended)
    await world.expect_nothing_left()


async def test_a_start_of_one_server_does_not_contact_another_host_that_is_down(
    world: World,
) -> None:
    one, away = world.hosts[0], world.hosts[2]
    await world.end_server(one)
    LINK_DOWN.cause(world, away)
    world.undo.callback(LINK_DOWN.mend, world, away)
    before = away.contacts
    dag = await world.end_of(await world.start("SERVER", [world.names[0]]))
    assert dag["state"] == "SUCCEED", told(dag)
    await world.reset()
    assert away.contacts == before
