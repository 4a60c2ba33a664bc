"""Confirmations on a terminal, reasons and claims in the audit, `wait`, completion of values."""

from __future__ import annotations

import getpass
import socket

import pytest

from dagengine.testing import Latch
from tests.support.cli_controller import CliController
from tests.support.fake_cluster import FIRST, SECOND


async def list_actions(controller: CliController) -> list[str]:
    async with controller.client() as client:
        return [row["action"] for row in await client.list_audit()]


@pytest.mark.parametrize(
    ("argv", "listed"),
    [
        (("stop", "--force"), [f"z1  {FIRST}", f"z2  {SECOND}", "2 of 2 servers at once"]),
        pytest.param(
            ("stop", "--terminate", "--zone", "z2"),
            [f"z2  {SECOND}", "after a minor freeze"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("rollback", "ID"), ["undoes Start OB ID", FIRST, SECOND], marks=pytest.mark.slow
        ),
        pytest.param(
            ("pass", "ID"),
            [f"Look, {SECOND}: FAILED: ERROR: [Fake.Broken]"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("pass", "ID", "--node", "1"),
            ["marks stage 1 of Start OB ID", SECOND],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("start", "--force-pass", "ID"), ["ID does not hold the lock"], marks=pytest.mark.slow
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_risky_command_declined_on_terminal_changes_nothing(
    controller: CliController, argv: tuple[str, ...], listed: list[str]
) -> None:
    dag_id = await controller.failed_dag()
    words = [dag_id if word == "ID" else word for word in argv]
    result = await controller.run_on_terminal("n\n", *words)
    assert (result.code, result.out) == (1, "")
    for part in [*listed, "Continue? [y/N]", "nothing was changed"]:
        assert part.replace("ID", dag_id) in result.err
    assert await list_actions(controller) == ["START"]


async def test_risky_command_agreed_or_yes_runs(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    agreed = await controller.run_on_terminal("y\n", "pass", dag_id)
    assert (agreed.code, "Continue?" in agreed.err) == (0, True)
    controller.broken = set()
    skipped = await controller.run_on_terminal("", "stop", "--force", "--yes")
    assert (skipped.code, "Continue?" in skipped.err) == (0, False)
    assert await list_actions(controller) == ["START", "PASS", "START"]


async def test_risky_command_without_terminal_does_not_ask(controller: CliController) -> None:
    result = await controller.run("stop", "--force", "--reason", "maintenance")
    assert (result.code, "Continue?" in result.err) == (0, False)
    async with controller.client() as client:
        (row,) = await client.list_audit()
    assert row["reason"] == "maintenance"
    claim = f"{getpass.getuser()}@{socket.gethostname()}"
    assert row["by"] == f"root@sys from 127.0.0.1 (states {claim}, not verified)"


@pytest.mark.slow
async def test_wait_ends_with_dag_or_timeout(controller: CliController) -> None:
    controller.latch = Latch()
    accepted = await controller.run("start", "--no-wait", "--json", "--reason", "disk replaced")
    dag_id = accepted.document["id"]
    assert controller.start_bodies[0].reason == "disk replaced"
    timed_out = await controller.run("wait", dag_id, "--timeout", "0.1")
    assert (timed_out.code, timed_out.out) == (1, "")
    assert f"Start OB {dag_id} has not ended after 0.1 s" in timed_out.err
    controller.latch.open()
    ended = await controller.run("wait", dag_id, "--json")
    assert (ended.code, ended.document["state"]) == (0, "SUCCEED")


async def test_start_without_hints_suggests_no_command(controller: CliController) -> None:
    controller.broken = {SECOND}
    result = await controller.run("start", "--no-hints")
    assert (result.code, "FAILED" in result.out) == (1, True)
    assert "dagengine " not in result.out + result.err


@pytest.mark.slow
async def test_completion_offers_values_of_controller(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    for words, expected in (
        ("dagengine show ", dag_id),
        ("dagengine start --zone z1,", "z1,z2"),
        ("dagengine stop --server 127.0.0.1:2887", SECOND),
    ):
        index = str(len(words.split(" ")) - 1)
        result = await controller.run(
            _DAGENGINE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=index
        )
        assert (result.code, result.out.split(), result.err) == (0, [expected], "")


async def test_cli_wait_does_not_count_controller_as_server(controller: CliController) -> None:
    controller.verified = False
    stopped = await controller.run("stop", "--force")
    waited = await controller.run("wait", "last")
    assert (waited.code, waited.out.splitlines()[0]) == (1, stopped.out.splitlines()[-5])
    assert "2 of 2 servers are up" in waited.out


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("stop",), "the whole cluster cannot be taken out of service by SQL"),
        (("stop", "--force", "--terminate"), "force and terminate exclude each other"),
    ],
    ids=["plain", "both"],
)
async def test_stop_that_is_refused_does_not_ask(
    controller: CliController, argv: tuple[str, ...], reason: str
) -> None:
    controller.checks_mode = True
    result = await controller.run_on_terminal("", *argv)
    assert reason in " ".join(result.err.split())
    assert "Continue?" not in result.err


async def test_force_pass_of_dag_without_lock_says_so(controller: CliController) -> None:
    idle = await controller.failed_dag()
    text = f"{idle} does not hold the lock: --force-pass has no effect on it"
    asked = await controller.run_on_terminal("n\n", "start", "--force-pass", idle)
    assert (text in asked.err, "cancels" in asked.err) == (True, False)
    told = await controller.run("start", "--yes", "--force-pass", idle)
    assert f"dagengine: {text}" in told.err


@pytest.mark.slow
async def test_force_pass_names_holder_of_lock(controller: CliController) -> None:
    idle = await controller.failed_dag()
    controller.broken, controller.latch = set(), Latch()
    holder = (await controller.run("stop", "--no-wait", "--json")).document["id"]
    await controller.latch.reached.wait()
    other = await controller.run_on_terminal("n\n", "start", "--force-pass", idle)
    assert f"Stop OB {holder} holds the lock" in other.err
    right = await controller.run_on_terminal("n\n", "start", "--force-pass", holder)
    controller.latch.open()
    assert f"this cancels Stop OB {holder}" in right.err
    assert "does not hold" not in right.err
