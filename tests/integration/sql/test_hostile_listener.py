"""Each command that uses SQL, with each hostile listener on the SQL port of a server.

No listener may receive the password in any form but the proof of mysql_native_password, and a
process that is not the server may not receive a login at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeAlias

import aiomysql
import pymysql
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
from tests.support.hostile_cluster import (
    FIRST,
    PASSWORD,
    SECOND,
    SQL_TIMEOUT_S,
    FakeContext,
    HostileCluster,
    ListenerOwner,
    find_disclosures,
    open_hostile_cluster,
    wait_dag,
)
from tests.support.quick_cases import sample_pairs
from tests.support.sql_listener import FRIENDLY, HOSTILE, NATIVE, ListenerProcess, Recording

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

FLAVOURS = ("seekdb", "oceanbase")
NO_MESSAGE = {"ob/info", "agents/status"}  # their form has no room for one
WITHOUT_SQL = {("seekdb", "plain stop"), ("seekdb", "plain stop, dry run")}

Command: TypeAlias = Callable[[HostileCluster, Client], Awaitable[str]]
"""Run a command that must fail for the first server; return its messages."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=FLAVOURS)
async def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[HostileCluster]:
    directory = tmp_path_factory.mktemp("hostile")
    async with open_hostile_cluster(request.param, directory) as opened:
        yield opened


each_hostile = pytest.mark.parametrize(
    ("cluster", "behaviour"), sample_pairs(FLAVOURS, sorted(HOSTILE)), indirect=["cluster"]
)


# --- the commands --------------------------------------------------------------------------------


async def start(cluster: HostileCluster, client: Client) -> str:
    """The health wait of a start that found the server running."""
    dag = await wait_dag(client, (await client.start("SERVER", [FIRST]))["id"])
    output = json.dumps([sub["task_logs"] for node in dag["nodes"] for sub in node["sub_tasks"]])
    assert (dag["state"], dag["stage"]) == ("FAILED", 4), output
    return output


async def first_start(cluster: HostileCluster, client: Client) -> str:
    """The health wait of a first start, which sets the password of root."""
    return _failure(await _wait_first_start(cluster))


async def start_cluster(cluster: HostileCluster, client: Client) -> str:
    """Stage 5 of a start."""
    return _failure_or_nothing(await _run_stage(cluster, 5), cluster)


async def verify(cluster: HostileCluster, client: Client) -> str:
    """Stage 6 of a start."""
    return _failure(await _run_stage(cluster, 6))


async def plain_stop(cluster: HostileCluster, client: Client, *, dry_run: bool = False) -> str:
    """A stop by SQL, while no other server answers."""
    return await _refusal(client.stop("ZONE", ["zone1"], dry_run=dry_run))


async def dry_plain_stop(cluster: HostileCluster, client: Client) -> str:
    return await plain_stop(cluster, client, dry_run=True)


async def terminate(cluster: HostileCluster, client: Client) -> str:
    """A stop that freezes first, while no other server answers."""
    return await _refusal(client.stop("SERVER", [FIRST], terminate=True))


async def dry_terminate(cluster: HostileCluster, client: Client) -> str:
    return await _refusal(client.stop("SERVER", [FIRST], terminate=True, dry_run=True))


async def freeze(cluster: HostileCluster, client: Client) -> str:
    """The stage of a stop that freezes."""
    context = FakeContext(None, params={"scope": {"type": "SERVER", "target": [FIRST]}})
    outcome = await select_actions(cluster.access).freeze(context.as_context(), [FIRST])
    output = outcome.problem.render() if isinstance(outcome, Failed) else ""
    assert isinstance(outcome, Failed) or cluster.flavour == "seekdb"
    return "\n".join([*context.lines, output])


async def ob_info(cluster: HostileCluster, client: Client) -> str:
    data = await client.get("/ob/info")
    (row,) = data["obcluster_info"]["topology"]["zone2"]
    assert (row["status"], row["sql_port"]) == ("ACTIVE", cluster.ports[1])
    return json.dumps(data)


async def agents_status(cluster: HostileCluster, client: Client) -> str:
    data = await client.get("/agents/status")
    assert (data[FIRST]["obState"], data[SECOND]["obState"]) == (1, 3)
    return json.dumps(data)


async def cluster_info(cluster: HostileCluster, client: Client) -> str:
    data = await client.get("/obcluster/info")
    first, second = (zone["servers"][0] for zone in data["zones"])
    assert (second["status"], "why" in second) == ("RUNNING", False)
    return str(first["why"])


