"""`dagengine demo --fleet`: controllers share a store, and one of them is killed during a start."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from dagengine.errors import ConfigError, DagengineError
from dagengine.extension import ExitCode, write_document, write_lines
from tasks.demo import messages
from tasks.demo.cluster import describe_end
from tasks.demo.fleet import DemoFleet, FleetController
from tasks.demo.hosts import DemoHosts

CLUSTERS = 2
"""Clusters of the demo; each has one server on a host of its own."""


async def run_fleet_demo(hosts: DemoHosts, out: TextIO, *, once: bool, as_json: bool) -> int:
    """Run the demo on started hosts; return the exit code.

    Args:
        hosts: `CLUSTERS` hosts.
        out: gets the progress.
        once: stop as soon as all servers have started.
        as_json: print the final DAGs on stdout.

    Raises:
        DagengineError: a part of the demo did not start, or a command failed.
    """
    fleet = DemoFleet(hosts)
    try:
        await _start_all(fleet, out)
        started = await _start_clusters(fleet)
        await _kill_owner(fleet, out)
        dags = [await _wait_for_end(fleet, out, *each) for each in started.items()]
        survivor = _running(fleet)[0]
        table = await fleet.read_text("fleet", "-c", str(survivor.engine_file))
        write_lines(out, ["", *table.splitlines(), ""])
        if as_json:
            write_document(sys.stdout, dags)
        if not once:
            _show_commands(fleet, out, survivor)
            return await _wait_for_controllers(fleet)
    finally:
        await fleet.stop()
    return 0 if all(dag["state"] == "SUCCEED" for dag in dags) else 1


async def _start_all(fleet: DemoFleet, out: TextIO) -> None:
    """Start the store and the controllers, and wait until each cluster has an owner."""
    store = fleet.store
    await store.start()
    migrate = ("store", "migrate", store.url, "--password-file", str(store.password_file))
    await fleet.read_text(*migrate)
    write_lines(out, [messages.STORE(url=store.url)])
    for controller in fleet.controllers:
        await fleet.start_controller(controller)
        urls = ", ".join(controller.urls.values())
        write_lines(out, [messages.FLEET_CONTROLLER(name=controller.name, urls=urls)])
    for cluster in fleet.clusters:
        owner = await fleet.wait_for_owner(cluster.name)
        write_lines(out, [messages.OWNED(cluster=cluster.name, owner=owner.name)])


async def _start_clusters(fleet: DemoFleet) -> Mapping[str, str]:
    """Start all clusters by one request; return the id of each cluster's DAG."""
    names = ",".join(each.name for each in fleet.clusters)
    config = str(fleet.controllers[-1].engine_file)
    results: Sequence[Mapping[str, Any]] = await fleet.run(
        *("fleet", "start", "--cluster", names, "--no-wait", "--json", "-c", config)
    )
    for result in results:
        if result["dag"] is None:
            raise DagengineError(messages.START_REJECTED())
    return {result["cluster"]: result["dag"]["id"] for result in results}


async def _kill_owner(fleet: DemoFleet, out: TextIO) -> None:
    """Kill the owner of the first cluster, and wait until all of its clusters have a new one."""
    owner = await fleet.wait_for_owner(fleet.clusters[0].name)
    owned = [each.name for each in fleet.clusters if await fleet.find_owner(each.name) is owner]
    assert owner.process is not None
    write_lines(out, [messages.KILLED(name=owner.name, pid=owner.pid, clusters=", ".join(owned))])
    loop = asyncio.get_running_loop()
    killed_s = loop.time()
    owner.process.kill()
    await owner.process.wait()
    for name in owned:
        successor = await fleet.wait_for_owner(name)
        took_s = loop.time() - killed_s
        write_lines(
            out, [messages.TAKEN_OVER(name=successor.name, cluster=name, took_s=f"{took_s:.1f}")]
        )


async def _wait_for_end(fleet: DemoFleet, out: TextIO, cluster: str, dag_id: str) -> Any:
    """Wait for the end of a DAG through a controller that does not own the cluster."""
    owner = await fleet.wait_for_owner(cluster)
    others = [each for each in _running(fleet) if each is not owner]
    if not others:
        raise ConfigError(messages.NO_OWNER(cluster=cluster))
    dag = await fleet.run("wait", dag_id, "--json", "--url", others[0].urls[cluster])
    write_lines(
        out,
        [
            messages.DAG_ENDED(
                cluster=cluster, name=dag["name"], dag_id=dag_id, state=dag["state"], by=owner.name
            )
        ],
    )
    return dag


def _show_commands(fleet: DemoFleet, out: TextIO, controller: FleetController) -> None:
    program = Path(sys.argv[0]).parent / "dagengine"
    write_lines(
        out,
        [
            messages.RUNNING(),
            f"{program} fleet -c {controller.engine_file}",
            f"export DAGENGINE_URL={controller.urls[fleet.clusters[0].name]}",
            f"export DAGENGINE_PASSWORD={fleet.password}  # of this demo alone",
            f"{program} show",
        ],
    )


async def _wait_for_controllers(fleet: DemoFleet) -> int:
    """Wait until the last controller has ended, print how they ended, and return the exit code."""
    running = [each for each in _running(fleet) if each.process is not None]
    await asyncio.gather(*(each.process.wait() for each in running if each.process is not None))
    for each in running:
        assert each.process is not None
        assert each.process.returncode is not None
        first, *lines = describe_end(each.name, each.process.returncode, each.log)
        write_lines(sys.stderr, [messages.ERROR(error=first), *lines])
    return ExitCode.FAILED


def _running(fleet: DemoFleet) -> Sequence[FleetController]:
    return [each for each in fleet.controllers if each.is_running]
