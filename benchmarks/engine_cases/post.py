"""POST to a controller that is running 200 DAGs. `python post.py DIRECTORY`; prints JSON.

The controller runs in its own process: this file with a second argument.
"""

from __future__ import annotations

import asyncio
import json
import os
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
    Operation,
    Outcome,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.client import Client
from dagengine.extension import Call, Extension, ExtensionContext, Plugin, Route
from dagengine.runtime.logging import configure_logs
from dagengine.server.config import load_config
from dagengine.server.controller import run_controller
from tasks.cluster.cluster_file import ClusterFile
from tasks.flavours.select import FLAVOURS

RUNNING, CALLS = 200, 400
CLUSTER = (
    "name: x\nid: 1\nflavour: seekdb\nroot_password_env: ROOT\n"
    "zones: {z: [{ip: 10.0.0.1, home: /h}]}\n"
)


class Empty(BaseModel):
    """No body."""


async def busy(_context: StepContext) -> Outcome:
    await asyncio.sleep(random.uniform(0.1, 0.5))
    return Succeeded()


async def quick(_context: StepContext) -> Outcome:
    return Succeeded()


def six(name: str, step: object) -> Operation:
    return Operation(name, tuple(Stage(f"s{n}", StageKind.NORMAL, step) for n in range(6)))  # type: ignore[arg-type]


async def start(call: Call[Empty]) -> DagDetail:
    return await call.engine.submit(Submission("quick"))


@asynccontextmanager
async def open_extension(surroundings: ExtensionContext) -> AsyncIterator[Extension]:
    cluster = ClusterFile(surroundings.cluster_file, FLAVOURS)
    operations = [six("busy", busy), six("quick", quick)]
    yield Extension(operations, [Route("POST", "/go", Empty, start)], cluster, lambda: None)


async def keep_busy(engine: Engine) -> None:
    while True:
        await engine.wait((await engine.submit(Submission("busy"))).dag.dag_id)


async def serve(directory: Path) -> None:
    (directory / "cluster.yaml").write_text(CLUSTER)
    (directory / "engine.yaml").write_text(
        f"api: {{port: {random.randrange(12_000, 32_000)}}}\ncluster: cluster.yaml\n"
    )
    config = load_config(directory / "engine.yaml", {})
    engines: asyncio.Queue[Engine] = asyncio.Queue()

    async def take(call: Call[Empty]) -> DagDetail:
        engines.put_nowait(call.engine)
        return await start(call)

    @asynccontextmanager
    async def opened(surroundings: ExtensionContext) -> AsyncIterator[Extension]:
        async with open_extension(surroundings) as extension:
            routes = [*extension.routes, Route("POST", "/take", Empty, take)]
            yield Extension(extension.operations, routes, extension.cluster, extension.reload)

    async with run_controller(config, [Plugin("bench", opened)]) as controller:
        sys.stdout.write(controller.url + "\n")
        sys.stdout.flush()
        engine = await engines.get()
        async with asyncio.TaskGroup() as group:
            for _ in range(RUNNING):
                group.create_task(keep_busy(engine), name="busy")


async def measure(directory: Path) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        str(directory),
        "serve",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "ROOT": "x"},
    )
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        async with Client(url, "x") as client:
            await client.post("/take", {})
            await asyncio.sleep(2)
            times = []
            for _ in range(CALLS):
                begun = time.perf_counter()
                await client.post("/go", {})
                times.append(time.perf_counter() - begun)
        times.sort()
        return {"p50_s": times[CALLS // 2], "p99_s": times[int(CALLS * 0.99)]}
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    configure_logs()
    if len(sys.argv) > 2:
        asyncio.run(serve(Path(sys.argv[1])))
    else:
        sys.stdout.write(json.dumps(asyncio.run(measure(Path(sys.argv[1])))) + "\n")
