"""The commands that read, as a person types them: show, list, logs, audit."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import pytest

from dagengine.runtime.clock import SystemClock
from dagengine.store.contract import Retention
from dagengine.store.sqlite.connection import connect_writer
from dagengine.store.sqlite.prune import prune_slice
from dagengine.testing import Latch
from tests.integration.cli_world import World, world
from tests.integration.fake_controller import FIRST, SECOND

__all__ = ["world"]  # a fixture


async def test_before_any_start_there_is_nothing_to_list_or_show(world: World) -> None:
    listed, shown = await world.type("list", "--json"), await world.type("show")
    assert (listed.code, listed.document) == (0, [])
    assert shown.code == 0
    assert shown.out.splitlines() == ["no start or stop was requested yet", "next: dagengine start"]


async def test_a_list_has_a_line_for_each_dag_newest_first(world: World) -> None:
    first = await world.failed_dag()
    world.broken = set()
    second = (await world.type("start", "--json")).document["id"]
    listed, documents = await world.type("list"), await world.type("list", "--json")
    head, *rows = [line.split() for line in listed.out.splitlines()]
    assert (listed.code, head[:3]) == (0, ["ID", "NAME", "STATE"])
    assert [(row[0], row[3]) for row in rows] == [(second, "SUCCEED"), (first, "FAILED")]
    assert [dag["id"] for dag in documents.document] == [second, first]
    assert (listed.err, documents.err) == ("", "")


async def test_show_without_an_id_gives_one_verdict_and_the_next_command(world: World) -> None:
    dag_id = await world.failed_dag()
    said = await world.type("show")
    lines = said.out.splitlines()
    assert said.code == 0
    assert f"  {FIRST}  in service (level sql)" in lines
    assert any(line.startswith(f"  {SECOND}  NOT in service: ERROR: [Fake") for line in lines)
    assert "lock: free" in lines
    assert f"dagengine retry {dag_id}" in said.out
    document = (await world.type("show", "--json")).document
    assert (document["newest"]["id"], document["unfinished"]) == (dag_id, [])


async def test_show_with_an_id_has_stages_servers_and_causes(world: World) -> None:
    dag_id = await world.failed_dag()
    said = await world.type("show", dag_id)
    assert said.code == 0
    for part in (f"Start OB {dag_id}", "FAILED (operator RUN), stage 1 of 1", "1 Look: FAILED"):
        assert part in said.out
    assert said.out.count(f"{SECOND} is broken; mend it") == 2  # beside the server, and as the why
    assert (await world.type("show", dag_id, "--json")).document == await world.dag(dag_id)


async def test_each_unfinished_sub_task_is_shown_with_what_it_waits_for(world: World) -> None:
    world.gate = Latch()
    dag_id = (await world.type("stop", "--no-wait", "--json")).document["id"]
    await world.gate.reached.wait()
    shown = (await world.type("show", dag_id)).out
    world.gate.open()
    waits = [line.partition(", since")[0].strip() for line in shown.splitlines() if "waits" in line]
    look = "waits for step: Look"
    assert waits == [
        *(look, look),
        *("waits for stage: 'Look', 2 running", "waits for stage: 'Look', 2 running"),
    ]


async def test_targets_that_are_no_addresses_are_shown_with_what_they_wait_for(
    world: World,
) -> None:
    world.gate, world.targets = Latch(), ("left", "right")
    dag_id = (await world.type("start", "--no-wait", "--json")).document["id"]
    await world.gate.reached.wait()
    shown = (await world.type("show", dag_id)).out
    world.gate.open()
    assert "      left waits for step: Look, since " in shown
    assert "      right waits for step: Look, since " in shown


async def test_logs_are_every_line_with_stage_and_server(world: World) -> None:
    dag_id = await world.failed_dag()
    said = await world.type("logs", dag_id)
    assert said.code == 0
    lines = said.out.splitlines()
    assert f"[1 Look {FIRST}] {FIRST}: looked at" in lines
    assert f"[1 Look {SECOND}] ERROR: [Fake.Broken]: {SECOND} is broken; mend it" in lines
    assert (await world.type("logs", dag_id, "--json")).document == lines


async def test_the_audit_says_who_did_what_also_of_a_dag_that_is_no_longer_kept(
    world: World,
) -> None:
    empty = await world.type("audit")
    assert (empty.code, empty.out) == (0, "the audit is empty\n")
    old, _ = await world.failed_dag(), await world.failed_dag()
    with closing(connect_writer(world.directory / "store.sqlite")) as connection:
        assert prune_slice(connection, Retention(max_age_s=0, max_count=1), SystemClock().now())
    assert (await world.type("show", old)).code == 2
    said = await world.type("audit", old)
    assert said.code == 0
    (line,) = said.out.splitlines()
    assert f"{old}  START  by " in line


@pytest.mark.parametrize("option", [(), ("--json",)], ids=["lines", "json"])
async def test_the_audit_of_a_dag_that_never_was_says_that_there_is_none(
    world: World, option: tuple[str, ...]
) -> None:
    known = await world.failed_dag()
    said = await world.type("audit", f"{known[:-1]}9", *option)
    assert (said.code, said.out) == (2, "")
    assert "[Task.NotFound]: Task not found: DAG " in said.err


# --- whose word counts -----------------------------------------------------------------------


async def test_the_verdict_is_by_the_holder_and_not_by_who_found_the_lock_taken(
    world: World,
) -> None:
    world.gate = Latch()
    holder = (await world.type("stop", "--no-wait", "--json")).document["id"]
    await world.gate.reached.wait()
    turned_away = await world.type("stop", "--json")
    second = turned_away.document["id"]
    assert turned_away.code == 1
    assert "see the holder of the lock and its progress:  dagengine show" in turned_away.err
    assert "rollback" not in turned_away.err

    lines = (await world.type("show")).out.splitlines()
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

    world.gate.open()
    assert (await world.type("show", "--follow", holder)).code == 0
    at = datetime.fromisoformat((await world.dag(holder))["end_time"])
    ended = [
        f"by Stop OB {holder} (SUCCEED, {at:%Y-%m-%d %H:%M:%S %z}):",
        f"  {FIRST}  in service (level sql)",
        f"  {SECOND}  in service (level sql)",
        f"Stop OB {second} found the lock held: it did not touch any server",
        "lock: free",
        "next: nothing to do; to check the servers now:  dagengine start --dry-run",
    ]
    assert (await world.type("show")).out.splitlines() == ended
    await world.type("pass", second)
    assert (await world.type("show")).out.splitlines() == ended
    document = (await world.type("show", "--json")).document
    assert (document["newest"]["id"], document["by"]["id"]) == (second, holder)


async def test_what_failed_for_the_whole_cluster_is_not_said_of_the_controller_as_a_server(
    world: World,
) -> None:
    world.verified = False
    await world.type("stop")
    lines = (await world.type("show")).out.splitlines()
    assert lines[1:4] == [
        f"  {FIRST}  in service (level sql)",
        f"  {SECOND}  in service (level sql)",
        "  'Verify' failed: ERROR: [Fake.Unverified]: one server does not see the other; mend it",
    ]
