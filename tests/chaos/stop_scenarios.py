"""`Stop OB` itself under crashes: its own scripts, on processes of this machine.

Each server is a process that is an observer by name and home, and that notes every SIGTERM it gets;
the one in zone3 is never in scope. A plain stop talks to stand-ins of the same cluster, which
outlive the child.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from dagengine import Engine, Operation, Operator, Outcome, Stage, State, StepContext, Submission
from dagengine.errors import HostUnreachable, OperatorRefused
from dagengine.remote import Command, CommandResult, HostAddress
from dagengine.runtime.clock import SystemClock
from dagengine.testing import eventually
from dagengine.testing.local_runner import LocalRunner, LocalRunnerPool
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.demo.hosts import free_port
from tasks.flavours.select import FLAVOURS
from tasks.operations.names import STOP_OB
from tasks.operations.stop import stop_operation
from tests.chaos.start_scenarios import Scenario, World
from tests.support.standin.cluster import install
from tests.support.standin.cluster_state import Ledger, Member
from tests.support.standin.sql import write_config

IPS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
NAMES = tuple(f"{ip}:2886" for ip in IPS)
BOUND_S = 60.0  # on a hang
STOPPED_TARGETS, UNRELATED = NAMES[:2], NAMES[2]
_PASSWORD = "word"  # of the stand-ins

# A second SIGTERM would be noted, too, as long as the server takes to end: the second one takes
# longer, so that the controller is ended between the SIGTERM and the end.
_SERVER = """\
trap 'echo TERM >>signals' TERM
echo ready
read -r word
case $PWD in *.2) sleep 0.4 ;; esac
"""


class _Runner(LocalRunner):
    """This machine, or a host that cannot be reached until the world is mended."""

    def __init__(self, address: HostAddress, world: StopWorld) -> None:
        super().__init__(address)
        self._world = world

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        if self.address.host in self._world.broken and not self._world.is_repaired:
            raise HostUnreachable("cannot be reached", host=str(self.address), remedy="mend it")
        return await super().run(command, timeout_s=timeout_s)


class _Pool(LocalRunnerPool):
    def __init__(self, world: StopWorld) -> None:
        self._world = world

    def runner(self, address: HostAddress) -> LocalRunner:
        return _Runner(address, self._world)


class _RecordingContext:
    """A step's context that notes each line once the store has it."""

    def __init__(self, context: StepContext, world: World) -> None:
        self._context = context
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def log(self, line: str) -> None:
        await self._world.say(self._context, line)


