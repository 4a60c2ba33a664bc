"""Controllers as separate processes on a real seekdb: faults of an owner.

Each step appends a line to a file outside the database. In the end, each line occurs once.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dagengine.runtime.clock import SystemClock
from dagengine.store.membership import ControllerState
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings
from tests.integration.ownership.service_processes import ServiceProcesses, service_processes
from tests.support.silent_proxy import open_silent_proxy

pytestmark = pytest.mark.slow

CLUSTERS = 2


@pytest_asyncio.fixture
async def service(database: MysqlSettings, tmp_path: Path) -> AsyncIterator[ServiceProcesses]:
    store = MysqlMembership(database, SystemClock(), secrets.token_bytes)
    with service_processes(database, store, tmp_path, CLUSTERS) as service:
        yield service
    await store.close()


async def test_killed_owner_is_replaced_and_dags_resumed(service: ServiceProcesses) -> None:
    first = service.start("a")
    await service.until_owned_by("a")
    await service.until_begun()
    service.start("b")
    await service.until_live("a", "b")
    first.send(signal.SIGKILL)
    await service.until_owned_by("b")
    await service.until_succeeded()
    service.check_effects()
    assert set((await service.owners()).values()) == {"b"}
    fleet = await service.fleet()
    assert {each.epoch for each in fleet.clusters.values()} == {2}
    states = {each.name: each.state for each in fleet.controllers.values()}
    assert states == {"a": ControllerState.DEAD, "b": ControllerState.LIVE}


async def test_frozen_owner_is_fenced_when_it_continues(service: ServiceProcesses) -> None:
    first = service.start("a")
    await service.until_begun()
    second = service.start("b")
    await service.until_live("b")
    first.send(signal.SIGSTOP)
    await service.until_owned_by("b")
    first.send(signal.SIGCONT)
    await service.until_logged(first, "controller_fenced")
    await service.until_succeeded()
    await service.until_live("a", "b")  # with a new id
    service.check_effects()
    assert first.process.poll() is None
    assert not second.events("controller_fenced")


async def test_owner_partitioned_from_database_is_fenced(
    service: ServiceProcesses, database: MysqlSettings
) -> None:
    async with open_silent_proxy(database.port) as proxy:
        first = service.start("a", port=proxy.port)
        await service.until_begun()
        service.start("b")
        await service.until_live("b")
        proxy.forwards.clear()
        await service.until_owned_by("b")
        await service.until_succeeded()
        proxy.forwards.set()
        await service.until_logged(first, "controller_fenced")
        await service.until_live("a", "b")
        service.check_effects()
        first.end()


async def test_outage_of_database_declares_none_dead(
    service: ServiceProcesses, database: MysqlSettings
) -> None:
    async with open_silent_proxy(database.port) as proxy:
        processes = [service.start(name, port=proxy.port) for name in ("a", "b")]
        await service.until_live("a", "b")
        await service.until_begun()
        before = await service.owners()
        proxy.forwards.clear()
        for process in processes:
            await service.until_logged(process, "heartbeat_failed")
            await service.until_logged(process, "watch_failed")
        proxy.forwards.set()
        await service.until_succeeded()
        service.check_effects()
        assert await service.owners() == before
        states = [each.state for each in (await service.fleet()).controllers.values()]
        assert states == [ControllerState.LIVE] * 2
        for process in processes:
            process.end()


async def test_owner_without_engine_opens_it_again(service: ServiceProcesses) -> None:
    first = service.start("a")
    await service.until_begun()
    first.send(signal.SIGUSR1)
    await service.until_logged(first, "cluster_without_engine", CLUSTERS)
    await service.until_succeeded()
    service.check_effects()
    assert {each.epoch for each in (await service.fleet()).clusters.values()} == {1}


async def test_leaving_owner_hands_its_clusters_over(service: ServiceProcesses) -> None:
    first = service.start("a")
    await service.until_begun()
    service.start("b")
    await service.until_live("b")
    first.send(signal.SIGTERM)
    await service.until_owned_by("b")
    await service.until_succeeded()
    service.check_effects()
    assert first.process.wait() == 0
    states = {each.name: each.state for each in (await service.fleet()).controllers.values()}
    assert states["a"] is ControllerState.LEFT


async def test_hanging_clean_up_does_not_stop_take_overs(service: ServiceProcesses) -> None:
    first = service.start("a", hangs_on_drop=("k0",), exits=False)
    await service.until_begun()
    second = service.start("b", clusters=("k1",))
    await service.until_live("b")
    first.send(signal.SIGSTOP)
    await service.until_owned_by("b", "k1")
    first.send(signal.SIGCONT)
    await service.until_logged(first, "clean_up_late")
    await service.until_live("a", "b")
    second.send(signal.SIGKILL)
    await service.until_owned_by("a", "k1")
    service.start("c", clusters=("k0",))
    await service.until_succeeded()
    service.check_effects()


async def test_hanging_clean_up_ends_process(service: ServiceProcesses) -> None:
    first = service.start("a", hangs_on_drop=("k0",))
    await service.until_begun()
    service.start("b")
    await service.until_live("b")
    first.send(signal.SIGSTOP)
    await service.until_owned_by("b")
    first.send(signal.SIGCONT)
    assert first.process.wait(timeout=60) == 70
    await service.until_succeeded()
    service.check_effects()


async def test_idle_clusters_are_handed_to_new_controller(service: ServiceProcesses) -> None:
    first = service.start("a", is_idle=True, hand_over_s=0.5, submits=False)
    await service.until_owned_by("a")
    service.start("b", submits=False)

    await service.until_logged(first, "cluster_given_away")
    await service.until_owned_by("b", "k0")
    assert await service.owners() == {"k0": "b", "k1": "a"}
