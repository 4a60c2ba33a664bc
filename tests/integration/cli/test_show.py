"""The reading commands as a user runs them: show, list, logs, audit."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import pytest

from dagengine.runtime.clock import SystemClock
from dagengine.store.contract import Retention
from dagengine.store.sqlite.connection import connect_writer
from dagengine.store.sqlite.prune import prune_slice
from dagengine.testing import Latch
from tests.support.cli_controller import CliController
from tests.support.fake_controller import FIRST, SECOND


async def test_cli_list_and_show_before_first_start_are_empty(controller: CliController) -> None:
    listed, shown = await controller.run("list", "--json"), await controller.run("show")
    assert (listed.code, listed.document) == (0, [])
    assert shown.code == 0
    assert shown.out.splitlines() == ["no start or stop was requested yet", "next: dagengine start"]


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
    result = await controller.run("show")
    lines = result.out.splitlines()
    assert result.code == 0
    assert f"  {FIRST}  in service (level sql)" in lines
    assert any(line.startswith(f"  {SECOND}  NOT in service: ERROR: [Fake") for line in lines)
    assert "lock: free" in lines
    assert f"dagengine retry {dag_id}" in result.out
    document = (await controller.run("show", "--json")).document
    assert (document["newest"]["id"], document["unfinished"]) == (dag_id, [])


async def test_cli_show_with_id_prints_stages_servers_and_causes(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    result = await controller.run("show", dag_id)
    assert result.code == 0
    for part in (f"Start OB {dag_id}", "FAILED (operator RUN), stage 1 of 1", "1 Look: FAILED"):
        assert part in result.out
    assert (
        result.out.count(f"{SECOND} is broken; repair it") == 2
    )  # beside the server, and as the why
    assert (await controller.run("show", dag_id, "--json")).document == await controller.dag(dag_id)


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


async def test_cli_logs_prints_stage_and_server_of_each_line(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    result = await controller.run("logs", dag_id)
    assert result.code == 0
    lines = result.out.splitlines()
    assert f"[1 Look {FIRST}] {FIRST}: inspected" in lines
    assert f"[1 Look {SECOND}] ERROR: [Fake.Broken]: {SECOND} is broken; repair it" in lines
    assert (await controller.run("logs", dag_id, "--json")).document == lines


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
    assert f"{old}  START  by " in line


@pytest.mark.parametrize("option", [(), ("--json",)], ids=["lines", "json"])
async def test_cli_audit_unknown_dag_is_not_found(
    controller: CliController, option: tuple[str, ...]
) -> None:
    existing_id = await controller.failed_dag()
    result = await controller.run("audit", f"{existing_id[:-1]}9", *option)
    assert (result.code, result.out) == (2, "")
    assert "[Task.NotFound]: Task not found: DAG " in result.err


# --- whose word counts -----------------------------------------------------------------------


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
    assert lines[0] == f"by Stop OB {holder} (RUNNING):"
    assert lines[1] == f"  {FIRST}  not known yet"
    assert lines[2].startswith("      waits for step: Look, since 20")
    assert lines[3] == f"  {SECOND}  not known yet"
    assert f"Stop OB {second} found the lock held: it did not touch any server" in lines
    assert f"lock: Stop OB {holder} since " in lines[-3]
    assert lines[-2:] == [
        f"next: follow it with  dagengine show --follow {holder}",
        f"      or end it with  dagengine cancel {holder}",
    ]

    controller.latch.open()
    assert (await controller.run("show", "--follow", holder)).code == 0
    at = datetime.fromisoformat((await controller.dag(holder))["end_time"])
    ended = [
        f"by Stop OB {holder} (SUCCEED, {at:%Y-%m-%d %H:%M:%S %z}):",
        f"  {FIRST}  in service (level sql)",
        f"  {SECOND}  in service (level sql)",
        f"Stop OB {second} found the lock held: it did not touch any server",
        "lock: free",
        "next: nothing to do; to check the servers now:  dagengine start --dry-run",
    ]
    assert (await controller.run("show")).out.splitlines() == ended
    await controller.run("pass", second)
    assert (await controller.run("show")).out.splitlines() == ended
    document = (await controller.run("show", "--json")).document
    assert (document["newest"]["id"], document["by"]["id"]) == (second, holder)


async def test_cli_show_cluster_failure_is_not_attributed_to_server(
    controller: CliController,
) -> None:
    controller.verified = False
    await controller.run("stop")
    lines = (await controller.run("show")).out.splitlines()
    assert lines[1:4] == [
        f"  {FIRST}  in service (level sql)",
        f"  {SECOND}  in service (level sql)",
        "  'Verify' failed: ERROR: [Fake.Unverified]: one server does not see the other; repair it",
    ]
