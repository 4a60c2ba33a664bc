"""The commands as a person types them, against a real controller with an operation of no effect."""

from __future__ import annotations

import asyncio
import signal

import pytest
from aiohttp.test_utils import unused_port

from dagengine.testing import Latch, eventually
from tests.integration.cli_world import World, world
from tests.integration.fake_controller import FIRST, PASSWORD, SECOND

__all__ = ["world"]  # a fixture


# --- start -----------------------------------------------------------------------------------


async def test_a_start_shows_each_server_and_how_it_ended(world: World) -> None:
    said = await world.type("start")
    assert said.code == 0
    *lines, end = said.out.splitlines()
    ended = [line for line in lines if "SUCCEED" in line]
    assert sorted(line.split()[2] for line in ended) == [FIRST, SECOND]
    assert all(line.startswith("[1/1] Look") for line in lines)
    assert "Start OB" in end
    assert ": SUCCEED, took" in end
    assert "accepted" in said.err
    assert world.asked[0].scope == {"type": "GLOBAL", "target": []}


async def test_a_failed_start_says_why_and_what_to_type_next(world: World) -> None:
    world.broken = {SECOND}
    said = await world.type("start")
    assert said.code == 1
    dag_id = said.err.split()[2]
    assert f"{dag_id}: FAILED: failed at stage 1 of 1" in said.out
    cause = f"  Look, {SECOND}: ERROR: [Fake.Broken]: {SECOND} is broken; mend it"
    assert cause in said.out.splitlines()
    assert f"dagengine retry {dag_id}" in said.out
    assert f"dagengine logs {dag_id}" in said.out


async def test_scopes_and_forced_ids_are_sent_as_they_were_typed(world: World) -> None:
    forced = ("--force-pass", "a", "--force-pass", "b")
    assert (await world.type("start", "--no-wait", "--zone", "z1,z2", *forced)).code == 0
    assert (await world.type("start", "--no-wait", "--server", FIRST)).code == 0
    first, second = world.asked
    assert first.scope == {"type": "ZONE", "target": ["z1", "z2"]}
    assert first.forcePassDag == {"id": ["a", "b"]}
    assert second.scope == {"type": "SERVER", "target": [FIRST]}
    assert second.forcePassDag == {"id": []}


async def test_a_start_without_waiting_returns_while_the_dag_runs(world: World) -> None:
    world.gate = Latch()
    said = await world.type("start", "--no-wait", "--json")
    dag = said.document
    assert (said.code, dag["state"] in ("READY", "RUNNING")) == (0, True)
    assert (await world.dag(dag["id"]))["state"] in ("READY", "RUNNING")
    world.gate.open()


@pytest.mark.parametrize("broken", [set(), {SECOND}], ids=["good", "failing"])
async def test_json_is_one_document_on_stdout_and_the_rest_is_on_stderr(
    world: World, broken: set[str]
) -> None:
    world.broken = broken
    said = await world.type("start", "--json")
    dag = said.document
    assert (said.code, dag["state"]) == ((1, "FAILED") if broken else (0, "SUCCEED"))
    assert len(dag["nodes"][0]["sub_tasks"]) == 2
    assert f"Start OB {dag['id']} accepted" in said.err
    assert f"Start OB {dag['id']}: {dag['state']}" in said.err


async def test_an_interrupt_ends_the_following_and_not_the_dag(world: World) -> None:
    world.gate = Latch()
    async with world.launch("start", "--json") as process, asyncio.timeout(30):
        assert process.stderr is not None
        accepted = (await process.stderr.readline()).decode()
        await world.gate.reached.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    dag_id = accepted.split()[2]
    assert process.returncode == 130
    assert out == b""
    assert b"interrupted; the DAG continues" in err
    assert f"follow it with  dagengine show --follow {dag_id}" in err.decode()
    assert b"Traceback" not in err

    assert (await world.dag(dag_id))["state"] == "RUNNING"
    world.gate.open()

    async def has_succeeded() -> bool:
        return bool((await world.dag(dag_id))["state"] == "SUCCEED")

    await eventually(has_succeeded, what="the end of the DAG that nobody follows")


# --- operators -------------------------------------------------------------------------------


async def test_retry_runs_what_failed_and_waits(world: World) -> None:
    dag_id = await world.failed_dag()
    again = await world.type("retry", dag_id)
    assert again.code == 1
    world.broken = set()
    said = await world.type("retry", dag_id, "--json")
    tasks = said.document["nodes"][0]["sub_tasks"]
    assert (said.code, said.document["state"]) == (0, "SUCCEED")
    assert [task["execute_times"] for task in tasks] == [1, 3]


async def test_pass_calls_a_failed_dag_done(world: World) -> None:
    dag_id = await world.failed_dag()
    said = await world.type("pass", dag_id)
    assert said.code == 0
    assert f"{dag_id}: SUCCEED (passed by an operator before it was complete)" in said.out
    assert (await world.dag(dag_id))["operator"] == "PASS"


async def test_an_interrupted_retry_says_how_to_follow_what_goes_on(world: World) -> None:
    dag_id = await world.failed_dag()
    world.gate = Latch()
    async with world.launch("retry", dag_id) as process, asyncio.timeout(30):
        await world.gate.reached.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert err.decode().splitlines() == [
        "",
        "interrupted; the DAG continues",
        f"next: follow it with  dagengine show --follow {dag_id}",
        f"      or end it with  dagengine cancel {dag_id}",
    ]
    assert (await world.dag(dag_id))["state"] == "RUNNING"
    world.gate.open()


