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
from dagengine.extension import ExitCode
from tasks.demo import messages
from tasks.demo.cluster import DemoCluster, find_seekdb
from tasks.demo.hosts import DemoHostError, DemoHosts
from tasks.demo.reaper import ProcessReaper

_COUNT = 3
_STOP_BOUND_S = 10.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop the servers as soon as all have started.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final DAG on stdout.")] = False,
) -> None:
    """Start three real servers behind three real SSH servers, end to end."""
    try:
        find_seekdb()
        code = asyncio.run(_main(once, as_json))
    except (DagengineError, DemoHostError) as exc:
        sys.stderr.write(f"{messages.ERROR(error=exc)}\n")
        code = ExitCode.USAGE
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.stderr.write(f"{messages.STOPPED()}\n")
        code = ExitCode.INTERRUPTED
    raise typer.Exit(code)


async def _main(once: bool, as_json: bool) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    out = sys.stderr if as_json else sys.stdout
    async with DemoHosts(_COUNT) as hosts:
        _say(out, messages.HOSTS(count=_COUNT, server=hosts.kind))
        if hosts.notice:
            _say(out, f"       {hosts.notice}")
        cluster = DemoCluster(hosts)
        with (cluster.directory / "controller.log").open("wb") as log:
            controller = await cluster.start_controller(log)
            hosts.guard.watch_process(controller.pid)
            try:
                _say(out, messages.CONTROLLER(url=cluster.url))
                code, dag = await _start(cluster, hosts.guard)
                _show(out, dag, cluster)
                if as_json:
                    sys.stdout.write(json.dumps(dag, ensure_ascii=False) + "\n")
                if not once and code == 0:
                    _say(out, messages.RUNNING())
                    _say(out, f"export DAGENGINE_URL={cluster.url}")
                    _say(out, f"export DAGENGINE_PASSWORD={cluster.password}  # of this demo alone")
                    _say(out, f"{Path(sys.argv[0]).parent / 'dagengine'} show")
                    await controller.wait()
            finally:
                await _stop(controller)
    _say(out, messages.REMOVED())
    return code


async def _start(cluster: DemoCluster, guard: ProcessReaper) -> tuple[int, Mapping[str, Any]]:
    """Run `dagengine start` as a user would; its progress lines go to stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "dagengine",
        "start",
        "--json",
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
    _say(out, f"\n{dag['name']} {dag['id']}: {dag['state']}")
    _say(out, f"{cluster.url}/api/v1/task/dag/{dag['id']}")


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
    out.write(f"{line}\n")
    out.flush()
