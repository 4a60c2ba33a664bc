"""The peer: DBOS on SQLite in WAL mode, FULL sync. `python dbos_peer.py CASE DIRECTORY`."""
# mypy: disable-error-code="untyped-decorator, no-any-return"
# DBOS is an optional extra; without it, mypy knows nothing of its decorators.

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


def launch(directory: str) -> None:
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
def six() -> int:
    for number in range(STEPS):
        do_nothing(number)
    return STEPS


@DBOS.workflow()
def one() -> int:
    return do_nothing(1)


@DBOS.workflow()
async def hold() -> object:
    return await DBOS.recv_async("go", timeout_seconds=3600)


@DBOS.workflow()
async def held_six() -> int:
    if not os.environ.get("GO"):
        await DBOS.recv_async("go", timeout_seconds=3600)
    for number in range(STEPS):
        do_nothing(number)
    return STEPS


def rss_bytes() -> int:
    text = Path("/proc/self/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * resource.getpagesize()


def single() -> Any:
    times = []
    for _ in range(70):
        begun = time.perf_counter()
        six()
        times.append(time.perf_counter() - begun)
    times = sorted(times[10:])
    return {"p50_s": times[len(times) // 2], "p99_s": times[int(len(times) * 0.99)]}


def burst(count: int = 200) -> Any:
    begun = time.perf_counter()
    handles = [DBOS.start_workflow(six) for _ in range(count)]
    for handle in handles:
        handle.get_result()
    return {"per_s": count * STEPS / (time.perf_counter() - begun)}


def fan(count: int = 500) -> Any:
    begun = time.perf_counter()
    handles = [DBOS.start_workflow(one) for _ in range(count)]
    for handle in handles:
        handle.get_result()
    return {"per_s": count / (time.perf_counter() - begun)}


async def idle(count: int = 1000, for_s: float = 10.0) -> Any:
    before = rss_bytes()
    for _ in range(count):
        await DBOS.start_workflow_async(hold)
    await asyncio.sleep(1)
    rss, cpu = rss_bytes() - before, time.process_time()
    await asyncio.sleep(for_s)
    return {"cpu_percent": (time.process_time() - cpu) / for_s * 100, "rss_bytes": rss}


async def leave(count: int = 1000) -> Any:
    for _ in range(count):
        await DBOS.start_workflow_async(held_six)
    print(json.dumps({}), flush=True)
    os._exit(9)


def restart() -> Any:
    begun = time.perf_counter()
    DBOS.launch()
    unfinished = DBOS.list_workflows(status="PENDING")
    found = len(unfinished)
    while unfinished:
        time.sleep(0.05)
        unfinished = DBOS.list_workflows(status="PENDING", limit=1)
    return {"s": time.perf_counter() - begun, "unfinished": found}


CASES: dict[str, Callable[[], Any]] = {
    case.__name__: case for case in (single, burst, fan, idle, leave, restart)
}

if __name__ == "__main__":
    launch(sys.argv[2])
    if sys.argv[1] == "restart":
        os.environ["GO"] = "1"
    else:
        DBOS.launch()
    found = CASES[sys.argv[1]]()
    print(json.dumps(asyncio.run(found) if asyncio.iscoroutine(found) else found), flush=True)
    os._exit(0)
