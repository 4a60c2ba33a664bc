"""A controller in its own process, with a cluster on demo hosts; all removed at the end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dagengine.client import Client
from tasks.demo.cluster import DemoCluster
from tasks.demo.hosts import DemoHosts

_STOP_LIMIT_S = 30.0
_DAG_LIMIT_S = 180.0
_POLL_S = 0.25  # long, so that polling takes no CPU time from the controller

_FINAL_STATES = ("SUCCEED", "FAILED")

Dag = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DemoController:
    """A running controller, its cluster, and a client connected to it.

    Attributes:
        pid: of the controller's process.
        started_at: instant just before the controller's process was started, in seconds on the
            wall clock.
    """

    cluster: DemoCluster
    pid: int
    client: Client
    started_at: float


@asynccontextmanager
async def run_demo_controller(
    host_count: int, *, prepare: Callable[[DemoCluster], Awaitable[None]] | None = None
) -> AsyncIterator[DemoController]:
    """Run a new controller for `host_count` new hosts with empty homes.

    Args:
        host_count: number of hosts.
        prepare: called before the controller is started.
    """
    async with DemoHosts(host_count) as hosts:
        cluster = DemoCluster(hosts)
        if prepare is not None:
            await prepare(cluster)
        started_at = time.time()
        with (cluster.directory / "controller.log").open("ab") as log:
            process = await cluster.start_controller(log)
        hosts.guard.watch_process(process.pid)
        try:
            async with Client(cluster.url, cluster.password) as client:
                yield DemoController(cluster, process.pid, client, started_at)
        finally:
            await _stop(process)


async def wait_for_end(client: Client, dag_id: str) -> Dag:
    """Wait until the DAG ends and return it; exit the benchmark if it failed."""
    async with asyncio.timeout(_DAG_LIMIT_S):
        while (dag := await client.get_dag(dag_id))["state"] not in _FINAL_STATES:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
    if dag["state"] != "SUCCEED":
        raise SystemExit(f"the start failed: {_failure_lines(dag)}")
    return dag


def _failure_lines(dag: Dag) -> str:
    sub_tasks = (task for node in dag["nodes"] for task in node["sub_tasks"] or ())
    failed_tasks = (task for task in sub_tasks if task["state"] == "FAILED")
    return "; ".join(line for task in failed_tasks for line in (task["task_logs"] or ())[-1:])


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
