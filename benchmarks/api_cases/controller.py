"""Controller of the API benchmark. `python controller.py DIRECTORY`; prints its URL.

`POST /six-stages` runs a DAG of six stages for three targets. `POST /log-dag` creates a DAG whose
step waits for `POST /log-lines` and then logs lines; the commit time of each line is written to
DIRECTORY/committed_s.json.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

from dagengine import (
    DagDetail,
    Engine,
    LineLogged,
    Operation,
    Outcome,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.extension import Call, Extension, ExtensionContext, Plugin, Route
from dagengine.runtime.logging import configure_logs
from dagengine.server.config import load_config
from dagengine.server.controller import run_controller
from tasks.cluster.cluster_file import ClusterFile
from tasks.flavours.select import FLAVOURS

LINES, PAUSE_S = 30, 0.2
TARGETS = ("10.0.0.1:2886", "10.0.0.2:2886", "10.0.0.3:2886")
CLUSTER = (
    "name: x\nid: 1\nflavour: seekdb\nroot_password_env: ROOT\n"
    "zones: {z: [{ip: 10.0.0.1, home: /h}]}\n"
)


class Empty(BaseModel):
    """An empty request body."""


class BenchmarkPlugin:
    """Operations and routes of this benchmark."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.may_log = asyncio.Event()
        self.recorder: asyncio.Task[None] | None = None

    async def log_line(self, context: StepContext) -> Outcome:
        await context.log(f"{context.target}: all checks have passed")
        return Succeeded(evidence={"level": "sql", "pid": 4711})

    async def log_lines(self, context: StepContext) -> Outcome:
        await self.may_log.wait()
        for number in range(LINES):
            await asyncio.sleep(PAUSE_S)
            await context.log(f"line {number}")
        return Succeeded()

    def operations(self) -> list[Operation]:
        parallel, normal = StageKind.PARALLEL, StageKind.NORMAL
        kinds = (normal, parallel, parallel, parallel, normal, normal)
        stages = tuple(Stage(f"Stage {n}", kind, self.log_line) for n, kind in enumerate(kinds))
        return [
            Operation("six", stages),
            Operation("log", (Stage("Log lines", normal, self.log_lines),)),
        ]

    async def run_six_stages(self, call: Call[Empty]) -> DagDetail:
        detail = await call.submit(Submission("six", TARGETS))
        await call.engine.wait(detail.dag.dag_id)
        return detail

    async def create_log_dag(self, call: Call[Empty]) -> DagDetail:
        detail = await call.submit(Submission("log", TARGETS))
        coroutine = self.record_commits(call.engine, detail.dag.dag_id)
        self.recorder = asyncio.create_task(coroutine, name="record commits")
        return detail

    async def start_logging(self, call: Call[Empty]) -> DagDetail:
        self.may_log.set()
        return await call.submit(Submission("six", TARGETS))

    async def record_commits(self, engine: Engine, dag_id: int) -> None:
        """Record when each line was committed; the API's subscribers receive it afterwards."""
        committed_s: dict[str, float] = {}
        with engine.subscribe(dag_id) as subscription:
            while len(committed_s) < LINES:
                event = await subscription.next()
                if isinstance(event, LineLogged):
                    committed_s[event.line.content] = time.monotonic()
        (self.directory / "committed_s.json").write_text(json.dumps(committed_s))

    @asynccontextmanager
    async def open(self, context: ExtensionContext) -> AsyncIterator[Extension]:
        routes = [
            Route("POST", "/six-stages", Empty, self.run_six_stages),
            Route("POST", "/log-dag", Empty, self.create_log_dag),
            Route("POST", "/log-lines", Empty, self.start_logging),
        ]
        cluster = ClusterFile(context.cluster_file, FLAVOURS)
        yield Extension(self.operations(), routes, cluster, lambda: None)


async def serve(directory: Path) -> None:
    (directory / "cluster.yaml").write_text(CLUSTER)
    (directory / "engine.yaml").write_text(
        f"api: {{port: {random.randrange(12_000, 32_000)}}}\ncluster: cluster.yaml\n"
    )
    config = load_config(directory / "engine.yaml", {})
    plugin = BenchmarkPlugin(directory)
    async with run_controller(config, [Plugin("bench", plugin.open)]) as controller:
        sys.stdout.write(f"{controller.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    configure_logs()
    asyncio.run(serve(Path(sys.argv[1])))
