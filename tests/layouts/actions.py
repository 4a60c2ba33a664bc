"""Decisions and actions of the product on a restored home, each by the product's own functions."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dagengine.api.binding import bind
from dagengine.errors import ApiError
from dagengine.extension import Call
from dagengine.remote import HostAddress
from dagengine.testing import FakeClock, LocalRunner
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.servers import Server
from tasks.flavours.select import FLAVOURS
from tasks.hosts.commands import start_command, stop_command
from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import StartKind
from tasks.hosts.reports import StartReport, StopReport, parse_start, parse_stop
from tasks.planning.dry_run import start_planner, stop_planner
from tasks.planning.start import StartRequest
from tasks.planning.stop import StopRequest
from tasks.preflight.checks import run_checks
from tasks.preflight.decide import Blocked, Decision, NoOp, Start, decide_start
from tasks.preflight.decide_stop import NothingRuns, StopDecision, decide_stop
from tasks.preflight.inspect import gather_facts
from tasks.preflight.result import Severity, StartTarget
from tests.layouts.restore import RestoredHome
from tests.support.callers import TESTER
from tests.support.factories import make_idle_engine

DAG = "77"
MARKER = ".dagengine-first-start"
_DEFAULT_PORT = 2881


@dataclass(frozen=True)
class LocalPool:
    """A pool whose only host is this machine."""

    def runner(self, address: HostAddress) -> LocalRunner:
        return LocalRunner(address)

    async def close(self) -> None:
        pass


@dataclass(frozen=True)
class Actions:
    """The actions on the server of a restored home.

    Attributes:
        restored: the home.
        arguments: file to which the server program writes its arguments.
    """

    restored: RestoredHome
    arguments: Path

    @property
    def cluster(self) -> ClusterFile:
        """Return a cluster file for the case, next to the restored directory."""
        case_file = self.restored.cluster_file
        server: dict[str, Any] = {"ip": "127.0.0.1", "home": case_file.home}
        server["sql_port"] = self.restored.recording.sql_port or _DEFAULT_PORT
        server |= {"data_dir": case_file.data_dir} if case_file.data_dir else {}
        server |= {"redo_dir": case_file.redo_dir} if case_file.redo_dir else {}
        text = {
            "name": "layouts",
            "id": 1,
            "flavour": case_file.flavour,
            "root_password_env": "LAYOUTS_PASSWORD",
            "zones": {"zone1": [server]},
        }
        path = self.restored.root.with_name("cluster.yaml")
        path.write_text(yaml.safe_dump(text))
        return ClusterFile(path, FLAVOURS)

    @property
    def server(self) -> Server:
        return self.cluster.current.servers[0]

    async def gather(self) -> HostFacts:
        facts = await gather_facts(self.server, LocalRunner(), FakeClock())
        assert facts.complete
        return facts

    async def decide_start(self) -> Decision:
        # Ports of a recording may be in use here; other tests cover them.
        return decide_start(await self.gather(), StartTarget(self.server), skip=["ports"])

    async def start(self, kind: StartKind) -> StartReport:
        """Run the start script as stage 3 does."""
        self.arguments.unlink(missing_ok=True)
        result = await LocalRunner().run(start_command(self.server, DAG, kind), timeout_s=60)
        assert result.stderr == ""
        return parse_start(result.stdout)

    async def decide_stop(self) -> StopDecision:
        server = self.server
        return decide_stop(await self.gather(), home=server.home, sql_port=server.sql_port)

    async def stop(self, *, marker: str = "") -> StopReport:
        """Run the stop script as stop and rollback do."""
        result = await LocalRunner().run(stop_command(self.server, 0.1, marker), timeout_s=60)
        assert result.stderr == ""
        return parse_stop(result.stdout)

    async def dry_run(self) -> str:
        body = {"scope": {"type": "GLOBAL"}, "skipChecks": ["ports"]}
        call = Call(make_idle_engine(), bind(json.dumps(body).encode(), StartRequest), TESTER)
        plan = await start_planner(ClusterAccess(self.cluster, LocalPool(), FakeClock()))(call)
        (planned,) = plan.servers
        kinds = [f" {kind}" for kind in StartKind for c in planned.commands if f" {kind} " in c]
        return f"{planned.verdict}{''.join(kinds)}"

    async def plan_stop(self, mode: str) -> str:
        """Return the verdict of a stop's dry run, or the code of its refusal."""
        scope = {"type": "SERVER", "target": [self.server.name]}
        body = {"scope": scope} | ({} if mode == "plain" else {mode: True})
        call = Call(make_idle_engine(), bind(json.dumps(body).encode(), StopRequest), TESTER)
        try:
            plan = await stop_planner(ClusterAccess(self.cluster, LocalPool(), FakeClock()))(call)
        except ApiError as exc:
            return exc.err_code
        (planned,) = plan.servers
        return planned.verdict

    async def examine(self) -> str:
        """Return the output of `doctor` for the checks that depend on the layout."""
        check_results = run_checks(await self.gather(), StartTarget(self.server))
        blocks = [v for v in check_results if v.level is Severity.BLOCK and v.check != "ports"]
        assert all(verdict.cause and verdict.remedy for verdict in blocks)
        return " ".join(verdict.check for verdict in blocks) or "well"

    def list_files(self) -> dict[str, tuple[int, ...]]:
        """Return every path below the root with metadata that changes when it is written or moved.

        Moving a directory changes the paths below it; ctime shows any other change.
        """
        root = self.restored.root
        return {
            path.relative_to(root).as_posix(): _identify(path)
            for path in root.rglob("*")
            if not path.is_dir() or path.is_symlink()
        }


def _identify(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def name_decision(decision: Decision | StopDecision) -> str:
    """Return one word for the table of expectations."""
    match decision:
        case Start(kind):
            return str(kind)
        case Blocked():
            return "blocked"
        case NothingRuns():
            return "nothing"
        case NoOp():
            return "running"
        case _:
            return "stop"


def write_marker(restored: RestoredHome) -> None:
    """Write the marker and log of a first start by this product that failed."""
    log = restored.home / "log/seekdb.log"
    inode = log.stat().st_ino if log.exists() else 0
    marker = restored.home / MARKER
    marker.write_text(f"{DAG} {inode} 0\n")
    os.utime(marker, (1, 1))
