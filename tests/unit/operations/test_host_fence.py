"""What the steps of a start and a stop do with the outcomes of the fence on a host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dagengine import Failed, Outcome, StepContext, Succeeded, SystemClock
from dagengine.remote import Command, CommandResult, HostAddress, Runner
from dagengine.store import UnconfirmedRecord
from dagengine.testing import LocalRunner, LocalRunnerPool
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.servers import Server
from tasks.flavours.select import FLAVOURS
from tasks.hosts.fence import render_token
from tasks.operations import start, stop
from tasks.operations.first_start import remove_first_start_marker
from tasks.operations.host_fence import adopt_attempt
from tasks.operations.stop_process import stop_process
from tasks.operations.unconfirmed import resolve_unconfirmed
from tests.support.hostile_cluster import FIRST, FakeContext

Run = Callable[[ClusterAccess, FakeContext], Awaitable[Outcome | bool | None]]
PARAMS = {"scope": {"type": "GLOBAL", "target": []}, "mode": "force"}
AT = "2026-01-02T03:04:05Z"


def stale(epoch: int) -> str:
    return f"fence={'0' * 32} {epoch} 2 ctl-a {AT}\noutcome=stale\n"


STALE = stale(1)
FOREIGN = f"fence={'f' * 32} 1 1 ctl-a {AT}\noutcome=foreign\n"
DAMAGED = "fence=damaged\noutcome=foreign\n"
UNRECORDED = "fence_unrecorded=No space left on device\n"


class AnsweringHost(LocalRunner):
    """Responds to every command with the same output, and records the commands."""

    def __init__(self, address: HostAddress, output: str, commands: list[Command]) -> None:
        super().__init__(address)
        self._output = output
        self._commands = commands

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        del timeout_s
        self._commands.append(command)
        return CommandResult(0, None, self._output, "", truncated=False)


@dataclass
class AnsweringPool(LocalRunnerPool):
    output: str
    commands: list[Command] = field(default_factory=list)

    def runner(self, address: HostAddress) -> LocalRunner:
        return AnsweringHost(address, self.output, self.commands)


@pytest.fixture
def pool() -> AnsweringPool:
    return AnsweringPool("")


@pytest.fixture
def access(tmp_path: Path, pool: AnsweringPool) -> ClusterAccess:
    (tmp_path / "cluster.yaml").write_text(
        "name: c\nid: 1\nflavour: seekdb\nroot_password: none\n"
        "zones: {z: [{ip: 127.0.0.1, home: /h}]}\n"
    )
    cluster = ClusterFile(tmp_path / "cluster.yaml", FLAVOURS)
    return ClusterAccess(cluster, pool, SystemClock())


def parts_of(access: ClusterAccess, context: FakeContext) -> tuple[StepContext, Server, Runner]:
    server = access.server(FIRST)
    return context.as_context(), server, access.runner(server)


async def run_start(access: ClusterAccess, context: FakeContext) -> Outcome:
    context.params = PARAMS
    context.data = {start.CHECK: {"kind": "first", "awaits_password": True}}
    (stage,) = (s for s in start.start_operation(access).stages if s.name == start.START)
    return await stage.run(context.as_context())


async def run_stop(access: ClusterAccess, context: FakeContext) -> Outcome:
    context.params = PARAMS
    (stage,) = (s for s in stop.stop_operation(access).stages if s.name == stop.STOP)
    return await stage.run(context.as_context())


async def run_rollback(access: ClusterAccess, context: FakeContext) -> Outcome:
    return await stop_process(*parts_of(access, context), 1.0, context.generic_id)


async def run_resolve(access: ClusterAccess, context: FakeContext) -> Outcome | None:
    context.resumed = True
    return await resolve_unconfirmed(*parts_of(access, context))


async def run_resolve_unconfirmed(access: ClusterAccess, context: FakeContext) -> Outcome | None:
    context.unconfirmed = UnconfirmedRecord(FIRST, 1, start.START, SystemClock().now())
    return await resolve_unconfirmed(*parts_of(access, context))


async def run_adopt(access: ClusterAccess, context: FakeContext) -> Outcome | None:
    context.resumed = True
    return await adopt_attempt(*parts_of(access, context))


async def run_confirm(access: ClusterAccess, context: FakeContext) -> Outcome | None:
    return await remove_first_start_marker(*parts_of(access, context))


STEPS: dict[str, Run] = {
    "start": run_start,
    "stop": run_stop,
    "rollback": run_rollback,
    "resolve": run_resolve,
    "resolve unconfirmed": run_resolve_unconfirmed,
    "adopt": run_adopt,
    "confirm": run_confirm,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("output", "parts"),
    [
        (STALE, ("newer token (epoch 1, lock token 2)", "ctl-a", AT, "store new-epoch -c")),
        (stale(4_000_000_000), ("epoch 4000000000", "store new-epoch --at-least 4000000001 -c")),
        (stale(10**18 - 1), ("its epoch is damaged", "hosts claim", "copy of this store")),
        (FOREIGN, ("store ffffffff…", "ctl-a", AT, f"hosts claim {FIRST} -c FILE")),
        (DAMAGED, ("/h/.dagengine-fence", "damaged", f"hosts claim {FIRST} -c FILE")),
    ],
    ids=["stale", "stale epoch", "largest epoch", "foreign", "damaged"],
)
async def test_step_rejected_by_fence_fails_with_remedy(
    access: ClusterAccess, pool: AnsweringPool, step: str, output: str, parts: tuple[str, ...]
) -> None:
    pool.output = output
    context = FakeContext(FIRST)
    outcome = await STEPS[step](access, context)
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "OB.Server.Process.CheckFailed"
    text = outcome.problem.render()
    assert [part for part in (*parts, FIRST, "then RETRY") if part not in text] == []
    assert str(pool.commands[-1].argv).count(render_token(context.fencing_token)) == 1


async def test_start_that_cannot_record_fails(access: ClusterAccess, pool: AnsweringPool) -> None:
    pool.output = UNRECORDED + "outcome=unrecorded\n"
    outcome = await run_start(access, FakeContext(FIRST))
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "OB.Server.HasNotBeenStarted"
    text = outcome.problem.render()
    assert "not started: this task cannot be recorded in /h/.dagengine-fence" in text
    assert "No space left on device" in text


@pytest.mark.parametrize(
    ("step", "output"),
    [
        ("stop", "outcome=gone\n"),
        ("rollback", "outcome=gone\n"),
        ("resolve", "quiet=yes\n"),
        ("adopt", "quiet=yes\n"),
        ("confirm", "done=yes\n"),
    ],
)
async def test_other_step_that_cannot_record_continues_and_logs(
    access: ClusterAccess, pool: AnsweringPool, step: str, output: str
) -> None:
    pool.output = UNRECORDED + output
    context = FakeContext(FIRST)
    assert not isinstance(await STEPS[step](access, context), Failed)
    (line,) = (line for line in context.lines if "cannot record" in line)
    assert line.startswith(f"WARN: {FIRST}: ")
    assert "/h/.dagengine-fence: No space left on device" in line


@pytest.mark.parametrize("output", ["quiet=yes\n", STALE, FOREIGN, ""])
@pytest.mark.parametrize("module", [start, stop])
async def test_confirm_stopped_needs_accepted_token(
    access: ClusterAccess, pool: AnsweringPool, module: object, output: str
) -> None:
    pool.output = output
    context = FakeContext(FIRST, params=PARAMS)
    operation = start.start_operation(access) if module is start else stop.stop_operation(access)
    (confirm,) = (s.confirm_stopped for s in operation.stages if s.confirm_stopped is not None)
    assert await confirm(context.as_context()) is (output == "quiet=yes\n")


@pytest.mark.parametrize("stage", [start.CHECK, start.START, start.HEALTH, stop.CHECK, stop.STOP])
@pytest.mark.parametrize("operation", ["start", "stop"])
async def test_resumed_step_probes_the_home_first(
    access: ClusterAccess, pool: AnsweringPool, stage: str, operation: str
) -> None:
    pool.output = FOREIGN
    build = start.start_operation if operation == "start" else stop.stop_operation
    stages = [s for s in build(access).stages if s.name == stage]
    for each in stages:
        outcome = await each.run(FakeContext(FIRST, params=PARAMS, resumed=True).as_context())
        assert isinstance(outcome, Failed)
        assert [command.argv[3] for command in pool.commands] == ["dagengine-quiet"]


async def test_adopt_attempt_of_first_attempt_sends_nothing(
    access: ClusterAccess, pool: AnsweringPool
) -> None:
    assert await adopt_attempt(*parts_of(access, FakeContext(FIRST))) is None
    assert pool.commands == []


async def test_adopt_attempt_fails_while_command_holds_lock(
    access: ClusterAccess, pool: AnsweringPool
) -> None:
    outcome = await run_adopt(access, FakeContext(FIRST))
    assert isinstance(outcome, Failed)
    assert "still holds the lock of its home" in outcome.problem.render()


async def test_rollback_of_server_of_other_dag_succeeds(
    access: ClusterAccess, pool: AnsweringPool
) -> None:
    pool.output = "pid=7\nstarted=8\nby=99\noutcome=other_dag\n"
    context = FakeContext(FIRST)
    assert isinstance(await run_rollback(access, context), Succeeded)
    assert "was not started by this task" in context.lines[-1]
