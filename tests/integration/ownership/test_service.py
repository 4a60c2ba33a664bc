"""Passes of ownership services in this process, on the tables of a real seekdb."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from dagengine.act_guard import ActGuard
from dagengine.errors import ConfigError, MembershipRefused
from dagengine.model.fencing import Ownership
from dagengine.mysql import open_connection
from dagengine.ownership.local_cluster import LocalCluster
from dagengine.ownership.metrics import OwnershipCollector
from dagengine.ownership.service import OwnershipService
from dagengine.ownership.timings import Timings
from dagengine.store.membership import ClusterPins, JoiningController
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.testing import FakeClock, eventually

pytestmark = pytest.mark.slow

PINS = ClusterPins("demo", 1, "seekdb", "2886 10.0.0.1")
JOINING = JoiningController("a", "1", 2.5, "ab" * 32)


class Host:
    """A ClusterHost that only records which engines would run."""

    def __init__(self) -> None:
        self.opened: dict[str, Ownership] = {}
        self.fails = False
        self.hangs = False

    async def open(self, cluster: str, ownership: Ownership, act_guard: ActGuard) -> None:
        if self.fails:
            raise ConfigError("the cluster file is invalid")
        self.opened[cluster] = ownership

    async def close(self, cluster: str) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        del self.opened[cluster]

    async def drop(self, cluster: str) -> None:
        del self.opened[cluster]

    def is_running(self, cluster: str) -> bool:
        return cluster in self.opened

    def is_idle(self, cluster: str) -> bool:
        return False


class Member:
    """One controller."""

    def __init__(
        self,
        database: MysqlSettings,
        name: str,
        pins: ClusterPins,
        timings: Timings = Timings(),  # noqa: B008  # frozen
        **more: Any,
    ) -> None:
        self.clock = FakeClock()
        self.host = Host()
        self.locals = [LocalCluster(pins, "http://x", "digest")]
        self.service = OwnershipService(
            lambda: MysqlMembership(database, self.clock, secrets.token_bytes),
            replace(JOINING, name=name, **more),
            lambda: self.locals,
            self.host,
            self.clock,
            timings,
            lambda: None,
        )

    async def pass_until(self, condition: Callable[[], bool]) -> None:
        """Make passes until a condition holds."""

        async def holds() -> bool:
            await self.service.run_pass()
            return condition()

        await eventually(holds)


Join = Callable[..., Coroutine[Any, Any, Member]]


@pytest_asyncio.fixture
async def join(database: MysqlSettings) -> AsyncIterator[Join]:
    async with AsyncExitStack() as stack:

        async def join_member(name: str, pins: ClusterPins = PINS, **more: Any) -> Member:
            member = Member(database, name, pins, **more)
            stack.push_async_callback(member.service.leave)
            await member.service.join()
            return member

        yield join_member


async def test_service_takes_over_new_cluster(join: Join) -> None:
    member = await join("a")
    await member.pass_until(lambda: member.service.owns("demo") is not None)
    ownership = member.service.owns("demo")
    assert ownership == member.host.opened["demo"]
    assert ownership is not None
    assert (ownership.owner, ownership.epoch) == (member.service.controller_id, 1)


async def test_service_with_other_lease_is_refused(join: Join) -> None:
    await join("a")
    with pytest.raises(MembershipRefused, match="a lease of 5 s"):
        await join("b", lease_s=5.0)


async def test_failed_open_gives_cluster_to_other(join: Join) -> None:
    first = await join("a")
    first.host.fails = True
    await first.pass_until(lambda: "demo" in first.service.fleet.owned_by(1))
    second = await join("b")
    await second.service.run_pass()
    await first.pass_until(lambda: first.service.fleet.clusters["demo"].owner is None)
    await second.pass_until(lambda: second.service.owns("demo") is not None)
    assert first.service.owns("demo") is None
    await first.service.run_pass()
    assert not first.host.opened


async def test_failed_open_without_other_is_repeated(join: Join) -> None:
    member = await join("a")
    member.host.fails = True
    await member.pass_until(lambda: "demo" in member.service.fleet.owned_by(1))
    member.host.fails = False
    for _ in range(3):
        await member.service.run_pass()
    assert not member.host.opened  # the pause after a failure
    member.clock.advance(6)
    await member.pass_until(lambda: "demo" in member.host.opened)


async def test_cluster_with_other_pins_is_not_served(join: Join) -> None:
    first = await join("a")
    await first.service.run_pass()
    second = await join("b", replace(PINS, flavour="oceanbase"))
    await second.service.run_pass()
    assert "flavour oceanbase" in second.service.differences["demo"]
    await first.pass_until(lambda: first.service.owns("demo") is not None)
    assert second.service.fleet.ready_for(2) == frozenset()


async def test_lost_cluster_drops_engine(join: Join, database: MysqlSettings) -> None:
    member = await join("a")
    await member.pass_until(lambda: member.service.owns("demo") is not None)
    async with open_connection(
        (database.host, database.port), user=database.user, password=""
    ) as connection:
        await connection.query(f"UPDATE {database.database}.cluster SET epoch = 7")
    await member.pass_until(lambda: member.host.opened.get("demo", PINS) is PINS)
    await member.pass_until(lambda: "demo" in member.host.opened)
    assert member.host.opened["demo"].epoch == 7


async def test_leave_with_hanging_engine_still_leaves(join: Join) -> None:
    first = await join("a", timings=Timings(close_s=0.05))
    await first.pass_until(lambda: first.service.owns("demo") is not None)
    second = await join("b")
    first.host.hangs = True
    with capture_logs() as logs:
        await first.service.leave()
    cut = [line["phase"] for line in logs if line["event"] == "stop_phase_cut"]
    assert cut == ["engines"]
    assert "controller_left" in [line["event"] for line in logs]
    await second.pass_until(lambda: second.service.owns("demo") is not None)


async def test_reload_announces_changed_clusters(join: Join) -> None:
    member = await join("a")
    await member.service.run_pass()
    member.locals = [replace(member.locals[0], refusal="its file is invalid")]
    member.service.reload()
    await member.service.run_pass()
    assert member.service.fleet.servable() == frozenset()
    assert member.service.status().unserved_clusters == 1


async def test_refused_cluster_is_closed_and_given_away(join: Join) -> None:
    first, second = await join("a"), await join("b")
    await first.pass_until(lambda: first.service.owns("demo") is not None)
    await second.service.run_pass()
    first.locals = [replace(first.locals[0], refusal="the store is on it")]
    first.service.reload()
    await first.pass_until(lambda: not first.host.opened)
    assert first.service.differences == {"demo": "the store is on it"}
    await second.pass_until(lambda: second.service.owns("demo") is not None)


async def test_metrics_show_ownership(join: Join) -> None:
    member = await join("a")
    await member.pass_until(lambda: member.service.owns("demo") is not None)
    registry = CollectorRegistry()
    registry.register(OwnershipCollector(member.service.status))
    lines = generate_latest(registry).decode().splitlines()
    assert {
        'dagengine_controllers{state="LIVE"} 1.0',
        "dagengine_controller_live 1.0",
        "dagengine_owned_clusters 1.0",
        "dagengine_unserved_clusters 0.0",
        "dagengine_take_overs_total 1.0",
        "dagengine_fencings_total 0.0",
        "dagengine_heartbeat_delay_seconds 0.0",
    } <= set(lines)