async def doctor(cluster: HostileCluster, client: Client) -> str:
    results = await examine(cluster.directory / "engine.yaml", cluster.pool, cluster.clock)
    by_name = {entry.subject: entry for entry in results if entry.check == "sql"}
    assert str(by_name[SECOND].health) == "ok"
    assert str(by_name[FIRST].health) == "bad"
    return f"{by_name[FIRST].message}; {by_name[FIRST].remedy}"


COMMANDS: dict[str, Command] = {
    "start": start,
    "first start": first_start,
    "start of the cluster": start_cluster,
    "verify": verify,
    "plain stop": plain_stop,
    "plain stop, dry run": dry_plain_stop,
    "terminate": terminate,
    "terminate, dry run": dry_terminate,
    "freeze": freeze,
}
COMMANDS_BESIDE_A_FRIEND: dict[str, Command] = {
    "ob/info": ob_info,
    "agents/status": agents_status,
    "obcluster/info": cluster_info,
    "doctor": doctor,
}


async def _process(cluster: HostileCluster) -> ProcessIdentity:
    if cluster.process is not None:
        return cluster.process
    process = (await read_sql_facts(cluster.first, LocalRunner())).process
    assert process is not None
    assert process.pid == cluster.server.pid
    cluster.process = process
    return process


async def _wait_first_start(cluster: HostileCluster) -> Any:
    monitored = MonitoredServer(
        *(cluster.first, LocalRunner(), await _process(cluster), 0, PASSWORD, RootLogins()),
        is_first=True,
        awaits_password=True,
    )
    context = FakeContext(FIRST).as_context()
    result = await wait_until_healthy(monitored, context, cluster.clock)
    return await health_outcome(result, monitored, context)


async def _run_stage(cluster: HostileCluster, number: int) -> Any:
    operation = start_operation(cluster.access)
    data = {"process": asdict(await _process(cluster)), "log_from": 0}
    params = {"scope": {"type": "SERVER", "target": [FIRST]}}
    context = FakeContext(None, params=params, data={START: data})
    return await operation.stages[number - 1].run(context.as_context())


async def _refusal(call: Awaitable[Any]) -> str:
    with pytest.raises(ApiRefused) as caught:
        await call
    return str(caught.value)


def _failure(outcome: Any) -> str:
    assert isinstance(outcome, Failed), outcome
    return outcome.problem.render()


def _failure_or_nothing(outcome: Any, cluster: HostileCluster) -> str:
    if cluster.flavour == "seekdb":
        assert isinstance(outcome, Succeeded)
        return f"nothing to do; {cluster.flavour}"
    return _failure(outcome)


# --- the matrix ----------------------------------------------------------------------------------


async def _check_all(cluster: HostileCluster, kind: ListenerOwner, behaviour: str) -> None:
    """Run each command while the listener has the port of the first server."""
    rogue_listener = cluster.rogue_listener(kind)
    rogue_listener.listen(behaviour, cluster.ports[0])
    try:
        async with cluster.client() as client:
            for name, command in COMMANDS.items():
                _check(cluster, kind, rogue_listener, name, await command(cluster, client))
            cluster.listen_on_second_server()
            for name, command in COMMANDS_BESIDE_A_FRIEND.items():
                _check(cluster, kind, rogue_listener, name, await command(cluster, client))
            assert find_disclosures(cluster.friend.take_recording()) == []
    finally:
        rogue_listener.close_port()
        cluster.friend.close_port()


def _check(
    cluster: HostileCluster,
    kind: ListenerOwner,
    rogue_listener: ListenerProcess,
    name: str,
    output: str,
) -> None:
    recording = rogue_listener.take_recording()
    assert find_disclosures(recording) == [], name
    assert PASSWORD not in output
    uses_sql = (cluster.flavour, name) not in WITHOUT_SQL | {("seekdb", "start of the cluster")}
    if kind is ListenerOwner.SERVER:
        _check_logins(recording)
        greets = (
            rogue_listener.behaviour.startswith("greets")
            and "caching" not in rogue_listener.behaviour
        )
        assert bool(recording.received) is (uses_sql and not greets), name
        return
    assert recording.connections == (), name
    if uses_sql and name not in NO_MESSAGE:
        assert f"pid {rogue_listener.pid}" in output, (name, output)
        assert "stop that process" in output, (name, output)


