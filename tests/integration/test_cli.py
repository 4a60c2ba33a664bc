"""The commands as a person types them, against a real controller with an operation of no effect."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import unused_port
from pydantic import BaseModel

from dagengine import (
    Call,
    DagDetail,
    Extension,
    Failed,
    Operation,
    Outcome,
    Problem,
    Route,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
    Surroundings,
)
from dagengine.clock import SystemClock
from dagengine.store.base import Retention
from dagengine.store.sqlite.connect import connect_writer
from dagengine.store.sqlite.prune import prune_slice
from dagengine.testing import Gate, eventually
from tests.integration.fake_controller import (
    FIRST,
    PASSWORD,
    SECOND,
    FakeCluster,
    FakeController,
)


class StartBody(BaseModel):
    """Body of POST /ob/start: taken as it is."""

    scope: dict[str, Any]
    forcePassDag: dict[str, Any]  # noqa: N815  # the wire's name


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Stdout, which must be one JSON document and nothing else."""
        return json.loads(self.out)


@dataclass
class World(FakeController):
    """A controller, what its steps shall do, and a keyboard."""

    broken: set[str] = field(default_factory=set)
    gate: Gate | None = None
    ending: Gate | None = None  #: holds what is cancelled
    asked: list[StartBody] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("DAGENGINE_")}
        return clean | {"DAGENGINE_URL": self.url, "DAGENGINE_PASSWORD": PASSWORD}

    @asynccontextmanager
    async def launch(self, *argv: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command that runs; it ends with the context at the latest."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "dagengine",
            *argv,
            cwd=self.directory,
            env=self.environment | environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def type(self, *argv: str, **environ: str) -> Said:
        """Run a command to its end."""
        async with self.launch(*argv, **environ) as process, asyncio.timeout(30):
            out, err = await process.communicate()
        assert process.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return Said(process.returncode, out.decode(), err.decode())

    async def failed_dag(self) -> str:
        """The id of a DAG that has failed on the second server."""
        self.broken = {SECOND}
        said = await self.type("start", "--json")
        assert said.code == 1
        return str(said.document["id"])

    async def dag(self, dag_id: str) -> dict[str, Any]:
        async with self.client() as client:
            return await client.get_dag(dag_id)

    async def _step(self, context: StepContext) -> Outcome:
        assert context.target is not None
        await context.log(f"{context.target}: looked at")
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            if self.ending is not None:
                await self.ending.wait()
            raise
        if context.target in self.broken:
            return Failed(Problem("Fake.Broken", f"{context.target} is broken", "mend it"))
        return Succeeded(evidence={"level": "sql"})

    @asynccontextmanager
    async def open_extension(self, surroundings: Surroundings) -> AsyncIterator[Extension]:
        async def start(call: Call) -> DagDetail:
            assert isinstance(call.body, StartBody)
            self.asked.append(call.body)
            return await call.engine.submit(Submission("Start OB", (FIRST, SECOND)))

        operation = Operation("Start OB", (Stage("Look", StageKind.PARALLEL, self._step),))
        route = Route("POST", "/ob/start", StartBody, start)
        yield Extension([operation], [route], FakeCluster(), lambda: None)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    found = World(tmp_path)
    async with found.controller():
        yield found


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
    world.gate = Gate()
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
    world.gate = Gate()
    async with world.launch("start", "--json") as process, asyncio.timeout(30):
        assert process.stderr is not None
        accepted = (await process.stderr.readline()).decode()
        await world.gate.reached.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    dag_id = accepted.split()[2]
    assert process.returncode == 130
    assert out == b""
    assert b"interrupted; the DAG goes on" in err
    assert f"follow it with  dagengine show --follow {dag_id}" in err.decode()
    assert b"Traceback" not in err

    assert (await world.dag(dag_id))["state"] == "RUNNING"
    world.gate.open()

    async def has_succeeded() -> bool:
        return bool((await world.dag(dag_id))["state"] == "SUCCEED")

    await eventually(has_succeeded, what="the end of the DAG that nobody follows")


# --- reading ---------------------------------------------------------------------------------


async def test_before_any_start_there_is_nothing_to_list_or_show(world: World) -> None:
    listed, shown = await world.type("list", "--json"), await world.type("show")
    assert (listed.code, listed.document) == (0, [])
    assert shown.code == 0
    assert shown.out.splitlines() == ["nothing was started yet", "next: dagengine start"]


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
    assert (empty.code, empty.out) == (0, "nothing was done yet\n")
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
    assert "[Task.NotFound]: Task not found: there is no DAG" in said.err


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
    assert f"{dag_id}: SUCCEED (passed by an operator, not run to its end)" in said.out
    assert (await world.dag(dag_id))["operator"] == "PASS"


async def test_an_interrupted_retry_says_how_to_follow_what_goes_on(world: World) -> None:
    dag_id = await world.failed_dag()
    world.gate = Gate()
    async with world.launch("retry", dag_id) as process, asyncio.timeout(30):
        await world.gate.reached.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert err.decode().splitlines() == [
        "",
        "interrupted; the DAG goes on",
        f"next: follow it with  dagengine show --follow {dag_id}",
        f"      or end it with  dagengine cancel {dag_id}",
    ]
    assert (await world.dag(dag_id))["state"] == "RUNNING"
    world.gate.open()


async def test_an_interrupted_cancel_says_how_to_follow_what_goes_on(world: World) -> None:
    world.gate, world.ending = Gate(), Gate()
    dag_id = (await world.type("start", "--no-wait", "--json")).document["id"]
    await world.gate.reached.wait()
    async with world.launch("cancel", dag_id) as process, asyncio.timeout(30):
        await world.ending.reached.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert (
        f"the DAG goes on\nnext: follow it with  dagengine show --follow {dag_id}" in err.decode()
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
    world.gate = Gate()
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
        (("start", "--zone", ""), "--zone names no zone"),
        (("stop", "--force", "--server", ","), "for the whole cluster leave --server out"),
        (("start", "z1"), "z1"),
        (("list", "--url", "ftp://x"), "'ftp://x' is none of http://HOST:PORT"),
        (("list", "--url", "http://"), "'http://' is none of"),
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
        assert f"dagengine: no controller answers at {url}" in said.err


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
