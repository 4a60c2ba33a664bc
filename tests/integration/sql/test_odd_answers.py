"""Commands that log in, while one server answers SQL in a way that no server should.

Each command ends with a result or a declared error, nothing is reported as unexpected, and what is
known about the other server stays as it is. The odd answers are those of a process that was
identified as the server, so that logins reach it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from dagengine import Failed, Succeeded
from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.testing import LocalRunner
from tasks.cluster.root_password import RootLogins
from tasks.doctor.examine import examine
from tasks.flavours.select import select_actions
from tasks.hosts.identity import ProcessIdentity
from tasks.operations.health import MonitoredServer, wait_until_healthy
from tasks.operations.health_outcome import health_outcome
from tasks.operations.start import START, start_operation
from tasks.sql.access import read_sql_facts
from tasks.sql.cluster import SERVERS, address_of, open_cluster_sql, parse_servers
from tasks.sql.connection import SqlPasswordRefused
from tests.support.hostile_cluster import (
    FIRST,
    PASSWORD,
    SECOND,
    FakeContext,
    HostileCluster,
    open_hostile_cluster,
    row_answers,
    wait_dag,
)
from tests.support.sql_listener import FRIENDLY, ODD_ANSWERS

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNEXPECTED = "Common.Unexpected"
# The client waits for these until its limit, which is shorter for them.
SILENT = {
    *("greets with silence", "login: silence", "silence", "slow bytes", "endless rows"),
    *("shorter than it states", "greets as SSH"),
}
SILENT_CALL_S = 1.5
SHAPES = {name for name, each in ODD_ANSWERS.items() if each.moment == "cluster query"}
# Both flavours use the same client, so one of them meets only some violations of the protocol.
BY_FLAVOUR = {
    "oceanbase": set(ODD_ANSWERS),
    "seekdb": SHAPES | set([name for name in ODD_ANSWERS if name not in SILENT][::3]) | {"silence"},
}
# CI runs these; `make soak` runs all.
SAMPLE = {*sorted(ODD_ANSWERS.keys() - SILENT)[::6], *sorted(SHAPES)[:2], "silence"}


def sampled(names: Iterable[str]) -> list[Any]:
    """Return the parameters of a test: the sample is slow, the others belong to the soak."""
    mark = {True: pytest.mark.slow, False: pytest.mark.soak}
    return [pytest.param(name, marks=mark[name in SAMPLE]) for name in names]


# A server that answers in a valid form can only be disbelieved by comparison.
PLAUSIBLE = {
    *("no rows", "no rows for the cluster", "the same row 1000 times"),
}

Command: TypeAlias = Callable[[HostileCluster, Client], Awaitable[Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["seekdb", "oceanbase"])
async def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[HostileCluster]:
    directory = tmp_path_factory.mktemp("odd")
    async with open_hostile_cluster(request.param, directory) as opened:
        yield opened


# --- the commands --------------------------------------------------------------------------------


async def start(cluster: HostileCluster, client: Client) -> Any:
    return await wait_dag(client, (await client.start("SERVER", [FIRST]))["id"])


async def first_start(cluster: HostileCluster, client: Client) -> Any:
    monitored = MonitoredServer(
        *(cluster.first, LocalRunner(), await process_of(cluster), 0, PASSWORD, RootLogins()),
        is_first=True,
        awaits_password=True,
    )
    context = FakeContext(FIRST).as_context()
    try:
        result = await wait_until_healthy(monitored, context, cluster.clock)
    except SqlPasswordRefused as exc:
        return exc.message
    return await health_outcome(result, monitored, context)


async def run_stage(cluster: HostileCluster, number: int) -> Any:
    operation = start_operation(cluster.access)
    data = {"process": asdict(await process_of(cluster)), "log_from": 0}
    params = {"scope": {"type": "GLOBAL", "target": []}}
    context = FakeContext(None, params=params, data={START: data})
    return await operation.stages[number - 1].run(context.as_context())


async def start_cluster(cluster: HostileCluster, client: Client) -> Any:
    return await run_stage(cluster, 5)


async def verify(cluster: HostileCluster, client: Client) -> Any:
    return await run_stage(cluster, 6)


async def plan_plain_stop(cluster: HostileCluster, client: Client) -> Any:
    return await client.stop("ZONE", ["zone1"], dry_run=True)


async def plan_terminate(cluster: HostileCluster, client: Client) -> Any:
    return await client.stop("SERVER", [FIRST], terminate=True, dry_run=True)


async def freeze(cluster: HostileCluster, client: Client) -> Any:
    context = FakeContext(None, params={"scope": {"type": "SERVER", "target": [FIRST]}})
    return await select_actions(cluster.access).freeze(context.as_context(), [FIRST])


async def plain_stop(cluster: HostileCluster, client: Client) -> Any:
    dag = await client.stop("ZONE", ["zone1"])
    return await wait_dag(client, dag["id"])


async def ob_info(cluster: HostileCluster, client: Client) -> Any:
    data = await client.get("/ob/info")
    (row,) = data["obcluster_info"]["topology"]["zone2"]
    assert (row["status"], row["sql_port"]) == ("ACTIVE", cluster.ports[1])
    return data


async def agents_status(cluster: HostileCluster, client: Client) -> Any:
    data = await client.get("/agents/status")
    assert data[SECOND]["obState"] == 3
    assert FIRST in data
    return data


async def cluster_info(cluster: HostileCluster, client: Client) -> Any:
    data = await client.get("/obcluster/info")
    second = data["zones"][1]["servers"][0]
    assert (second["status"], "why" in second) == ("RUNNING", False)
    return data


async def topology(cluster: HostileCluster, client: Client) -> Any:
    return await client.get("/obcluster/topology/info")


async def doctor(cluster: HostileCluster, client: Client) -> Any:
    results = await examine(cluster.directory / "engine.yaml", cluster.pool, cluster.clock)
    health = {entry.subject: str(entry.health) for entry in results if entry.check == "sql"}
    assert health[SECOND] == "ok"
    assert FIRST in health
    return [str(entry) for entry in results]


COMMANDS: tuple[Command, ...] = (
    *(start, first_start, start_cluster, verify, plan_plain_stop, plan_terminate, freeze),
    *(plain_stop, ob_info, agents_status, cluster_info, topology, doctor),
)


async def process_of(cluster: HostileCluster) -> ProcessIdentity:
    if cluster.process is None:
        cluster.process = (await read_sql_facts(cluster.first, LocalRunner())).process
    assert cluster.process is not None
    return cluster.process


async def result_of(command: Command, cluster: HostileCluster, client: Client) -> str:
    """Return what the command reports, as text; a declared refusal is a result."""
    try:
        result = await command(cluster, client)
    except ApiRefused as exc:
        return f"status {exc.status}, {exc.code}: {exc}"
    return json.dumps(result, default=str)


# --- the matrix ----------------------------------------------------------------------------------


def shorten_limits(behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if behaviour in SILENT:
        monkeypatch.setattr("tasks.sql.connection.CALL_S", SILENT_CALL_S)
        monkeypatch.setattr("tasks.sql.connection.CLUSTER_CALL_S", SILENT_CALL_S)


@pytest.mark.parametrize("behaviour", sampled(ODD_ANSWERS))
async def test_odd_answer_affects_own_server_only(
    cluster: HostileCluster,
    behaviour: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if behaviour not in BY_FLAVOUR[cluster.flavour]:
        pytest.skip("tested with the other flavour")
    shorten_limits(behaviour, monkeypatch)
    cluster.server.listen(behaviour, cluster.ports[0])
    cluster.listen_on_second_server()
    try:
        with caplog.at_level(logging.WARNING):
            async with cluster.client() as client:
                for command in COMMANDS:
                    output = await result_of(command, cluster, client)
                    assert UNEXPECTED not in output, (command.__name__, output)
                    assert not output.startswith("status 5"), (command.__name__, output)
    finally:
        cluster.server.close_port()
        cluster.friend.close_port()
    assert [record.message for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("behaviour", sampled(sorted(ODD_ANSWERS.keys() - PLAUSIBLE)))
async def test_cluster_query_uses_next_server_after_odd_one(
    cluster: HostileCluster, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if behaviour not in BY_FLAVOUR[cluster.flavour]:
        pytest.skip("tested with the other flavour")
    shorten_limits(behaviour, monkeypatch)
    cluster.server.listen(behaviour, cluster.ports[0])
    cluster.listen_on_second_server()
    servers = tuple(cluster.cluster.servers)
    try:
        async with open_cluster_sql(cluster.access, servers, 30) as sql:
            rows = await sql.query(SERVERS, parse_servers)
            assert sql.through == servers[1]
        assert set(rows) == set(map(address_of, servers))
    finally:
        cluster.server.close_port()
        cluster.friend.close_port()


@pytest.mark.slow
async def test_start_of_cluster_passes_server_that_refuses_password(
    cluster: HostileCluster,
) -> None:
    cluster.server.listen("login: password refused", cluster.ports[0])
    cluster.listen_on_second_server()
    cluster.set_sql_timeout(30)
    context = FakeContext(None, targets=(FIRST, SECOND), healthy_targets=(FIRST, SECOND))
    data = {"scope": {"type": "GLOBAL", "target": []}}
    context.params = data
    try:
        stage = start_operation(cluster.access).stages[4]
        cluster.cluster.reload()
        assert isinstance(await stage.run(context.as_context()), Succeeded)
    finally:
        cluster.set_sql_timeout(0.3)
        cluster.server.close_port()
        cluster.friend.close_port()


@pytest.mark.slow
async def test_cluster_query_password_refused_by_all_ends_at_once(cluster: HostileCluster) -> None:
    servers = tuple(cluster.cluster.servers)
    cluster.server.listen("login: password refused", cluster.ports[0])
    cluster.friend.listen("login: password refused", cluster.ports[1])
    try:
        async with open_cluster_sql(cluster.access, servers, 600) as sql:
            with pytest.raises(SqlPasswordRefused):
                await sql.query(SERVERS, parse_servers)
            assert sql.left_s > 500
    finally:
        cluster.server.close_port()
        cluster.friend.close_port()


@pytest.mark.slow
async def test_friendly_answers_pass_all_commands(cluster: HostileCluster) -> None:
    """The control: the first server answers as it should."""
    cluster.server.listen(FRIENDLY, cluster.ports[0], row_answers(tuple(cluster.cluster.servers)))
    cluster.listen_on_second_server()
    try:
        async with cluster.client() as client:
            assert json.loads(await result_of(start, cluster, client))["state"] == "SUCCEED"
            data = await client.get("/agents/status")
            assert (data[FIRST]["obState"], data[SECOND]["obState"]) == (3, 3)
        assert not isinstance(await verify(cluster, None), Failed)  # type: ignore[arg-type]
    finally:
        cluster.server.close_port()
        cluster.friend.close_port()
