"""A cluster file of obd is all that a controller and `doctor` need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tasks.demo.hosts import DemoHosts
from tests.acceptance.conftest import World, told, wait_dag
from tests.acceptance.doctor import doctor, found
from tests.acceptance.obd_clusters import ObdOcean, ObdSeekdb
from tests.leftovers import assert_nothing_left

pytestmark = pytest.mark.slow

Make = Callable[[], AbstractAsyncContextManager[World]]


@asynccontextmanager
async def make_seekdb() -> AsyncIterator[World]:
    async with DemoHosts(1) as hosts:
        world = World(hosts, ObdSeekdb(hosts))
        try:
            yield world
        finally:
            await world.close()
        await assert_nothing_left(hosts)


@asynccontextmanager
async def make_ocean() -> AsyncIterator[World]:
    async with DemoHosts(3) as hosts:
        cluster = ObdOcean(hosts, zones=3)
        world = World(hosts, cluster)
        try:
            yield world
        finally:
            await world.close()
            cluster.ledger.close()
        await assert_nothing_left(hosts)


@pytest.mark.parametrize(
    ("make", "name", "level"),
    [(make_seekdb, "seekdb", "sql"), (make_ocean, "shop", "in service")],
    ids=["seekdb", "oceanbase-ce"],
)
async def test_a_start_from_an_obd_file_succeeds_and_doctor_finds_nothing_wrong(
    make: Make, name: str, level: str
) -> None:
    async with make() as world:
        servers = [server.name for server in world.cluster.servers]
        status, document = await doctor(world)
        assert (status, document["healthy"]) == (0, True), document
        for server in servers:
            assert "a server does not run" in found(document, server, "login")["said"]

        await world.start_controller()
        async with world.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
            assert dag["state"] == "SUCCEED", told(dag)
            evidence = dag["additional_data"]["evidence"]
            assert {each: evidence[each]["level"] for each in servers} == dict.fromkeys(
                servers, level
            )
            assert (await client.get("/obcluster/info"))["cluster_name"] == name

        status, document = await doctor(world)
        assert (status, document["healthy"]) == (0, True), document
        for server in servers:
            assert "the server runs, pid" in found(document, server, "login")["said"]
            assert found(document, server, "sql")["health"] == "ok"
        assert "root_password is in this file in clear" in str(document)
        assert world.cluster.password not in str(document)
        assert world.cluster.password not in world.log.read_text()
        assert "root_password is in this file in clear" in world.log.read_text()
