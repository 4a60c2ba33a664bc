"""Three zones of three stand-in observers, each on a host of its own, that go and come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.realhosts.faults import LINK_DOWN, PACKETS_DROPPED, SSHD_FROZEN, Fault
from tests.realhosts.host import Host
from tests.realhosts.ocean import launches, make_ocean, open_ledger, serving
from tests.realhosts.report import Row, ended_at
from tests.realhosts.world import World, sub_task, told, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Tell = Callable[[Row], None]
CHECK, START, CLUSTER = 2, 3, 5
ALL = list(range(1, 10))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_world(made_worlds: list[World]) -> AsyncIterator[World]:
    """Nine hosts; every server is in service."""
    async with make_ocean(made_worlds, per_zone=3) as found:
        yield found


def zone(world: World, name: str) -> list[Host]:
    return [host for host in world.hosts if host.zone == name]


def pids(world: World) -> list[list[int]]:
    return [[server.pid for server in host.servers()] for host in world.hosts]


def lose(world: World, hosts: Sequence[Host], fault: Fault) -> None:
    for host in hosts:
        fault.cause(world, host)
        world.undo.callback(fault.mend, world, host)


def held_launch(world: World, host: Host) -> Callable[[], bool]:
    """The start script of that host waits, under no lock yet, until the world is reset."""
    gate = host.gate("dagengine-start")
    world.undo.callback(gate.open)
    return lambda: gate.is_reached


async def forget_connections(world: World) -> None:
    """Another controller: whatever it asks of a host is a new connection in its sshd's log."""
    await world.end_controller()
    await world.start_controller()


async def test_a_start_of_a_server_a_zone_and_all_reaches_its_own_hosts_alone(
    world: World,
) -> None:
    for host in world.hosts:
        await world.end_server(host)
    await forget_connections(world)
    contacts = [host.contacts for host in world.hosts]
    # No majority lives: the process comes up, and the cluster itself does not serve.
    alone = await world.end_of(await world.start("SERVER", [world.names[0]]))
    assert (alone["state"], alone["stage"]) == ("FAILED", CLUSTER), told(alone)
    assert "majority" in told(alone)
    assert [len(host.servers()) for host in world.hosts] == [1] + [0] * 8

    by_zone = await world.start("ZONE", ["zone2"])
    assert (await world.end_of(by_zone))["state"] == "SUCCEED"
    assert serving(world) == [1, 4, 5, 6]
    silent = zone(world, "zone3") + zone(world, "zone1")[1:]
    assert [host.contacts - contacts[host.number - 1] for host in silent] == [0] * 5

    by_global = await world.end_of(await world.start())
    assert by_global["state"] == "SUCCEED", told(by_global)
    assert serving(world) == ALL
    evidence = by_global["additional_data"]["evidence"]
    assert all(evidence[name]["cross_checked"] for name in world.names)
    await world.expect_nothing_left()


async def test_a_start_of_one_server_leaves_a_host_alone_that_answers_nothing(
    world: World,
) -> None:
    one, away = world.hosts[0], world.hosts[8]
    await world.end_server(one)
    await forget_connections(world)
    lose(world, [away], SSHD_FROZEN)
    contacts = [host.contacts for host in world.hosts[1:]]
    dag = await world.end_of(await world.start("SERVER", [world.names[0]]))
    assert dag["state"] == "SUCCEED", told(dag)
    await world.reset()  # it would log now who has called meanwhile
    dag = await world.end_of(await world.start("SERVER", [world.names[0]]))
    assert dag["state"] == "SUCCEED", told(dag)
    assert [host.contacts for host in world.hosts[1:]] == contacts
    assert serving(world) == ALL


async def test_a_zone_stopped_by_sql_is_started_again_and_no_process_changes(
    world: World,
) -> None:
    before = pids(world)
    stopped = await world.end_of((await world.client.stop("ZONE", ["zone2"]))["id"])
    assert stopped["state"] == "SUCCEED", told(stopped)
    with open_ledger(world) as ledger:
        zones = "SELECT zone FROM DBA_OB_ZONES WHERE status = 'INACTIVE'"
        assert ledger.rows(zones) == [("zone2",)]
        dag = await world.end_of(await world.start("ZONE", ["zone2"]))
        assert dag["state"] == "SUCCEED", told(dag)
        assert ledger.rows(zones) == []
        assert ledger.statements()[-1] == "ALTER SYSTEM START ZONE 'zone2'"
    assert pids(world) == before


