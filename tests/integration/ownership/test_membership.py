"""Membership and ownership on a real seekdb: the contract of MembershipStore."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from dagengine.errors import MembershipRefused
from dagengine.mysql import open_connection
from dagengine.runtime.clock import SystemClock
from dagengine.store.membership import (
    ClusterPins,
    ControllerState,
    JoiningController,
    ServedCluster,
)
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings

pytestmark = pytest.mark.slow

JOINING = JoiningController("ctl-a", "1.0", 2.5, "ab" * 32)
DEMO = ClusterPins("demo", 1, "seekdb", "10.0.0.1:2886")


def open_membership(settings: MysqlSettings) -> MysqlMembership:
    return MysqlMembership(settings, SystemClock(), secrets.token_bytes)


@pytest.fixture
async def store(database: MysqlSettings) -> AsyncIterator[MysqlMembership]:
    store = open_membership(database)
    yield store
    await store.close()


def served(*clusters: str, ready: bool = True) -> list[ServedCluster]:
    return [ServedCluster(name, f"https://a/{name}", "d1", ready) for name in clusters]


async def query(settings: MysqlSettings, statement: str) -> list[tuple[object, ...]]:
    async with open_connection((settings.host, settings.port), user="root", password="") as sql:
        await sql.query(f"USE {settings.database}")
        return list((await sql.query(statement)).rows)


async def test_join_gives_each_controller_its_own_id(store: MysqlMembership) -> None:
    first, second = await store.join(JOINING), await store.join(JOINING)
    fleet = await store.read_fleet()
    assert second == first + 1
    assert fleet.live() == (first, second)
    record = fleet.controllers[first]
    assert (record.name, record.version, record.beat) == ("ctl-a", "1.0", 0)
    assert record.state is ControllerState.LIVE


async def test_join_of_many_at_once_gives_different_ids(database: MysqlSettings) -> None:
    stores = [open_membership(database) for _ in range(6)]
    ids = await asyncio.gather(*(store.join(JOINING) for store in stores))
    await asyncio.gather(*(store.close() for store in stores))
    assert len(set(ids)) == 6


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (replace(JOINING, lease_s=3.0), "a lease of 3 s, but .* have 2.5 s"),
        (replace(JOINING, key_fingerprint="cd" * 32), "the RSA key cdcd"),
    ],
    ids=["lease", "key"],
)
async def test_join_with_other_pin_is_refused(
    store: MysqlMembership, other: JoiningController, reason: str
) -> None:
    await store.join(JOINING)
    with pytest.raises(MembershipRefused, match=reason) as refused:
        await store.join(other)
    assert refused.value.remedy
    assert len((await store.read_fleet()).controllers) == 1


async def test_pin_cluster_race_keeps_first_row(database: MysqlSettings) -> None:
    stores = [open_membership(database) for _ in range(6)]
    pins = [replace(DEMO, cluster_id=number) for number in range(6)]
    pinned = await asyncio.gather(
        *(store.pin_cluster(each) for store, each in zip(stores, pins, strict=True))
    )
    fleet = await stores[0].read_fleet()
    await asyncio.gather(*(store.close() for store in stores))
    assert len(set(pinned)) == 1
    assert fleet.clusters["demo"].pins == pinned[0]
    assert len(fleet.clusters["demo"].store_id) == 32


async def test_pin_cluster_returns_pinned_values(store: MysqlMembership) -> None:
    assert await store.pin_cluster(DEMO) == DEMO
    assert await store.pin_cluster(replace(DEMO, flavour="oceanbase")) == DEMO


async def test_beat_of_dead_controller_returns_false(store: MysqlMembership) -> None:
    me = await store.join(JOINING)
    assert await store.beat(me)
    assert await store.declare_dead(me, beat=1)
    assert not await store.beat(me)
    record = (await store.read_fleet()).controllers[me]
    assert (record.state, record.beat) == (ControllerState.DEAD, 1)


async def test_beat_of_unknown_controller_returns_false(store: MysqlMembership) -> None:
    assert not await store.beat(4711)


async def test_declare_dead_with_old_beat_changes_nothing(store: MysqlMembership) -> None:
    me = await store.join(JOINING)
    await store.beat(me)
    assert not await store.declare_dead(me, beat=0)
    assert await store.beat(me)


async def test_take_over_of_new_cluster_starts_epoch_one(store: MysqlMembership) -> None:
    me = await store.join(JOINING)
    await store.pin_cluster(DEMO)
    seen = (await store.read_fleet()).clusters["demo"]
    taken = await store.take_over(seen, me)
    assert taken is not None
    assert (taken.cluster, taken.owner, taken.epoch, taken.commit_no) == ("demo", me, 1, 1)
    record = (await store.read_fleet()).clusters["demo"]
    assert (record.owner, record.epoch, record.commit_no) == (me, 1, 1)


async def test_take_over_race_has_one_winner(database: MysqlSettings) -> None:
    stores = [open_membership(database) for _ in range(6)]
    ids = [await store.join(JOINING) for store in stores]
    await stores[0].pin_cluster(DEMO)
    seen = (await stores[0].read_fleet()).clusters["demo"]
    taken = await asyncio.gather(
        *(store.take_over(seen, me) for store, me in zip(stores, ids, strict=True))
    )
    record = (await stores[0].read_fleet()).clusters["demo"]
    await asyncio.gather(*(store.close() for store in stores))
    assert [each.owner for each in taken if each is not None] == [record.owner]
    assert record.epoch == 1


@pytest.mark.parametrize("change", [{"owner": None}, {"epoch": 0}, {"owner": 99}])
async def test_take_over_of_changed_cluster_is_refused(
    store: MysqlMembership, change: dict[str, int | None]
) -> None:
    first, second = await store.join(JOINING), await store.join(JOINING)
    await store.pin_cluster(DEMO)
    await store.take_over((await store.read_fleet()).clusters["demo"], first)
    seen = (await store.read_fleet()).clusters["demo"]
    assert await store.take_over(replace(seen, **change), second) is None  # type: ignore[arg-type]
    assert (await store.read_fleet()).clusters["demo"].owner == first


async def test_give_away_frees_cluster_for_other(store: MysqlMembership) -> None:
    first, second = await store.join(JOINING), await store.join(JOINING)
    await store.pin_cluster(DEMO)
    ownership = await store.take_over((await store.read_fleet()).clusters["demo"], first)
    assert ownership is not None
    assert await store.give_away(ownership, second)
    record = (await store.read_fleet()).clusters["demo"]
    assert (record.owner, record.reserved_for, record.epoch) == (None, second, 1)
    assert not await store.give_away(ownership, None)
    taken = await store.take_over(record, second)
    assert taken is not None
    assert taken.epoch == 2
    assert (await store.read_fleet()).clusters["demo"].reserved_for is None


async def test_leave_of_dead_controller_keeps_dead(store: MysqlMembership) -> None:
    first, second = await store.join(JOINING), await store.join(JOINING)
    await store.declare_dead(first, beat=0)
    await store.leave(first)
    await store.leave(second)
    controllers = (await store.read_fleet()).controllers
    assert controllers[first].state is ControllerState.DEAD
    assert controllers[second].state is ControllerState.LEFT


async def test_announce_replaces_earlier_rows(store: MysqlMembership) -> None:
    me = await store.join(JOINING)
    await store.pin_cluster(DEMO)
    await store.announce(me, served("demo", "old"))
    await store.announce(me, [*served("demo"), *served("broken", ready=False)])
    fleet = await store.read_fleet()
    assert {each.cluster for each in fleet.served[me]} == {"demo", "broken"}
    assert fleet.ready_for(me) == {"demo"}
    assert fleet.servable() == {"demo"}


async def test_forget_controllers_keeps_named_owner(store: MysqlMembership) -> None:
    owner, other, live = [await store.join(JOINING) for _ in range(3)]
    await store.pin_cluster(DEMO)
    await store.announce(other, served("demo"))
    await store.take_over((await store.read_fleet()).clusters["demo"], owner)
    await store.declare_dead(owner, beat=0)
    await store.leave(other)
    assert await store.forget_controllers([owner, other, live]) == 1
    fleet = await store.read_fleet()
    assert set(fleet.controllers) == {owner, live}
    assert other not in fleet.served


async def test_id_of_forgotten_controller_is_not_reused(store: MysqlMembership) -> None:
    me = await store.join(JOINING)
    await store.leave(me)
    assert await store.forget_controllers([me]) == 1
    assert await store.join(JOINING) == me + 1


async def test_forget_cluster_deletes_its_rows_only(
    store: MysqlMembership, database: MysqlSettings
) -> None:
    await store.pin_cluster(DEMO)
    await store.pin_cluster(replace(DEMO, name="prod"))
    for name in ("demo", "prod"):
        await query(database, f"INSERT INTO id_seq VALUES ('{name}', 'dag', 5)")
    await store.forget_cluster("demo")
    assert set((await store.read_fleet()).clusters) == {"prod"}
    rows = await query(database, "SELECT cluster FROM id_seq WHERE kind = 'dag'")
    assert rows in ([("prod",)], [(b"prod",)])


async def test_forget_cluster_refuses_served_cluster(store: MysqlMembership) -> None:
    me = await store.join(JOINING)
    await store.pin_cluster(DEMO)
    await store.announce(me, served("demo"))
    with pytest.raises(MembershipRefused, match="running controllers: ctl-a"):
        await store.forget_cluster("demo")
    assert "demo" in (await store.read_fleet()).clusters


async def test_forget_cluster_refuses_unfinished_dags(
    store: MysqlMembership, database: MysqlSettings
) -> None:
    await store.pin_cluster(DEMO)
    columns = "cluster, dag_id, name, version, params, targets, stage, max_stage, state, operator"
    more = "lock_token, created_at, start_at, end_at, last_lock_token"
    values = "'demo', 1, 'op', 1, '{}', '[]', 1, 1, 'RUNNING', 'RUN', 0, 0, 0, 0, 0"
    await query(database, f"INSERT INTO dag ({columns}, {more}) VALUES ({values})")
    with pytest.raises(MembershipRefused, match="unfinished DAGs: 1"):
        await store.forget_cluster("demo")
    await query(database, "UPDATE dag SET state = 'SUCCEED'")
    await store.forget_cluster("demo")
    assert await query(database, "SELECT dag_id FROM dag") == []


async def test_forget_cluster_of_unknown_name_is_refused(store: MysqlMembership) -> None:
    with pytest.raises(MembershipRefused, match="no cluster nowhere"):
        await store.forget_cluster("nowhere")
