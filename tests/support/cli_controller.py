"""A controller with operations without effect, and a function that runs commands against it.

`start` has a step for each of two servers; `stop` has them under the lock and verifies.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from dagengine import (
    DagDetail,
    Failed,
    Flags,
    Operation,
    Outcome,
    Problem,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.extension import Call, Extension, ExtensionContext, NoBody, Route
from dagengine.testing import Latch
from tasks.cluster.scope import ScopeKind
from tasks.operations.lock_stage import LOCK_KEY, LOCK_STAGE, take_lock
from tasks.planning.stop import choose_mode
from tests.support.fake_cluster import FIRST, PASSWORD, SECOND, FakeCluster, FakeServer
from tests.support.fake_controller import FakeController


class StartBody(BaseModel):
    """Body of POST /ob/start, recorded unchanged."""

    scope: dict[str, Any]
    forcePassDag: dict[str, Any]  # noqa: N815  # the wire's name
    reason: str = ""


class StopBody(BaseModel):
    """Body of POST /ob/stop."""

    scope: dict[str, Any] = {}  # pydantic copies it
    force: bool = False
    terminate: bool = False
    reason: str = ""


class ProbeQuery(BaseModel):
    """Query of GET /obcluster/topology/info."""

    probe: str = ""


@dataclass(frozen=True)
class CommandResult:
    """Output and exit code of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Stdout, which must be one JSON document and nothing else."""
        return json.loads(self.out)


@dataclass
class CliController(FakeController):
    """A controller, the script of its steps, and a function that runs commands."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    targets: tuple[str, ...] = (FIRST, SECOND)
    broken: set[str] = field(default_factory=set)
    latch: Latch | None = None
    verified: bool = True
    end_latch: Latch | None = None  #: holds cancelled steps
    start_bodies: list[StartBody] = field(default_factory=list)
    down: set[str] = field(default_factory=set)  #: servers that the topology reports as ended
    checks_mode: bool = False  #: whether the mode of a stop may be refused, as by the real one
    probes: int = 0  #: calls that asked for a probe

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("DAGENGINE_")}
        return clean | {"DAGENGINE_URL": self.url, "DAGENGINE_PASSWORD": PASSWORD}

    async def run_on_terminal(self, answer: str, *argv: str) -> CommandResult:
        """Run a command whose stdin and stderr are a terminal, at which a user types the answer."""
        ours, theirs = os.openpty()
        os.write(ours, answer.encode())
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dagengine", *argv),
                cwd=self.directory,
                env=self.environment,
                stdin=theirs,
                stdout=asyncio.subprocess.PIPE,
                stderr=theirs,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        try:
            async with asyncio.timeout(30):
                out, _ = await process.communicate()
            printed = os.read(ours, 65536).decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            os.close(ours)
        assert process.returncode is not None
        return CommandResult(process.returncode, out.decode(), printed)

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

    async def run(self, *argv: str, **environ: str) -> CommandResult:
        """Run a command to its end."""
        async with self.launch(*argv, **environ) as process, asyncio.timeout(30):
            out, err = await process.communicate()
        assert process.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return CommandResult(process.returncode, out.decode(), err.decode())

    async def failed_dag(self) -> str:
        """The id of a DAG that has failed on the second server."""
        self.broken = {SECOND}
        result = await self.run("start", "--json")
        assert result.code == 1
        return str(result.document["id"])

    async def dag(self, dag_id: str) -> dict[str, Any]:
        async with self.client() as client:
            return await client.get_dag(dag_id)

    async def _verify(self, context: StepContext) -> Outcome:
        if self.verified:
            return Succeeded()
        return Failed(Problem("Fake.Unverified", "one server does not see the other", "repair it"))

    async def _step(self, context: StepContext) -> Outcome:
        assert context.target is not None
        await context.log(f"{context.target}: inspected")
        try:
            if self.latch is not None:
                await self.latch.wait()
        except asyncio.CancelledError:
            if self.end_latch is not None:
                await self.end_latch.wait()
            raise
        if context.target in self.broken:
            return Failed(Problem("Fake.Broken", f"{context.target} is broken", "repair it"))
        return Succeeded(evidence={"level": "sql"})

    def _zone(self, server: FakeServer) -> dict[str, Any]:
        row: dict[str, Any] = {"ip": server.ip, "obshell_port": server.agent_port}
        if server.name in self.down:
            row |= {"status": "PROCESS_STOPPED", "ob_status": 0, "why": "its process has ended"}
        else:
            row |= {"status": "RUNNING", "ob_status": 3, "pid": 4711}
            # Each probe measures it: it varies by some milliseconds.
            row["process_start"] = f"2026-01-01T00:00:00.{self.probes % 1000:03}Z"
        return {"name": server.zone, "servers": [row]}

    async def _take_lock(self, context: StepContext) -> Outcome:
        return await take_lock(context, context.params.get("force_pass", ()))

    @asynccontextmanager
    async def open_extension(self, surroundings: ExtensionContext) -> AsyncIterator[Extension]:
        async def start(call: Call[StartBody]) -> DagDetail:
            self.start_bodies.append(call.body)
            return await call.submit(Submission("Start OB", self.targets), reason=call.body.reason)

        async def stop(call: Call[StopBody]) -> DagDetail:
            if self.checks_mode:
                kind, body = ScopeKind(call.body.scope["type"]), call.body
                choose_mode(kind, force=body.force, terminate=body.terminate)
            return await call.submit(Submission("Stop OB", self.targets), reason=call.body.reason)

        async def get_info(call: Call) -> dict[str, Any]:
            agents = [
                {"ip": server.ip, "port": server.agent_port, "zone": server.zone}
                for server in self.cluster.servers
            ]
            return {"agent_info": agents}

        async def get_topology(call: Call) -> dict[str, Any]:
            assert isinstance(call.query, ProbeQuery)
            self.probes += call.query.probe == "now"
            return {"zones": [self._zone(server) for server in self.cluster.servers]}

        look_stage = Stage("Look", StageKind.PARALLEL, self._step)
        lock = Stage(LOCK_STAGE, StageKind.NORMAL, self._take_lock, flags=Flags(can_pass=True))
        verify = Stage("Verify", StageKind.NORMAL, self._verify)
        tell_stage = Stage("Tell", StageKind.NORMAL, self._verify)
        operations = [
            Operation("Start OB", (look_stage,)),
            Operation(
                "Stop OB",
                (lock, look_stage, verify, tell_stage),
                lock_key=LOCK_KEY,
                takes_lock=LOCK_STAGE,
            ),
        ]
        routes = [
            Route("POST", "/ob/start", StartBody, start),
            Route("POST", "/ob/stop", StopBody, stop),
            Route("GET", "/ob/info", NoBody, get_info, answer=dict[str, Any]),
            Route(
                "GET",
                "/obcluster/topology/info",
                NoBody,
                get_topology,
                query=ProbeQuery,
                answer=dict[str, Any],
            ),
        ]
        yield Extension(operations, routes, self.cluster, lambda: None)
