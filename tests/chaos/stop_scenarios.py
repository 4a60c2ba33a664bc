"""`Stop OB` itself under crashes: its own scripts, on processes of this machine.

Each server is a process that looks like an observer by name and home, and that records every
SIGTERM; the one in zone3 is never in scope. A plain stop uses SQL stand-ins of the same cluster,
which outlive the child.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
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
from tests.chaos.start_scenarios import ChaosEnvironment, Scenario
from tests.support.standin.cluster import install
from tests.support.standin.cluster_state import Ledger, Member
from tests.support.standin.observer import WISHES
from tests.support.standin.sql import write_config

IPS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
NAMES = tuple(f"{ip}:2886" for ip in IPS)
BOUND_S = 60.0  # on a hang
STOPPED_TARGETS, UNRELATED = NAMES[:2], NAMES[2]
_PASSWORD = "word"  # of the stand-ins

# A second SIGTERM is recorded, too, while the server is ending: the second server ends more slowly,
# so that the controller can be ended between the SIGTERM and the end.
_SERVER = """\
trap 'echo TERM >>signals' TERM
echo ready
read -r word
case $PWD in *.2) sleep 0.4 ;; esac
"""


# It outlives a SIGTERM; a stop that waits for its end can be cancelled. It ends with its test.
_STUBBORN_SERVER = """\
trap 'echo TERM >>signals' TERM
echo ready
tries=0
while [ $tries -lt 6000 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
"""
_KILL_AFTER_S = 300


class _Runner(LocalRunner):
    """This machine, or a host that cannot be reached until the environment is repaired."""

    def __init__(self, address: HostAddress, environment: StopEnvironment) -> None:
        super().__init__(address)
        self._environment = environment

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        if self.address.host in self._environment.broken and not self._environment.is_repaired:
            raise HostUnreachable("cannot be reached", host=str(self.address), remedy="repair it")
        return await super().run(command, timeout_s=timeout_s)


class _Pool(LocalRunnerPool):
    def __init__(self, environment: StopEnvironment) -> None:
        self._environment = environment

    def runner(self, address: HostAddress) -> LocalRunner:
        return _Runner(address, self._environment)


class _RecordingContext:
    """A step's context that records each log line after the store has it."""

    def __init__(self, context: StepContext, environment: ChaosEnvironment) -> None:
        self._context = context
        self._environment = environment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def log(self, line: str) -> None:
        await self._environment.record_line(self._context, line)


@dataclass(frozen=True)
class StopEnvironment(ChaosEnvironment):
    """Three servers in three zones; a stop has the first two, or zone2, in scope."""

    mode: str = "force"
    stubborn: str = ""  #: address of the server that SIGTERM does not end

    @property
    def has_sql(self) -> bool:
        """Whether the servers are stand-ins with SQL."""
        return self.mode != "force"

    def home(self, ip: str) -> Path:
        return self.directory / ip

    # --- environment ------------------------------------------------------------------------

    @contextmanager
    def shared_resources(self) -> Iterator[None]:
        members = [
            Member(ip, free_port(), free_port(), f"zone{number}")
            for number, ip in enumerate(IPS, 1)
        ]
        (self.directory / "cluster.yaml").write_text(yaml.safe_dump(self._describe(members)))
        with self._ledger() as ledger:
            ledger.bootstrap(members, _PASSWORD)
        with ExitStack() as stack:
            for member in members:
                if self.has_sql:
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
            "stop": {"kill_after_s": _KILL_AFTER_S},
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
        """Run a stand-in observer as a daemon."""
        home = self.home(member.ip)
        install(home)
        write_config(home, member, self._ledger_file)
        (home / WISHES).write_text(json.dumps({"notes_term": True}))
        environ = os.environ | {"LD_LIBRARY_PATH": f"{home}/lib"}
        subprocess.run([home / "bin/observer"], cwd=home, env=environ, check=True)
        pid = (home / "run/observer.pid").read_text().strip()
        (home / "pid").write_text(pid)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    @contextmanager
    def _start_server(self, ip: str) -> Iterator[None]:
        home = self.home(ip)
        (home / "bin").mkdir(parents=True)
        program = home / "bin/observer"
        shutil.copy(Path("/bin/sh").resolve(), program)
        server = subprocess.Popen(
            [program, "-c", _STUBBORN_SERVER if ip == self.stubborn else _SERVER],
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert server.stdout is not None
        server.stdout.readline()  # it records signals from here on
        (home / "pid").write_text(str(server.pid))
        with server:
            try:
                yield
            finally:
                server.kill()

    # --- in the child -------------------------------------------------------------------------

    @asynccontextmanager
    async def child_resources(self) -> AsyncIterator[None]:
        os.environ["CHAOS_PASSWORD"] = _PASSWORD
        if not self.has_sql:
            yield
            return
        with self._ledger() as ledger:
            columns = "svr_ip, svr_port, sql_port, zone"
            members = [Member(*row) for row in ledger.rows(f"SELECT {columns} FROM server")]  # type: ignore[arg-type]

            async def all_serve() -> bool:
                return all(
                    ledger.serves(member)
                    for member in members
                    if not self.signals(f"{member.ip}:2886")
                )

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

    # --- conditions ------------------------------------------------------------------------------

    def is_up(self, target: str) -> bool:
        ip = target.rpartition(":")[0]
        try:
            stat = Path(f"/proc/{(self.home(ip) / 'pid').read_text()}/stat").read_text()
        except FileNotFoundError:
            return False
        return stat.rpartition(") ")[2][0] != "Z"

    def signals(self, target: str) -> int:
        signal_file = self.home(target.rpartition(":")[0]) / "signals"
        return len(signal_file.read_text().splitlines()) if signal_file.exists() else 0

    def check_effects(self) -> None:
        """Check at any moment: every server ends once at most, and only if it is in scope."""
        signals = {name: self.signals(name) for name in NAMES}
        allowed = STOPPED_TARGETS if self.mode in ("force", "terminate") else ()
        stubborn = f"{self.stubborn}:2886"  # a repeated attempt sends it another signal
        assert all(n <= (name in allowed) for name, n in signals.items() if name != stubborn), (
            f"signals: {signals}"
        )
        assert self.is_up(UNRELATED)
        assert all(self.is_up(name) or signals[name] for name in NAMES), "killed without SIGTERM"
        with self._ledger() as ledger:
            statements = set(ledger.statements())
        if self.mode == "terminate":
            assert all("MINOR FREEZE SERVER" in statement for statement in statements)
        else:
            assert statements <= {"ALTER SYSTEM STOP ZONE 'zone2'"}

    def has_frozen(self) -> bool:
        with self._ledger() as ledger:
            return any("MINOR FREEZE" in statement for statement in ledger.statements())

    def is_unlocked(self, target: str) -> bool:
        """Return whether no script holds the lock of a home."""
        home = os.open(self.home(target.rpartition(":")[0]), os.O_RDONLY)
        try:
            fcntl.flock(home, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(home)
        return True

    def zones(self) -> list[object]:
        with self._ledger() as ledger:
            rows = ledger.rows("SELECT status FROM DBA_OB_ZONES ORDER BY zone")
        return [status for (status,) in rows]


async def stop_force(environment: ChaosEnvironment, engine: Engine) -> None:
    dag = await environment.end_of(engine, await environment.submit(engine, STOPPED_TARGETS))
    assert dag.state is State.SUCCEED, dag
    assert not any(environment.is_up(target) for target in STOPPED_TARGETS)


async def stop_plain(environment: ChaosEnvironment, engine: Engine) -> None:
    assert isinstance(environment, StopEnvironment)
    dag = await environment.end_of(engine, await environment.submit(engine, STOPPED_TARGETS[1:]))
    assert dag.state is State.SUCCEED, dag
    assert environment.zones() == ["ACTIVE", "INACTIVE", "ACTIVE"]


async def stop_retry(environment: ChaosEnvironment, engine: Engine) -> None:
    """One host is unreachable: the other server ends, rollback keeps it so; RETRY does the rest."""
    dag_id = await environment.submit(engine, STOPPED_TARGETS)
    dag = await environment.end_of(engine, dag_id)
    if dag.state is State.FAILED:
        assert [environment.is_up(target) for target in STOPPED_TARGETS] == [True, False]
        try:
            await engine.operate_dag(dag_id, Operator.ROLLBACK, by="chaos")
        except OperatorRefused:
            environment.repair()
        else:
            raise AssertionError("a stop was rolled back")
        await environment.operate(engine, dag_id, Operator.RETRY)
        dag = await environment.end_of(engine, dag_id)
    assert dag.state is State.SUCCEED, dag
    assert not any(environment.is_up(target) for target in STOPPED_TARGETS)


async def stop_rollback(environment: ChaosEnvironment, engine: Engine) -> None:
    """All hosts are unreachable: nothing is stopped, and the rollback has nothing to undo."""
    dag_id = await environment.submit(engine, STOPPED_TARGETS)
    dag = await environment.end_of(engine, dag_id)
    if dag.state is State.FAILED:
        environment.repair()
        await environment.operate(engine, dag_id, Operator.ROLLBACK)
        dag = await environment.end_of(engine, dag_id)
    assert (dag.state, dag.operator) == (State.SUCCEED, Operator.ROLLBACK), dag
    assert all(environment.is_up(target) for target in STOPPED_TARGETS)


async def stop_terminate(environment: ChaosEnvironment, engine: Engine) -> None:
    dag = await environment.end_of(engine, await environment.submit(engine, STOPPED_TARGETS))
    assert dag.state is State.SUCCEED, dag
    assert not any(environment.is_up(target) for target in STOPPED_TARGETS)
    assert isinstance(environment, StopEnvironment)
    assert environment.has_frozen(), "the servers ended without a freeze"


async def stop_cancel(environment: ChaosEnvironment, engine: Engine) -> None:
    """A server outlives its SIGTERM, and the stop that waits for it is cancelled."""
    assert isinstance(environment, StopEnvironment)
    stubborn, other = STOPPED_TARGETS
    dag_id = await environment.submit(engine, STOPPED_TARGETS)

    async def can_be_cancelled() -> bool:
        detail = await engine.find_dag(dag_id, details=True)
        assert detail is not None
        assert detail.nodes is not None
        is_decided = detail.dag.state.is_final or detail.dag.operator is Operator.CANCEL
        is_waiting = environment.signals(stubborn) > 0 and not environment.is_up(other)
        has_ended = any(task.sub_task.state.is_final for task in detail.nodes[3].sub_tasks)
        return is_decided or (is_waiting and has_ended)

    await eventually(can_be_cancelled, timeout_s=BOUND_S, what="a stop that waits")
    detail = await engine.find_dag(dag_id, details=False)
    assert detail is not None
    if not detail.dag.state.is_final and detail.dag.operator is not Operator.CANCEL:
        await environment.operate(engine, dag_id, Operator.CANCEL)
    dag = await environment.end_of(engine, dag_id)
    assert (dag.state, dag.operator) == (State.FAILED, Operator.CANCEL), dag
    assert environment.is_up(stubborn), "it was killed after the cancel"
    assert not environment.is_up(other)
    assert environment.is_unlocked(stubborn), "something of the stop still runs"


STOP_SCENARIOS: dict[str, tuple[Scenario, type[ChaosEnvironment], dict[str, Any]]] = {
    "stop_force": (stop_force, StopEnvironment, {}),
    "stop_plain": (stop_plain, StopEnvironment, {"mode": "plain"}),
    "stop_retry": (stop_retry, StopEnvironment, {"broken": frozenset(IPS[:1])}),
    "stop_terminate": (stop_terminate, StopEnvironment, {"mode": "terminate"}),
    "stop_cancel": (stop_cancel, StopEnvironment, {"stubborn": IPS[0]}),
    "stop_rollback": (stop_rollback, StopEnvironment, {"broken": frozenset(IPS[:2])}),
}
