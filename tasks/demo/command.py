"""`dagengine demo`: three real servers behind three real SSH servers, started end to end."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from dagengine.errors import DagengineError
from dagengine.extension import (
    ExitCode,
    new_app,
    render_epilog,
    write_document,
    write_lines,
)
from tasks.demo import messages
from tasks.demo.cluster import DemoCluster, describe_end, find_seekdb
from tasks.demo.fleet_demo import CLUSTERS, run_fleet_demo
from tasks.demo.hosts import DemoHosts
from tasks.demo.reaper import ProcessReaper

_COUNT = 3
_STOP_BOUND_S = 10.0

app = new_app()


@app.command(epilog=render_epilog("dagengine demo --once"))
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop the servers as soon as all have started.")
    ] = False,
    fleet: Annotated[
        bool,
        typer.Option(
            "--fleet",
            help="Run three controllers with one shared store, and kill one during a start.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final DAG on stdout.")] = False,
) -> None:
    """Start three real servers behind three real SSH servers, end to end."""
    hosts, removed = DemoHosts(CLUSTERS if fleet else _COUNT), messages.REMOVED()
    out = sys.stderr if as_json else sys.stdout
    code: int
    error: DagengineError | None = None
    try:
        find_seekdb()
        code = asyncio.run(_main(hosts, out, once, as_json, is_fleet=fleet))
    except DagengineError as exc:
        error, code, out = exc, ExitCode.USAGE, sys.stderr
    except (asyncio.CancelledError, KeyboardInterrupt):
        removed = messages.STOPPED()
        code, out = ExitCode.INTERRUPTED, sys.stderr
    if hosts.is_removed:
        _say(out, removed)
    else:
        _say(sys.stderr, messages.NOT_REMOVED(directory=hosts.directory))
        code = code or ExitCode.FAILED
    if error is not None:
        raise error
    raise typer.Exit(code)


async def _main(hosts: DemoHosts, out: TextIO, once: bool, as_json: bool, *, is_fleet: bool) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with hosts:
        _say(out, messages.HOSTS(count=len(hosts.hosts), server=hosts.kind))
        if hosts.notice:
            _say(out, f"       {hosts.notice}")
        if is_fleet:
            return await run_fleet_demo(hosts, out, once=once, as_json=as_json)
        return await _run_cluster_demo(hosts, out, once, as_json)


async def _run_cluster_demo(hosts: DemoHosts, out: TextIO, once: bool, as_json: bool) -> int:
    cluster = DemoCluster(hosts)
    log_file = cluster.directory / "controller.log"
    with log_file.open("wb") as log:
        controller = await cluster.start_controller(log)
        hosts.guard.watch_process(controller.pid)
        try:
            _say(out, messages.CONTROLLER(url=cluster.url))
            code, dag = await _start(cluster, hosts.guard)
            _show(out, dag, cluster)
            if as_json:
                write_document(sys.stdout, dag)
            if not once and code == 0:
                _say(out, f"{cluster.url}/api/v1/task/dag/{dag['id']}")
                _say(out, messages.RUNNING())
                _say(out, f"export DAGENGINE_URL={cluster.url}")
                _say(out, f"export DAGENGINE_PASSWORD={cluster.password}  # of this demo alone")
                _say(out, f"{Path(sys.argv[0]).parent / 'dagengine'} show")
                await controller.wait()
        finally:
            ended = controller.returncode
            await _stop(controller)
            if ended is not None:
                lines = describe_end(messages.THE_CONTROLLER(), ended, log_file)
                write_lines(sys.stderr, [messages.ERROR(error=lines[0]), *lines[1:]])
    return code if ended is None else ExitCode.FAILED


async def _start(cluster: DemoCluster, guard: ProcessReaper) -> tuple[int, Mapping[str, Any]]:
    """Run `dagengine start` as a user would; its progress lines go to stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "dagengine",
        "start",
        "--json",
        "--no-hints",  # the controller ends with the demo
        env=cluster.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    guard.watch_process(process.pid)  # it keeps waiting if the controller stops answering
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if not printed:
        raise DagengineError(messages.START_REJECTED(), remedy=messages.SEE_LINES_ABOVE())
    return process.returncode or 0, json.loads(printed)


def _show(out: TextIO, dag: Mapping[str, Any], cluster: DemoCluster) -> None:
    evidence = (dag["additional_data"] or {}).get("evidence", {})
    rows = [("SERVER", "PID", "SQL PORT", "HEALTHY AFTER", "LEVEL")]
    for server in cluster.servers:
        facts = evidence.get(server.name, {})
        after = facts.get("healthy_after_s")
        rows.append(
            (
                server.name,
                str(facts.get("pid", "-")),
                str(server.sql_port),
                "-" if after is None else f"{after:.2f} s",
                str(facts.get("level", "-")),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    _say(out, "")
    for row in rows:
        _say(out, "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip())
    _say(out, "")
    _say(out, f"{dag['name']} {dag['id']}: {dag['state']}")


async def _stop(controller: asyncio.subprocess.Process) -> None:
    if controller.returncode is None:
        controller.terminate()
        try:
            async with asyncio.timeout(_STOP_BOUND_S):
                await controller.wait()
        except TimeoutError:
            controller.kill()
            await controller.wait()


def _say(out: TextIO, line: str) -> None:
    write_lines(out, [line])