async def test_an_interrupted_cancel_says_how_to_follow_what_goes_on(world: World) -> None:
    world.gate, world.ending = Latch(), Latch()
    dag_id = (await world.type("start", "--no-wait", "--json")).document["id"]
    await world.gate.reached.wait()
    async with world.launch("cancel", dag_id) as process, asyncio.timeout(30):
        await world.ending.reached.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert (
        f"the DAG continues\nnext: follow it with  dagengine show --follow {dag_id}" in err.decode()
    )
    world.ending.open()


@pytest.mark.parametrize("stage", ["0", "-1", "2"])
async def test_pass_of_a_stage_that_there_cannot_be_passes_nothing(
    world: World, stage: str
) -> None:
    dag_id = await world.failed_dag()
    said = await world.type("pass", dag_id, "--node", stage)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("dagengine: ")
    assert "--node" in said.err
    assert (await world.dag(dag_id))["state"] == "FAILED"


async def test_pass_of_a_stage_goes_on_behind_it(world: World) -> None:
    dag_id = await world.failed_dag()
    said = await world.type("pass", dag_id, "--node", "1")
    assert said.code == 0
    dag = await world.dag(dag_id)
    assert (dag["state"], dag["nodes"][0]["operator"]) == ("SUCCEED", "PASS")


async def test_cancel_ends_a_running_dag_and_waits_until_it_has_ended(world: World) -> None:
    world.gate = Latch()
    dag_id = (await world.type("start", "--no-wait", "--json")).document["id"]
    said = await world.type("cancel", dag_id)
    assert said.code == 0
    assert f"{dag_id}: FAILED: cancelled at stage 1 of 1" in said.out
    dag = await world.dag(dag_id)
    assert (dag["state"], dag["operator"]) == ("FAILED", "CANCEL")


@pytest.mark.parametrize(
    ("command", "code"),
    [("cancel", "CancelFinishedDag"), ("retry", "RetryNotFailedDag"), ("pass", "PassNotFailedDag")],
)
async def test_an_operator_that_is_not_allowed_is_refused_by_name(
    world: World, command: str, code: str
) -> None:
    dag_id = (await world.type("start", "--json")).document["id"]
    said = await world.type(command, dag_id)
    assert (said.code, said.out) == (2, "")
    assert f"dagengine: [Task.Dag.Operator.{code}]" in said.err


# --- what does not work ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("start", "--zoen", "z1"), "--zoen"),
        (("start", "--zone", "z1", "--server", FIRST), "--zone or --server, not both"),
        (("start", "--zone", ""), "--zone does not name a zone"),
        (("stop", "--force", "--server", ","), "omit --server for the whole cluster"),
        (("start", "z1"), "z1"),
        (("list", "--url", "ftp://x"), "'ftp://x' is not one of http://HOST:PORT"),
        (("list", "--url", "http://"), "'http://' is not one of"),
        (("strat",), "strat"),
        (("stop-all", "x"), "stop-all"),
        (("retry",), "ID"),
        (("show", "nonsense"), "nonsense"),
        (("logs", "12700000100000b46000000000000000999"), "Task"),
        (("list", "--password", PASSWORD), "--password"),
        (("start", f"--password={PASSWORD}"), "--password"),
        (("show", "-p", PASSWORD), "-p"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_wrong_usage_is_named_on_stderr(
    world: World, argv: tuple[str, ...], says: str
) -> None:
    said = await world.type(*argv)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("dagengine: ")
    assert says in said.err
    assert world.asked == []


async def test_an_id_of_a_dag_that_never_was_is_named(world: World) -> None:
    known = await world.failed_dag()
    said = await world.type("show", f"{known[:-1]}9")
    assert (said.code, said.out) == (2, "")
    assert "dagengine: [Task.NotFound]: Task not found" in said.err


async def test_where_nothing_listens_the_url_is_named(world: World) -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    by_variable = await world.type("start", "--json", DAGENGINE_URL=url)
    by_option = await world.type("list", "--url", url)
    for said in (by_variable, by_option):
        assert (said.code, said.out) == (3, "")
        assert f"dagengine: the controller at {url}" in said.err


@pytest.mark.parametrize("password", ["wrong-password", ""])
async def test_a_wrong_password_is_refused_and_not_repeated(world: World, password: str) -> None:
    said = await world.type("start", DAGENGINE_PASSWORD=password)
    assert (said.code, said.out) == (4, "")
    assert "dagengine: [Security." in said.err
    assert "what to do: set DAGENGINE_PASSWORD" in said.err
    assert "wrong-password" not in said.err
    assert world.asked == []


# --- help ------------------------------------------------------------------------------------


async def test_help_lists_every_command_and_those_of_extensions(world: World) -> None:
    said = await world.type("--help")
    assert said.code == 0
    named = [line.split()[1] for line in said.out.splitlines() if line.startswith("│ ")]
    expected = {"serve", "start", "list", "show", "logs", "retry", "cancel", "pass", "demo"}
    assert expected <= set(named)


async def test_without_a_command_the_help_is_shown_as_wrong_usage(world: World) -> None:
    said = await world.type()
    assert said.code == 2
    assert "Commands" in said.out + said.err
    assert "dagengine: \n" not in said.err