@dataclass(frozen=True)
class StopWorld(World):
    """Three servers in three zones, of which a stop is asked for the first two, or for zone2."""

    mode: str = "force"

    def home(self, ip: str) -> Path:
        return self.directory / ip

    # --- outside ----------------------------------------------------------------------------

    @contextmanager
    def outside(self) -> Iterator[None]:
        members = [
            Member(ip, free_port(), free_port(), f"zone{number}")
            for number, ip in enumerate(IPS, 1)
        ]
        (self.directory / "cluster.yaml").write_text(yaml.safe_dump(self._describe(members)))
        with self._ledger() as ledger:
            ledger.bootstrap(members, _PASSWORD)
        with ExitStack() as stack:
            for member in members:
                if self.mode == "plain":
                    stack.enter_context(self._stand_in(member))
                else:
                    stack.enter_context(self._start_server(member.ip))
            yield

    def _describe(self, members: list[Member]) -> dict[str, Any]:
        return {
            "name": "chaos",
            "id": 1,
            "flavour": "oceanbase",
            "root_password_env": "CHAOS_PASSWORD",
            "zones": {
                member.zone: [
                    {
                        "ip": member.ip,
                        "sql_port": member.sql_port,
                        "rpc_port": member.rpc_port,
                        "home": str(self.home(member.ip)),
                    }
                ]
                for member in members
            },
        }

    @contextmanager
    def _stand_in(self, member: Member) -> Iterator[None]:
        """A stand-in observer that becomes a daemon."""
        home = self.home(member.ip)
        install(home)
        write_config(home, member, self._ledger_file)
        environ = os.environ | {"LD_LIBRARY_PATH": f"{home}/lib"}
        subprocess.run([home / "bin/observer"], cwd=home, env=environ, check=True)
        pid = (home / "run/observer.pid").read_text().strip()
        (home / "pid").write_text(pid)
        try:
            yield
        finally:
            os.kill(int(pid), signal.SIGKILL)

    @contextmanager
    def _start_server(self, ip: str) -> Iterator[None]:
        home = self.home(ip)
        (home / "bin").mkdir(parents=True)
        program = home / "bin/observer"
        program.symlink_to("/bin/sh")
        server = subprocess.Popen(
            [program, "-c", _SERVER],
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert server.stdout is not None
        server.stdout.readline()  # it notes signals from here on
        (home / "pid").write_text(str(server.pid))
        with server:
            try:
                yield
            finally:
                server.kill()

    # --- in the child -------------------------------------------------------------------------

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        os.environ["CHAOS_PASSWORD"] = _PASSWORD
        if self.mode != "plain":
            yield
            return
        with self._ledger() as ledger:
            columns = "svr_ip, svr_port, sql_port, zone"
            members = [Member(*row) for row in ledger.rows(f"SELECT {columns} FROM server")]  # type: ignore[arg-type]

            async def all_serve() -> bool:
                return all(ledger.serves(member) for member in members)

            await eventually(all_serve, timeout_s=BOUND_S, what="the stand-ins' service")
            yield

    @property
    def _ledger_file(self) -> Path:
        return self.directory / "ledger.sqlite"

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        with closing(Ledger(self._ledger_file)) as ledger:
            yield ledger

    def operation(self) -> Operation:
        cluster = ClusterFile(self.directory / "cluster.yaml", FLAVOURS)
        real = stop_operation(ClusterAccess(cluster, _Pool(self), SystemClock()))
        return replace(real, stages=tuple(self._with_recording(stage) for stage in real.stages))

    def _with_recording(self, stage: Stage) -> Stage:
        async def run(context: StepContext) -> Outcome:
            recording: Any = _RecordingContext(context, self)
            return await stage.run(recording)

        return replace(stage, run=run)

    def submission(self, targets: tuple[str, ...], *force: str) -> Submission:
        scope = {"type": "SERVER", "target": list(targets)}
        if self.mode == "plain":
            scope = {"type": "ZONE", "target": ["zone2"]}
        return Submission(
            STOP_OB, targets, {"mode": self.mode, "scope": scope, "force_pass": list(force)}
        )

    # --- what must be true ----------------------------------------------------------------------

    def is_up(self, target: str) -> bool:
        ip = target.rpartition(":")[0]
        try:
            stat = Path(f"/proc/{(self.home(ip) / 'pid').read_text()}/stat").read_text()
        except FileNotFoundError:
            return False
        return stat.rpartition(") ")[2][0] != "Z"

    def signals(self, target: str) -> int:
        noted = self.home(target.rpartition(":")[0]) / "signals"
        return len(noted.read_text().splitlines()) if noted.exists() else 0

    def check_outside(self) -> None:
        """At any moment: nothing is ended twice, and nothing that was not asked for."""
        signals = {name: self.signals(name) for name in NAMES}
        allowed = STOPPED_TARGETS if self.mode == "force" else ()
        assert all(n <= (name in allowed) for name, n in signals.items()), f"signals: {signals}"
        assert self.is_up(UNRELATED)
        assert all(self.is_up(name) or signals[name] for name in NAMES), "killed without SIGTERM"
        with self._ledger() as ledger:
            assert set(ledger.statements()) <= {"ALTER SYSTEM STOP ZONE 'zone2'"}

    def zones(self) -> list[object]:
        with self._ledger() as ledger:
            rows = ledger.rows("SELECT status FROM DBA_OB_ZONES ORDER BY zone")
        return [status for (status,) in rows]


async def stop_force(world: World, engine: Engine) -> None:
    dag = await world.end_of(engine, await world.submit(engine, STOPPED_TARGETS))
    assert dag.state is State.SUCCEED, dag
    assert not any(world.is_up(target) for target in STOPPED_TARGETS)


async def stop_plain(world: World, engine: Engine) -> None:
    assert isinstance(world, StopWorld)
    dag = await world.end_of(engine, await world.submit(engine, STOPPED_TARGETS[1:]))
    assert dag.state is State.SUCCEED, dag
    assert world.zones() == ["ACTIVE", "INACTIVE", "ACTIVE"]


async def stop_retry(world: World, engine: Engine) -> None:
    """A host was away: the other server is ended, which no rollback undoes; RETRY does the rest."""
    dag_id = await world.submit(engine, STOPPED_TARGETS)
    dag = await world.end_of(engine, dag_id)
    if dag.state is State.FAILED:
        assert [world.is_up(target) for target in STOPPED_TARGETS] == [True, False]
        try:
            await engine.operate_dag(dag_id, Operator.ROLLBACK, by="chaos")
        except OperatorRefused:
            world.repair()
        else:
            raise AssertionError("a stop was rolled back")
        await world.operate(engine, dag_id, Operator.RETRY)
        dag = await world.end_of(engine, dag_id)
    assert dag.state is State.SUCCEED, dag
    assert not any(world.is_up(target) for target in STOPPED_TARGETS)


async def stop_rollback(world: World, engine: Engine) -> None:
    """No host could be reached: nothing was stopped, and the rollback has nothing to undo."""
    dag_id = await world.submit(engine, STOPPED_TARGETS)
    dag = await world.end_of(engine, dag_id)
    if dag.state is State.FAILED:
        world.repair()
        await world.operate(engine, dag_id, Operator.ROLLBACK)
        dag = await world.end_of(engine, dag_id)
    assert (dag.state, dag.operator) == (State.SUCCEED, Operator.ROLLBACK), dag
    assert all(world.is_up(target) for target in STOPPED_TARGETS)


STOP_SCENARIOS: dict[str, tuple[Scenario, type[World], dict[str, Any]]] = {
    "stop_force": (stop_force, StopWorld, {}),
    "stop_plain": (stop_plain, StopWorld, {"mode": "plain"}),
    "stop_retry": (stop_retry, StopWorld, {"broken": frozenset(IPS[:1])}),
    "stop_rollback": (stop_rollback, StopWorld, {"broken": frozenset(IPS[:2])}),
}
