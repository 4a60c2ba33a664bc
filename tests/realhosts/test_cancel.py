"""CANCEL in the middle of each stage: nothing of ours runs on, whether the host answers or not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from dagengine.testing import eventually
from tests.realhosts.faults import FAULTS, LINK_DOWN, PACKETS_DROPPED, Fault
from tests.realhosts.moments import MOMENTS, Moment
from tests.realhosts.report import Row, ended_at
from tests.realhosts.world import Dag, World, sub_task, told

pytestmark = pytest.mark.asyncio(loop_scope="module")

Tell = Callable[[Row], None]
MIDDLES = [moment for moment in MOMENTS if moment.name.startswith("in the middle")]
START = 3
SILENT = (LINK_DOWN, PACKETS_DROPPED)
LOST = [(m, fault) for m in MIDDLES for fault in (FAULTS if m.stage == START else SILENT)]


async def cancel(world: World, dag_id: str) -> tuple[Dag, float]:
    """The DAG's end, and how long it took, in seconds."""
    asked_at = datetime.now(UTC)
    await world.client.operate_dag(dag_id, "CANCEL")
    dag = await world.end_of(dag_id)
    return dag, (ended_at(dag) - asked_at).total_seconds()


@pytest.mark.parametrize("moment", MIDDLES, ids=lambda moment: moment.name)
async def test_after_a_cancel_nothing_of_ours_runs_on(
    world: World, moment: Moment, tell: Tell
) -> None:
    host = world.hosts[2]
    if moment.is_fresh:
        await world.end_server(host)
    come = moment.prepare(world, host)
    dag_id = await world.start()
    await come()

    async def is_there() -> bool:  # every lane, not only the one that is held
        return (await world.client.get_dag(dag_id))["stage"] == moment.stage

    await eventually(is_there, timeout_s=120, what=f"stage {moment.stage} of all lanes")
    dag, took_s = await cancel(world, dag_id)

    assert (dag["state"], dag["operator"], dag["stage"]) == ("FAILED", "CANCEL", moment.stage)
    # At this very moment, not eventually: the end was proven before the DAG ended.
    for each in world.hosts:
        assert each.strangers() == [], each.ip
        assert not each.is_home_locked(), each.ip
        assert each.temporary_files() == [], each.ip
    running = 0 if moment.stage == START else 1
    assert [len(each.servers()) for each in world.hosts] == [1, 1, running]
    assert await world.client.list_unfinished() == []
    tell(Row(f"CANCEL {moment.name}", took_s, last_words(dag, moment, world.name(host))))

    await world.reset()
    again = await world.end_of(await world.start())
    assert again["state"] == "SUCCEED", told(again)
    await world.expect_nothing_left()


@pytest.mark.parametrize(
    ("moment", "fault"), LOST, ids=[f"{fault.name} {moment.name}" for moment, fault in LOST]
)
async def test_a_cancel_ends_although_the_host_is_gone_and_the_next_start_looks_first(
    world: World, moment: Moment, fault: Fault, tell: Tell
) -> None:
    host = world.hosts[2]
    if moment.is_fresh:
        await world.end_server(host)
    launches = [each.launches for each in world.hosts]
    come = moment.prepare(world, host)
    if moment.is_lane:
        (world.holds / "5-before").touch()  # a loud loss must not end the DAG before the cancel
    dag_id = await world.start()
    await come()
    servers = [[server.pid for server in each.servers()] for each in world.hosts[:2]]
    fault.cause(world, host)
    world.undo.callback(fault.mend, world, host)
    dag, took_s = await cancel(world, dag_id)
    assert (dag["state"], dag["operator"]) == ("FAILED", "CANCEL")
    assert await world.client.list_unfinished() == []
    for each, running in zip(world.hosts, servers, strict=False):
        assert each.strangers() == [], each.ip
        assert [server.pid for server in each.servers()] == running
    last = last_words(dag, moment, world.name(host))
    tell(Row(f"CANCEL {moment.name}, {fault.name}", took_s, last))

    # What was lost goes on where nobody can see it; the next start finds what it started.
    await world.reset()
    again = await world.end_of(await world.start())
    assert again["state"] == "SUCCEED", told(again)
    launched = [each.launches - before for each, before in zip(world.hosts, launches, strict=True)]
    assert launched == [0, 0, 1 if moment.is_fresh else 0], told(again)
    await world.expect_nothing_left()


def last_words(dag: Dag, moment: Moment, server: str) -> str:
    if moment.stage in (2, 3, 4):
        tasks = [sub_task(dag, moment.stage, server)]
    else:
        tasks = dag["nodes"][moment.stage - 1]["sub_tasks"]
    lines = [line for task in tasks for line in task["task_logs"] or ["nothing"]]
    return str(lines[-1])
