"""Cases for dagengine. `python dagengine_cases.py CASE DIRECTORY` prints one JSON object."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from dagengine import (
    DagUpdated,
    Engine,
    Operation,
    Outcome,
    SqliteStore,
    Stage,
    StageKind,
    State,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.runtime.logging import configure_logs

STEPS = 6


async def do_nothing(_context: StepContext) -> Outcome:
    return Succeeded()


SIX_STEPS = Operation(
    "six", tuple(Stage(f"s{n}", StageKind.NORMAL, do_nothing) for n in range(STEPS))
)
FAN_OUT = Operation("fan_out", (Stage("fan_out", StageKind.PARALLEL, do_nothing),))


def open_engine(directory: str, *operations: Operation) -> Engine:
    return Engine(store=SqliteStore(Path(directory) / "store.sqlite"), operations=operations)


def rss_bytes() -> int:
    text = Path("/proc/self/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * resource.getpagesize()


async def wait_all(engine: Engine, dag_ids: list[int]) -> None:
    """Wait for many DAGs with one subscription."""
    with engine.subscribe() as subscription:
        unfinished = set(dag_ids)
        details = await engine.list_dags(limit=len(dag_ids) + 10, details=False)
        unfinished -= {detail.dag.dag_id for detail in details if detail.dag.state.is_final}
        while unfinished:
            event = await subscription.next()
            if subscription.missed:
                raise RuntimeError("events were lost: the benchmark reads them too slowly")
            if isinstance(event, DagUpdated) and event.state is State.SUCCEED:
                unfinished.discard(event.dag_id)


async def single(directory: str) -> Any:
    """Run DAGs one after another on an otherwise idle engine."""
    async with open_engine(directory, SIX_STEPS) as engine:
        times_s = []
        for _ in range(320):
            started_s = time.perf_counter()
            with engine.subscribe() as subscription:
                accepted = await engine.submit(Submission("six"))
                async for event in subscription:
                    if isinstance(event, DagUpdated) and event.state is State.SUCCEED:
                        break
            assert accepted.dag.dag_id == event.dag_id
            times_s.append(time.perf_counter() - started_s)
        times_s = sorted(times_s[20:])
        return {"p50_s": times_s[len(times_s) // 2], "p99_s": times_s[int(len(times_s) * 0.99)]}


async def burst(directory: str, count: int = 200) -> Any:
    """Run many DAGs concurrently."""
    async with open_engine(directory, SIX_STEPS) as engine:
        started_s = time.perf_counter()
        accepted = await asyncio.gather(*(engine.submit(Submission("six")) for _ in range(count)))
        await wait_all(engine, [detail.dag.dag_id for detail in accepted])
        return {"per_s": count * STEPS / (time.perf_counter() - started_s)}


async def fan_out(directory: str, count: int = 500) -> Any:
    """Run one node with many sub-tasks."""
    async with open_engine(directory, FAN_OUT) as engine:
        started_s = time.perf_counter()
        targets = tuple(f"t{n}" for n in range(count))
        accepted = await engine.submit(Submission("fan_out", targets))
        await wait_all(engine, [accepted.dag.dag_id])
        return {"per_s": count / (time.perf_counter() - started_s)}


async def idle(directory: str, count: int = 1000, interval_s: float = 10.0) -> Any:
    """Measure an engine whose DAGs all wait for an event."""
    never = asyncio.Event()

    async def wait_forever(_context: StepContext) -> Outcome:
        await never.wait()
        return Succeeded()

    operation = Operation("wait", (Stage("wait", StageKind.NORMAL, wait_forever),))
    async with open_engine(directory, operation) as engine:
        before_bytes = rss_bytes()
        for _ in range(count):
            await engine.submit(Submission("wait"))
        await asyncio.sleep(1)
        added_bytes, cpu_s = rss_bytes() - before_bytes, time.process_time()
        await asyncio.sleep(interval_s)
        cpu_s = time.process_time() - cpu_s
        return {"cpu_percent": cpu_s / interval_s * 100, "rss_bytes": added_bytes}


async def crash(directory: str, count: int = 1000) -> Any:
    """End the process while many DAGs are unfinished, as kill -9 does."""
    never = asyncio.Event()

    async def wait_forever(_context: StepContext) -> Outcome:
        await never.wait()
        return Succeeded()

    stages = (Stage("s0", StageKind.NORMAL, wait_forever), *SIX_STEPS.stages[1:])
    async with open_engine(directory, Operation("six", stages)) as engine:
        await asyncio.gather(*(engine.submit(Submission("six")) for _ in range(count)))
        await asyncio.sleep(0.5)
        print(json.dumps({}), flush=True)
        os._exit(9)


async def restart(directory: str) -> Any:
    """Open the store of `crash` and finish its DAGs."""
    started_s = time.perf_counter()
    async with open_engine(directory, SIX_STEPS) as engine:
        unfinished = await engine.list_unfinished(details=False)
        await wait_all(engine, [detail.dag.dag_id for detail in unfinished])
        return {"elapsed_s": time.perf_counter() - started_s, "unfinished": len(unfinished)}


async def sub_task_cost(directory: str) -> Any:
    """Measure memory for 1,000 sub-tasks with 100 lines each, and CPU time per sub-task."""

    async def log_lines(context: StepContext) -> Outcome:
        for number in range(100):
            await context.log(f"line {number} of {context.target}")
        return Succeeded()

    operation = Operation("log", (Stage("log", StageKind.PARALLEL, log_lines),))
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(directory, operation, FAN_OUT))
        before_bytes = rss_bytes()
        accepted = await engine.submit(Submission("log", tuple(f"t{n}" for n in range(1000))))
        await wait_all(engine, [accepted.dag.dag_id])
        result: dict[str, float] = {"rss_bytes": rss_bytes() - before_bytes}
        for count in (250, 1000, 4000):
            cpu_s = time.process_time()
            targets = tuple(f"t{n}" for n in range(count))
            accepted = await engine.submit(Submission("fan_out", targets))
            await wait_all(engine, [accepted.dag.dag_id])
            cpu_s = time.process_time() - cpu_s
            result[f"cpu_us_per_sub_task_of_{count}"] = cpu_s / count * 1e6
        return result


CASES: dict[str, Callable[[str], Coroutine[Any, Any, Any]]] = {
    case.__name__: case for case in (single, burst, fan_out, idle, crash, restart, sub_task_cost)
}

if __name__ == "__main__":
    configure_logs()
    print(json.dumps(asyncio.run(CASES[sys.argv[1]](sys.argv[2]))))
