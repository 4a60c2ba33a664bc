"""Latency of POST while a controller runs 200 DAGs. `python post_latency.py DIRECTORY`.

Prints one JSON object. The controller is a separate process: this script with a second argument.
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
    """An empty request body."""


async def sleep_briefly(_context: StepContext) -> Outcome:
    await asyncio.sleep(random.uniform(0.1, 0.5))
    return Succeeded()


async def do_nothing(_context: StepContext) -> Outcome:
    return Succeeded()


def six_steps(name: str, step: object) -> Operation:
    return Operation(name, tuple(Stage(f"s{n}", StageKind.NORMAL, step) for n in range(6)))  # type: ignore[arg-type]


async def submit(call: Call[Empty]) -> DagDetail:
    return await call.engine.submit(Submission("quick"))


@asynccontextmanager
async def open_extension(context: ExtensionContext) -> AsyncIterator[Extension]:
    cluster = ClusterFile(context.cluster_file, FLAVOURS)
    operations = [six_steps("busy", sleep_briefly), six_steps("quick", do_nothing)]
    yield Extension(operations, [Route("POST", "/submit", Empty, submit)], cluster, lambda: None)


async def run_dags(engine: Engine) -> None:
    """Run one DAG after another, forever."""
    while True:
        await engine.wait((await engine.submit(Submission("busy"))).dag.dag_id)


async def serve(directory: Path) -> None:
    (directory / "cluster.yaml").write_text(CLUSTER)
    (directory / "engine.yaml").write_text(
        f"api: {{port: {random.randrange(12_000, 32_000)}}}\ncluster: cluster.yaml\n"
    )
    config = load_config(directory / "engine.yaml", {})
    engines: asyncio.Queue[Engine] = asyncio.Queue()

    async def start_load(call: Call[Empty]) -> DagDetail:
        engines.put_nowait(call.engine)
        return await submit(call)

    @asynccontextmanager
    async def open_with_load(context: ExtensionContext) -> AsyncIterator[Extension]:
        async with open_extension(context) as extension:
            routes = [*extension.routes, Route("POST", "/start-load", Empty, start_load)]
            yield Extension(extension.operations, routes, extension.cluster, extension.reload)

    async with run_controller(config, [Plugin("bench", open_with_load)]) as controller:
        sys.stdout.write(controller.url + "\n")
        sys.stdout.flush()
        engine = await engines.get()
        async with asyncio.TaskGroup() as group:
            for _ in range(RUNNING):
                group.create_task(run_dags(engine), name="run DAGs")


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
            await client.post("/start-load", {})
            await asyncio.sleep(2)
            times_s = []
            for _ in range(CALLS):
                started_s = time.perf_counter()
                await client.post("/submit", {})
                times_s.append(time.perf_counter() - started_s)
        times_s.sort()
        return {"p50_s": times_s[CALLS // 2], "p99_s": times_s[int(CALLS * 0.99)]}
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    configure_logs()
    if len(sys.argv) > 2:
        asyncio.run(serve(Path(sys.argv[1])))
    else:
        sys.stdout.write(json.dumps(asyncio.run(measure(Path(sys.argv[1])))) + "\n")
