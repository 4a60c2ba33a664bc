"""Demo hosts, a cluster on them, and a controller in its own process; all removed at the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dagengine.client import Client
from tasks.demo.cluster import DemoCluster
from tasks.demo.hosts import DemoHosts

_END_BOUND_S = 30.0
_START_BOUND_S = 180.0
_POLL_S = 0.25  # long, so that polling takes no CPU time from the controller

_ENDS = ("SUCCEED", "FAILED")

Dag = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arena:
    """A running controller, and a client connected to it."""

    cluster: DemoCluster
    ssh_kind: str
    pid: int
    client: Client


@asynccontextmanager
async def open_arena(count: int) -> AsyncIterator[Arena]:
    """Provide new homes on `count` new hosts, and a new controller for them."""
    async with DemoHosts(count) as hosts:
        cluster = DemoCluster(hosts)
        with (cluster.directory / "controller.log").open("ab") as log:
            controller = await cluster.start_controller(log)
        hosts.guard.watch_process(controller.pid)
        try:
            async with Client(cluster.url, cluster.password) as client:
                yield Arena(cluster, hosts.kind, controller.pid, client)
        finally:
            await _end(controller)


async def wait_for_end(client: Client, dag_id: str, *, poll_s: float = _POLL_S) -> Dag:
    """Return the DAG once it has ended; exit the benchmark if it did not succeed."""
    async with asyncio.timeout(_START_BOUND_S):
        while (dag := await client.get_dag(dag_id))["state"] not in _ENDS:  # noqa: ASYNC110
            await asyncio.sleep(poll_s)
    if dag["state"] != "SUCCEED":
        raise SystemExit(f"the start failed: {_last_words(dag)}")
    return dag


def _last_words(dag: Dag) -> str:
    tasks = (task for node in dag["nodes"] for task in node["sub_tasks"] or ())
    failed = (task for task in tasks if task["state"] == "FAILED")
    return "; ".join(line for task in failed for line in (task["task_logs"] or ())[-1:])


async def _end(controller: asyncio.subprocess.Process) -> None:
    if controller.returncode is None:
        controller.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_END_BOUND_S):
            await controller.wait()
    except TimeoutError:
        controller.kill()
        await controller.wait()