def _check_logins(recording: Recording) -> None:
    """Each login holds one proof of 20 bytes (none for an empty password) and no other data."""
    for received in recording.connections:
        if not received:
            continue
        size = int.from_bytes(received[:3], "little")
        login = received[4 : 4 + size]
        front, _, proof = login[32:].partition(b"\0")
        assert (front, proof[0] in (0, 20)) == (b"root", True)
        assert proof[1 + proof[0] :] == NATIVE + b"\0"


@each_hostile
async def test_login_hostile_server_receives_only_proof(
    cluster: HostileCluster, behaviour: str
) -> None:
    await _check_all(cluster, ListenerOwner.SERVER, behaviour)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
@each_hostile
async def test_login_listener_of_other_user_receives_nothing(
    cluster: HostileCluster, behaviour: str
) -> None:
    await _check_all(cluster, ListenerOwner.OTHER_USER, behaviour)


@pytest.mark.parametrize("behaviour", ["clear by switch", "greets caching_sha2"])
async def test_login_listener_of_same_user_receives_nothing(
    cluster: HostileCluster, behaviour: str
) -> None:
    await _check_all(cluster, ListenerOwner.OTHER_PROCESS, behaviour)


async def test_first_start_sets_password_by_hash(cluster: HostileCluster) -> None:
    if cluster.flavour == "oceanbase":
        pytest.skip("the bootstrap of a cluster sets its password")
    cluster.server.listen(FRIENDLY, cluster.ports[0])
    try:
        assert isinstance(await _wait_first_start(cluster), Succeeded)
        recording = cluster.server.take_recording()
        assert b" TO root IDENTIFIED BY PASSWORD '*" in recording.received
        assert find_disclosures(recording) == []
    finally:
        cluster.server.close_port()


async def test_plain_stop_uses_server_without_attacker(cluster: HostileCluster) -> None:
    if cluster.flavour == "seekdb":
        pytest.skip("seekdb has no stop by SQL")
    rogue_listener = cluster.rogue_listener(ListenerOwner.OTHER_PROCESS)
    rogue_listener.listen("clear by switch", cluster.ports[0])
    zones = [["zone1", "INACTIVE"], ["zone2", "ACTIVE"]]
    cluster.listen_on_second_server({"FROM oceanbase.DBA_OB_ZONES": zones})
    cluster.set_sql_timeout(60)
    try:
        async with cluster.client() as client:
            plan = await client.stop("ZONE", ["zone1"], dry_run=True)
            assert [server["verdict"] for server in plan["servers"]] == ["stop"]
            dag = await wait_dag(client, (await client.stop("ZONE", ["zone1"]))["id"])
        assert dag["state"] == "SUCCEED", dag
        assert b"ALTER SYSTEM STOP ZONE 'zone1'" in cluster.friend.take_recording().received
        assert rogue_listener.take_recording() == Recording(())
    finally:
        cluster.set_sql_timeout(SQL_TIMEOUT_S)
        rogue_listener.close_port()
        cluster.friend.close_port()


async def test_start_global_fails_for_attacked_server_only(cluster: HostileCluster) -> None:
    rogue_listener = cluster.rogue_listener(ListenerOwner.OTHER_PROCESS)
    rogue_listener.listen("clear by switch", cluster.ports[0])
    cluster.listen_on_second_server()
    try:
        async with cluster.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        health = {
            f"{task['execute_agent']['ip']}:{task['execute_agent']['port']}": task["state"]
            for task in dag["nodes"][3]["sub_tasks"]
        }
        assert health == {FIRST: "FAILED", SECOND: "SUCCEED"}
        assert rogue_listener.take_recording() == Recording(())
    finally:
        rogue_listener.close_port()
        cluster.friend.close_port()


# --- the control: a driver that obeys the peer --------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        "clear by switch",
        "sha256 by switch",
        "caching_sha2 by switch",
        "greets clear",
        "greets caching_sha2",
    ],
)
async def test_recorder_shows_password_sent_by_aiomysql(
    cluster: HostileCluster, behaviour: str
) -> None:
    rogue_listener = cluster.rogue_listener(ListenerOwner.OTHER_PROCESS)
    rogue_listener.listen(behaviour, cluster.ports[0])
    try:
        sent = PASSWORD.encode("utf-8").decode("latin-1")
        async with LocalRunner().tunnel("127.0.0.1", cluster.ports[0]) as socket:
            try:
                connection = await aiomysql.connect(
                    unix_socket=str(socket), user="root", password=sent, autocommit=True
                )
            except pymysql.err.Error:
                pass
            else:
                connection.close()
        assert PASSWORD.encode() in rogue_listener.take_recording().received
    finally:
        rogue_listener.close_port()
