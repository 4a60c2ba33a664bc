"""The same cases for DBOS, on SQLite in WAL mode. `python dbos_cases.py CASE DIRECTORY`."""
# mypy: disable-error-code="untyped-decorator, no-any-return"
# DBOS is an optional extra: without it, its decorators have no types.

from __future__ import annotations

import asyncio
import json
import os
import resource
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dbos import DBOS

STEPS = 6


def configure(directory: str) -> None:
    path = Path(directory) / "dbos.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # persistent in the file
    connection.close()
    config: Any = {
        "name": "bench",
        "system_database_url": f"sqlite:///{path}",
        "run_admin_server": False,
        "application_version": "1",
    }
    DBOS(config=config)


@DBOS.step()
def do_nothing(number: int) -> int:
    return number


@DBOS.workflow()
def run_six_steps() -> int:
    for number in range(STEPS):
        do_nothing(number)
    return STEPS


@DBOS.workflow()
def run_one_step() -> int:
    return do_nothing(1)


@DBOS.workflow()
async def wait_for_message() -> object:
    return await DBOS.recv_async("go", timeout_seconds=3600)


@DBOS.workflow()
async def wait_and_run_six_steps() -> int:
    if not os.environ.get("SKIP_WAIT"):
        await DBOS.recv_async("go", timeout_seconds=3600)
    for number in range(STEPS):
        do_nothing(number)
    return STEPS


def rss_bytes() -> int:
    text = Path("/proc/self/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * resource.getpagesize()


def single() -> Any:
    times_s = []
    for _ in range(70):
        started_s = time.perf_counter()
        run_six_steps()
        times_s.append(time.perf_counter() - started_s)
    times_s = sorted(times_s[10:])
    return {"p50_s": times_s[len(times_s) // 2], "p99_s": times_s[int(len(times_s) * 0.99)]}


def burst(count: int = 200) -> Any:
    started_s = time.perf_counter()
    handles = [DBOS.start_workflow(run_six_steps) for _ in range(count)]
    for handle in handles:
        handle.get_result()
    return {"per_s": count * STEPS / (time.perf_counter() - started_s)}


def fan_out(count: int = 500) -> Any:
    started_s = time.perf_counter()
    handles = [DBOS.start_workflow(run_one_step) for _ in range(count)]
    for handle in handles:
        handle.get_result()
    return {"per_s": count / (time.perf_counter() - started_s)}


async def idle(count: int = 1000, interval_s: float = 10.0) -> Any:
    before_bytes = rss_bytes()
    for _ in range(count):
        await DBOS.start_workflow_async(wait_for_message)
    await asyncio.sleep(1)
    added_bytes, cpu_s = rss_bytes() - before_bytes, time.process_time()
    await asyncio.sleep(interval_s)
    cpu_s = time.process_time() - cpu_s
    return {"cpu_percent": cpu_s / interval_s * 100, "rss_bytes": added_bytes}


async def crash(count: int = 1000) -> Any:
    for _ in range(count):
        await DBOS.start_workflow_async(wait_and_run_six_steps)
    print(json.dumps({}), flush=True)
    os._exit(9)


def restart() -> Any:
    started_s = time.perf_counter()
    DBOS.launch()
    unfinished = DBOS.list_workflows(status="PENDING")
    count = len(unfinished)
    while unfinished:
        time.sleep(0.05)
        unfinished = DBOS.list_workflows(status="PENDING", limit=1)
    return {"elapsed_s": time.perf_counter() - started_s, "unfinished": count}


CASES: dict[str, Callable[[], Any]] = {
    case.__name__: case for case in (single, burst, fan_out, idle, crash, restart)
}

if __name__ == "__main__":
    configure(sys.argv[2])
    if sys.argv[1] == "restart":
        os.environ["SKIP_WAIT"] = "1"
    else:
        DBOS.launch()
    result = CASES[sys.argv[1]]()
    if asyncio.iscoroutine(result):
        result = asyncio.run(result)
    print(json.dumps(result), flush=True)
    os._exit(0)
