"""A host is lost before each stage and in the middle of it, in each of four ways."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.realhosts.faults import FAULTS, Fault
from tests.realhosts.moments import MOMENTS, Moment, release
from tests.realhosts.report import Row, ended_at, idle_share, row_of
from tests.realhosts.world import Dag, World, sub_task, told

pytestmark = pytest.mark.asyncio(loop_scope="module")

Tell = Callable[[Row], None]
LANES = (2, 3, 4)


async def lose_host(world: World, moment: Moment, fault: Fault) -> tuple[Dag, datetime]:
    """Start all servers and lose the third host at that moment; the DAG's end, and when it was."""
    host = world.hosts[2]
    if moment.is_fresh:
        await world.end_server(host)
    come = moment.prepare(world, host)
    dag_id = await world.start()
    await come()
    fault.cause(world, host)
    world.undo.callback(fault.mend, world, host)
    lost_at = datetime.now(UTC)
    release(world)
    return await world.end_of(dag_id), lost_at


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)
async def test_a_lost_host_is_named_delays_no_other_and_a_retry_mends_it(
    world: World, moment: Moment, fault: Fault, tell: Tell
) -> None:
    host, healthy, sick = world.hosts[2], world.names[:2], world.names[2]
    launches = [each.launches for each in world.hosts]
    dag, lost_at = await lose_host(world, moment, fault)

    # It is noticed where the host was next needed, and named with what to do.
    assert (dag["state"], dag["operator"], dag["stage"]) == ("FAILED", "RUN", moment.seen_at)
    failed = [number for number, node in enumerate(dag["nodes"], 1) if node["state"] == "FAILED"]
    assert failed == [moment.seen_at]
    task = find_task(dag, moment, sick)
    last = task["task_logs"][-1]
    assert "[Agent.RPC.RequestError]" in last, last
    assert host.ip in last, last
    assert "check that the host is up" in last, last
    assert last.endswith("then RETRY"), last

    # Nobody else had to wait for it.
    for stage in LANES:
        assert {sub_task(dag, stage, name)["state"] for name in healthy} == {"SUCCEED"}
    if moment.is_lane:
        assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
        if fault.is_silent:
            assert max(ended_at(sub_task(dag, 4, n)) for n in healthy) < ended_at(task)
    assert idle_share(dag, healthy) < 0.5, told(dag)
    evidence = dag["additional_data"]["evidence"]
    assert all(evidence[name]["verified"] for name in healthy)

    # With the host back, the rest is done, and nothing that was done is done again.
    await world.reset()
    mended = await world.retry(dag["id"])
    assert mended["state"] == "SUCCEED", told(mended)
    for stage in LANES:
        for name in healthy:
            assert sub_task(mended, stage, name) == sub_task(dag, stage, name)
    launched = [each.launches - before for each, before in zip(world.hosts, launches, strict=True)]
    assert launched == [0, 0, 1 if moment.is_fresh else 0]
    await world.expect_nothing_left()
    tell(row_of(f"{fault.name} {moment.name}", lost_at, task, dag, healthy))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_retry_while_the_host_is_still_away_says_the_same_and_touches_no_other(
    world: World, fault: Fault, tell: Tell
) -> None:
    dag, _ = await lose_host(world, MOMENTS[0], fault)
    begun_at = datetime.now(UTC)
    again = await world.retry(dag["id"])
    assert (again["state"], again["stage"]) == ("FAILED", 2)
    task = sub_task(again, 2, world.names[2])
    assert task["execute_times"] == 2
    assert world.hosts[2].ip in task["task_logs"][-1]
    for name in world.names[:2]:
        assert sub_task(again, 2, name) == sub_task(dag, 2, name)
    noticed_s = (ended_at(task) - begun_at).total_seconds()
    tell(Row(f"{fault.name} before the first connection", noticed_s, task["task_logs"][-1]))


def find_task(dag: Dag, moment: Moment, server: str) -> Dag:
    """The sub-task that notices the loss."""
    if moment.is_lane:
        return sub_task(dag, moment.seen_at, server)
    task: Dag = dag["nodes"][moment.seen_at - 1]["sub_tasks"][0]
    return task
