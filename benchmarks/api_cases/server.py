"""The controller for benchmarks/api.py. `python server.py DIRECTORY`; prints its URL.

`POST /go` creates a DAG of six stages for three targets. `POST /chat` creates one whose step waits
for `POST /talk` and then logs lines; the commit time of each is written to DIRECTORY/told.json.
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
    """No body."""


class Stand:
    """Handlers of the routes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.talk = asyncio.Event()
        self.watching: asyncio.Task[None] | None = None

    async def quick(self, context: StepContext) -> Outcome:
        await context.log(f"{context.target}: nothing stands in its way")
        return Succeeded(evidence={"level": "sql", "pid": 4711})

    async def chat(self, context: StepContext) -> Outcome:
        await self.talk.wait()
        for number in range(LINES):
            await asyncio.sleep(PAUSE_S)
            await context.log(f"line {number}")
        return Succeeded()

    def operations(self) -> list[Operation]:
        lane, normal = StageKind.PARALLEL, StageKind.NORMAL
        kinds = (normal, lane, lane, lane, normal, normal)
        six = tuple(Stage(f"Stage {n}", kind, self.quick) for n, kind in enumerate(kinds))
        return [Operation("six", six), Operation("chat", (Stage("Chat", normal, self.chat),))]

    async def go(self, call: Call[Empty]) -> DagDetail:
        made = await call.submit(Submission("six", TARGETS))
        await call.engine.wait(made.dag.dag_id)
        return made

    async def begin(self, call: Call[Empty]) -> DagDetail:
        made = await call.submit(Submission("chat", TARGETS))
        watching = self.watch(call.engine, made.dag.dag_id)
        self.watching = asyncio.create_task(watching, name="watching")
        return made

    async def say(self, call: Call[Empty]) -> DagDetail:
        self.talk.set()
        return await call.submit(Submission("six", TARGETS))

    async def watch(self, engine: Engine, dag_id: int) -> None:
        """Record when each line was committed; subscribers are notified right after."""
        told: dict[str, float] = {}
        with engine.subscribe(dag_id) as events:
            while len(told) < LINES:
                event = await events.next()
                if isinstance(event, LineLogged):
                    told[event.line.content] = time.monotonic()
        (self.directory / "told.json").write_text(json.dumps(told))

    @asynccontextmanager
    async def open(self, surroundings: ExtensionContext) -> AsyncIterator[Extension]:
        routes = [
            Route("POST", "/go", Empty, self.go),
            Route("POST", "/chat", Empty, self.begin),
            Route("POST", "/talk", Empty, self.say),
        ]
        cluster = ClusterFile(surroundings.cluster_file, FLAVOURS)
        yield Extension(self.operations(), routes, cluster, lambda: None)


async def serve(directory: Path) -> None:
    (directory / "cluster.yaml").write_text(CLUSTER)
    (directory / "engine.yaml").write_text(
        f"api: {{port: {random.randrange(12_000, 32_000)}}}\ncluster: cluster.yaml\n"
    )
    config = load_config(directory / "engine.yaml", {})
    stand = Stand(directory)
    async with run_controller(config, [Plugin("bench", stand.open)]) as controller:
        sys.stdout.write(f"{controller.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    configure_logs()
    asyncio.run(serve(Path(sys.argv[1])))
