"""The reading commands as a user runs them: show, list, logs, audit."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import closing
from datetime import datetime

import pytest

from dagengine.runtime.clock import SystemClock
from dagengine.store.contract import Retention
from dagengine.store.sqlite.connection import connect_writer
from dagengine.store.sqlite.prune import prune_slice
from dagengine.testing import Latch, eventually
from tests.support.cli_controller import CliController
from tests.support.fake_cluster import FIRST, SECOND
from tests.support.quick_cases import first_quick


async def test_cli_list_and_show_before_first_start_are_empty(controller: CliController) -> None:
    listed, shown = await controller.run("list", "--json"), await controller.run("show")
    assert (listed.code, listed.document) == (0, [])
    assert shown.code == 0
    assert shown.out.splitlines()[-2:] == [
        "no start or stop was requested yet",
        "next: nothing to do; to check the servers now:  dagengine start --dry-run",
    ]


async def test_cli_list_prints_newest_dag_first(controller: CliController) -> None:
    first = await controller.failed_dag()
    controller.broken = set()
    second = (await controller.run("start", "--json")).document["id"]
    listed, documents = await controller.run("list"), await controller.run("list", "--json")
    head, *rows = [line.split() for line in listed.out.splitlines()]
    assert (listed.code, head[:3]) == (0, ["ID", "NAME", "STATE"])
    assert [(row[0], row[3]) for row in rows] == [(second, "SUCCEED"), (first, "FAILED")]
    assert [dag["id"] for dag in documents.document] == [second, first]
    assert (listed.err, documents.err) == ("", "")


async def test_cli_show_without_id_prints_status_and_next_command(
    controller: CliController,
) -> None:
    dag_id = await controller.failed_dag()
    controller.down = {SECOND}
    result = await controller.run("show")
    lines = result.out.splitlines()
    assert result.code == 1
    assert lines[0] == "1/2 servers healthy"
    assert lines[2].split()[:4] == [FIRST, "z1", "up", "4711"]
    assert lines[3].split()[:5] == [SECOND, "z2", "down", "-", "-"]
    assert f"[Fake.Broken]: {SECOND} is broken; repair it" in lines[3]
    assert {"lock: free", "running: no DAG"} < {*lines}
    assert f"dagengine retry {dag_id}" in result.out
    assert controller.probes == 1
    document = (await controller.run("show", "--json")).document
    assert (document["newest"]["id"], document["unfinished"]) == (dag_id, [])


@pytest.mark.parametrize("command", first_quick(["status", "show"]))
async def test_cli_status_exit_code_reports_down_server(
    controller: CliController, command: str
) -> None:
    assert (await controller.run(command, "--json")).code == 0
    controller.down = {FIRST}
    result = await controller.run(command, "--json")
    assert (result.code, result.document["healthy"]) == (1, 1)
    assert [(row["server"], row["state"]) for row in result.document["servers"]] == [
        (FIRST, "down"),
        (SECOND, "up"),
    ]
    first, second = result.document["servers"]
    assert (first["last_error"], second["last_error"]) == ("its process has ended", "")
    assert datetime.fromisoformat(second["up_since"]).tzinfo is not None


async def test_cli_status_watch_prints_each_change(controller: CliController) -> None:
    async def has_probed() -> bool:
        return controller.probes > 2

    async with controller.launch("status", "--watch", "--json") as process, asyncio.timeout(30):
        assert process.stdout is not None
        first = json.loads(await process.stdout.readline())
        # Nothing but the measured start of the processes differs between these probes.
        await eventually(has_probed, timeout_s=20, what="three probes")
        controller.down = {FIRST}
        second = json.loads(await process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (first["healthy"], second["healthy"]) == (2, 1)
    assert (process.returncode, b"Traceback" in err) == (130, False)


@pytest.mark.parametrize(
    "command",
    first_quick(["show", "logs", "attempts", "audit", "retry"]),
)
async def test_cli_id_last_or_suffix_selects_dag(controller: CliController, command: str) -> None:
    await controller.failed_dag()
    dag_id = await controller.failed_dag()
    for text in ("last", dag_id[-1]):
        result = await controller.run(command, text, "--json")
        assert result.code == (1 if command == "retry" else 0)
        assert result.document
        if command in ("show", "retry"):
            assert result.document["id"] == dag_id


async def test_cli_show_with_id_prints_stages_servers_and_causes(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    result = await controller.run("show", dag_id)
    assert result.code == 0
    for part in (f"Start OB {dag_id}", "FAILED (operator RUN), stage 1 of 1", "1 Look: FAILED"):
        assert part in result.out
    assert (
        result.out.count(f"{SECOND} is broken; repair it") == 2
    )  # in the headline, and beside the server
    assert (await controller.run("show", dag_id, "--json")).document == await controller.dag(dag_id)


@pytest.mark.slow
async def test_cli_show_prints_wait_of_each_unfinished_sub_task(controller: CliController) -> None:
    controller.latch = Latch()
    dag_id = (await controller.run("stop", "--no-wait", "--json")).document["id"]
    await controller.latch.reached.wait()
    shown = (await controller.run("show", dag_id)).out
    controller.latch.open()
    waits = [line.partition(", since")[0].strip() for line in shown.splitlines() if "waits" in line]
    wait_text = "waits for step: Look"
    assert waits == [
        *(wait_text, wait_text),
        *("waits for stage: 'Look', 2 running", "waits for stage: 'Look', 2 running"),
    ]


@pytest.mark.slow
async def test_cli_show_prints_wait_of_targets_without_address(
    controller: CliController,
) -> None:
    controller.latch, controller.targets = Latch(), ("left", "right")
    dag_id = (await controller.run("start", "--no-wait", "--json")).document["id"]
    await controller.latch.reached.wait()
    shown = (await controller.run("show", dag_id)).out
    controller.latch.open()
    assert "      left waits for step: Look, since " in shown
    assert "      right waits for step: Look, since " in shown


@pytest.mark.slow
async def test_cli_show_running_attempt_hides_earlier_text(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    controller.broken, controller.latch = set(), Latch()
    async with controller.launch("retry", dag_id):
        await controller.latch.reached.wait()
        output = (await controller.run("show", dag_id)).out
        controller.latch.open()
    assert "is broken" not in output
    assert "RUNNING" in output
    assert f"{SECOND}: inspected" not in output  # the server is named once in the line
    assert "inspected" in output


async def test_cli_logs_prints_stage_and_server_of_each_line(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    result = await controller.run("logs", dag_id)
    assert result.code == 0
    lines = result.out.splitlines()
    assert f"[1 Look {FIRST}] inspected" in lines
    assert f"[1 Look {SECOND}] ERROR: [Fake.Broken]: {SECOND} is broken; repair it" in lines
    assert (await controller.run("logs", dag_id, "--json")).document == lines


@pytest.mark.slow
async def test_cli_audit_includes_pruned_dag(
    controller: CliController,
) -> None:
    empty = await controller.run("audit")
    assert (empty.code, empty.out) == (0, "the audit is empty\n")
    old, _ = await controller.failed_dag(), await controller.failed_dag()
    with closing(connect_writer(controller.directory / "store.sqlite")) as connection:
        assert prune_slice(connection, Retention(max_age_s=0, max_count=1), SystemClock().now())
    assert (await controller.run("show", old)).code == 2
    result = await controller.run("audit", old)
    assert result.code == 0
    (line,) = result.out.splitlines()
    assert f"{old}  request  by " in line


@pytest.mark.parametrize(
    "option", [pytest.param((), marks=pytest.mark.slow), ("--json",)], ids=["lines", "json"]
)
async def test_cli_audit_unknown_dag_is_not_found(
    controller: CliController, option: tuple[str, ...]
) -> None:
    existing_id = await controller.failed_dag()
    result = await controller.run("audit", f"{existing_id[:-1]}9", *option)
    assert result.code == 2
    assert "[Task.NotFound]: Task not found: DAG " in result.err
    if option:
        assert result.document["error"]["code"] == "Task.NotFound"
    else:
        assert result.out == ""


# --- whose word counts -----------------------------------------------------------------------


@pytest.mark.slow
async def test_cli_show_status_comes_from_lock_holder(
    controller: CliController,
) -> None:
    controller.latch = Latch()
    holder = (await controller.run("stop", "--no-wait", "--json")).document["id"]
    await controller.latch.reached.wait()
    refused = await controller.run("stop", "--json")
    second = refused.document["id"]
    assert refused.code == 1
    assert "see the holder of the lock and its progress:  dagengine show" in refused.err
    assert "rollback" not in refused.err

    lines = (await controller.run("show")).out.splitlines()
    assert lines[0] == "2/2 servers healthy"
    assert lines[4].startswith(f"lock: Stop OB {holder} since 20")
    assert lines[5].startswith(f"running: Stop OB {holder}, stage 2 of 4, since 20")
    assert [line.partition(", since")[0] for line in lines[6:8]] == [
        f"    {server} waits for step: Look" for server in (FIRST, SECOND)
    ]
    assert lines[8:] == [
        f"Stop OB {second} found the lock held: it did not touch any server",
        f"next: follow it with  dagengine show --follow {holder}",
        f"      or end it with  dagengine cancel {holder}",
    ]

    controller.latch.open()
    assert (await controller.run("show", "--follow", holder)).code == 0
    at = datetime.fromisoformat((await controller.dag(holder))["end_time"]).astimezone()
    ended = [
        "lock: free",
        "running: no DAG",
        f"Stop OB {second} found the lock held: it did not touch any server",
        f"last: Stop OB {holder}: SUCCEED, took",
        "next: nothing to do; to check the servers now:  dagengine start --dry-run",
    ]

    def cut(text: str) -> list[str]:
        assert f"({at:%Y-%m-%d %H:%M:%S %z})" in text
        return [line.partition(", took")[0] for line in text.splitlines()[4:]]

    ended[3] = ended[3].removesuffix(", took")
    assert cut((await controller.run("show")).out) == ended
    await controller.run("pass", second)
    assert cut((await controller.run("show")).out) == ended
    document = (await controller.run("show", "--json")).document
    assert (document["newest"]["id"], document["by"]["id"]) == (second, holder)


@pytest.mark.slow
async def test_cli_show_cluster_failure_is_not_attributed_to_server(
    controller: CliController,
) -> None:
    controller.verified = False
    await controller.run("stop")
    lines = (await controller.run("show")).out.splitlines()
    (last_line,) = (line for line in lines if line.startswith("last: "))
    text = "failed at Verify: [Fake.Unverified]: one server does not see the other; repair it"
    assert f"; 2 of 2 servers are up; {text} (20" in last_line
