"""A controller and `doctor` with nothing but a cluster file of obd."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tasks.demo.hosts import DemoHosts
from tests.acceptance.conftest import ClusterTestbed, all_log_lines, wait_dag
from tests.acceptance.doctor_command import doctor, find_entry
from tests.acceptance.obd_clusters import ObdOcean, ObdSeekdb
from tests.support.leftovers import assert_nothing_left

pytestmark = pytest.mark.slow

Make = Callable[[], AbstractAsyncContextManager[ClusterTestbed]]


@asynccontextmanager
async def make_seekdb() -> AsyncIterator[ClusterTestbed]:
    async with DemoHosts(1) as hosts:
        testbed = ClusterTestbed(hosts, ObdSeekdb(hosts))
        try:
            yield testbed
        finally:
            await testbed.close()
        await assert_nothing_left(hosts)


@asynccontextmanager
async def open_oceanbase_cluster() -> AsyncIterator[ClusterTestbed]:
    async with DemoHosts(3) as hosts:
        cluster = ObdOcean(hosts, zones=3)
        testbed = ClusterTestbed(hosts, cluster)
        try:
            yield testbed
        finally:
            await testbed.close()
            cluster.ledger.close()
        await assert_nothing_left(hosts)


@pytest.mark.parametrize(
    ("make", "name", "level"),
    [(make_seekdb, "seekdb", "sql"), (open_oceanbase_cluster, "shop", "in service")],
    ids=["seekdb", "oceanbase-ce"],
)
async def test_obd_file_start_succeeds_and_doctor_is_healthy(
    make: Make, name: str, level: str
) -> None:
    async with make() as testbed:
        servers = [server.name for server in testbed.cluster.servers]
        status, document = await doctor(testbed)
        assert (status, document["healthy"]) == (0, True), document
        for server in servers:
            assert "a server does not run" in find_entry(document, server, "login")["said"]

        await testbed.start_controller()
        async with testbed.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
            assert dag["state"] == "SUCCEED", all_log_lines(dag)
            evidence = dag["additional_data"]["evidence"]
            assert {each: evidence[each]["level"] for each in servers} == dict.fromkeys(
                servers, level
            )
            assert (await client.get("/obcluster/info"))["cluster_name"] == name

        status, document = await doctor(testbed)
        assert (status, document["healthy"]) == (0, True), document
        for server in servers:
            assert "the server runs, pid" in find_entry(document, server, "login")["said"]
            assert find_entry(document, server, "sql")["health"] == "ok"
        assert "root_password is in this file in clear" in str(document)
        assert testbed.cluster.password not in str(document)
        assert testbed.cluster.password not in testbed.log.read_text()
        assert "root_password is in this file in clear" in testbed.log.read_text()