async def test_a_zone_whose_hosts_are_all_lost_leaves_the_other_two_in_service(
    world: World, tell: Tell
) -> None:
    lost, rest = zone(world, "zone2"), zone(world, "zone1") + zone(world, "zone3")
    await world.end_server(rest[0])
    for host in lost:
        await world.end_server(host)
    lose(world, lost, PACKETS_DROPPED)
    lost_at = datetime.now(UTC)
    dag = await world.end_of(await world.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), told(dag)
    tasks = [sub_task(dag, CHECK, world.name(host)) for host in lost]
    assert all(host.ip in task["task_logs"][-1] for host, task in zip(lost, tasks, strict=True))
    assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
    assert serving(world) == [host.number for host in rest]
    last = max(tasks, key=ended_at)
    noticed_s = (ended_at(last) - lost_at).total_seconds()
    tell(Row("oceanbase 3x3: a zone's hosts lost", noticed_s, last["task_logs"][-1]))

    await world.reset()
    mended = await world.retry(dag["id"])
    assert mended["state"] == "SUCCEED", told(mended)
    assert serving(world) == ALL
    await world.expect_nothing_left()


async def test_a_lost_majority_is_named_and_a_retry_regains_it(world: World, tell: Tell) -> None:
    for host in world.hosts:
        await world.end_server(host)
    lost = zone(world, "zone2") + zone(world, "zone3")
    lose(world, lost, LINK_DOWN)
    lost_at = datetime.now(UTC)
    dag = await world.end_of(await world.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), told(dag)
    (task,) = dag["nodes"][CLUSTER - 1]["sub_tasks"]
    last = task["task_logs"][-1]
    assert "no majority of the cluster answers: servers of 2 of its 3 zones" in last, last
    assert all(host.ip in last for host in lost), last
    assert serving(world) == []
    before = pids(world)
    noticed_s = (ended_at(task) - lost_at).total_seconds()
    tell(Row("oceanbase 3x3: six of nine links down", noticed_s, last))

    await world.reset()
    mended = await world.retry(dag["id"])
    assert mended["state"] == "SUCCEED", told(mended)
    assert serving(world) == ALL
    assert pids(world)[:3] == before[:3]
    await world.expect_nothing_left()


async def test_a_host_lost_in_the_middle_of_its_start_is_found_started_once(
    world: World, tell: Tell
) -> None:
    host = world.hosts[4]
    await world.end_server(host)
    before, others = launches(host), pids(world)
    is_reached = held_launch(world, host)
    dag_id = await world.start()
    await until(is_reached, "the start script")
    lose(world, [host], PACKETS_DROPPED)
    lost_at = datetime.now(UTC)
    dag = await world.end_of(dag_id)
    assert (dag["state"], dag["stage"]) == ("FAILED", START), told(dag)
    task = sub_task(dag, START, world.name(host))
    assert host.ip in task["task_logs"][-1]
    assert serving(world) == [number for number in ALL if number != host.number]
    noticed_s = (ended_at(task) - lost_at).total_seconds()
    tell(Row("oceanbase 3x3: packets dropped in stage 3", noticed_s, task["task_logs"][-1]))

    await world.reset()  # the lost script goes on, and starts the server
    mended = await world.retry(dag_id)
    assert mended["state"] == "SUCCEED", told(mended)
    assert launches(host) - before == 1, told(mended)
    others[4] = [server.pid for server in host.servers()]
    assert pids(world) == others
    assert serving(world) == ALL
    await world.expect_nothing_left()


async def test_a_cancel_leaves_nothing_at_work_and_the_others_as_they_were(
    world: World,
) -> None:
    host = world.hosts[4]
    await world.end_server(host)
    before = pids(world)
    is_reached = held_launch(world, host)
    dag_id = await world.start()
    await until(is_reached, "the start script")
    await world.client.operate_dag(dag_id, "CANCEL")
    dag = await world.end_of(dag_id)
    assert (dag["state"], dag["operator"]) == ("FAILED", "CANCEL"), told(dag)
    for each in world.hosts:  # at this very moment: its end is proven
        assert each.strangers() == [], each.ip
        assert not each.is_home_locked(), each.ip
    assert pids(world) == before
    assert await world.client.list_unfinished() == []

    await world.reset()
    again = await world.end_of(await world.start())
    assert again["state"] == "SUCCEED", told(again)
    await world.expect_nothing_left()


async def test_a_rollback_ends_what_it_started_and_leaves_running_what_ran_before(
    world: World,
) -> None:
    started, away = world.hosts[1], world.hosts[8]
    for host in (started, away):
        await world.end_server(host)
    lose(world, [away], LINK_DOWN)
    before = pids(world)
    dag = await world.end_of(await world.start())
    assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), told(dag)
    assert len(started.servers()) == 1

    await world.client.operate_dag(dag["id"], "ROLLBACK")
    undone = await world.end_of(dag["id"])
    assert (undone["state"], undone["operator"]) == ("SUCCEED", "ROLLBACK"), told(undone)
    assert pids(world) == before
    await world.reset()
    again = await world.end_of(await world.start())
    assert again["state"] == "SUCCEED", told(again)
    assert serving(world) == ALL
