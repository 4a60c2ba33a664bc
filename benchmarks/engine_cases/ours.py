"""Our engine: one case per call, `python ours.py CASE DIRECTORY`; prints one JSON object."""

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


SIX = Operation("six", tuple(Stage(f"s{n}", StageKind.NORMAL, do_nothing) for n in range(STEPS)))
FAN = Operation("fan", (Stage("fan", StageKind.PARALLEL, do_nothing),))


def open_engine(directory: str, *operations: Operation) -> Engine:
    return Engine(store=SqliteStore(Path(directory) / "store.sqlite"), operations=operations)


def rss_bytes() -> int:
    text = Path("/proc/self/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * resource.getpagesize()


async def wait_all(engine: Engine, dag_ids: list[int]) -> None:
    """Wait for many DAGs with one subscription."""
    with engine.subscribe() as subscription:
        unfinished = set(dag_ids)
        listed = await engine.list_dags(limit=len(dag_ids) + 10, details=False)
        unfinished -= {d.dag.dag_id for d in listed if d.dag.state.is_final}
        while unfinished:
            event = await subscription.next()
            if subscription.missed:
                raise RuntimeError("the benchmark reads events too slowly")
            if isinstance(event, DagUpdated) and event.state is State.SUCCEED:
                unfinished.discard(event.dag_id)


async def single(directory: str) -> Any:
    """Run one DAG after the other on an idle engine."""
    async with open_engine(directory, SIX) as engine:
        times = []
        for _ in range(320):
            begun = time.perf_counter()
            with engine.subscribe() as subscription:
                accepted = await engine.submit(Submission("six"))
                async for event in subscription:
                    if isinstance(event, DagUpdated) and event.state is State.SUCCEED:
                        break
            assert accepted.dag.dag_id == event.dag_id
            times.append(time.perf_counter() - begun)
        times = sorted(times[20:])
        return {"p50_s": times[len(times) // 2], "p99_s": times[int(len(times) * 0.99)]}


async def burst(directory: str, count: int = 200) -> Any:
    """Run many DAGs at once."""
    async with open_engine(directory, SIX) as engine:
        begun = time.perf_counter()
        accepted = await asyncio.gather(*(engine.submit(Submission("six")) for _ in range(count)))
        await wait_all(engine, [a.dag.dag_id for a in accepted])
        return {"per_s": count * STEPS / (time.perf_counter() - begun)}


async def fan(directory: str, count: int = 500) -> Any:
    """Run one node of many sub-tasks."""
    async with open_engine(directory, FAN) as engine:
        begun = time.perf_counter()
        targets = tuple(f"t{n}" for n in range(count))
        accepted = await engine.submit(Submission("fan", targets))
        await wait_all(engine, [accepted.dag.dag_id])
        return {"per_s": count / (time.perf_counter() - begun)}


async def idle(directory: str, count: int = 1000, for_s: float = 10.0) -> Any:
    """Hold many DAGs that wait for an event."""
    never = asyncio.Event()

    async def hold(_context: StepContext) -> Outcome:
        await never.wait()
        return Succeeded()

    operation = Operation("hold", (Stage("h", StageKind.NORMAL, hold),))
    async with open_engine(directory, operation) as e:
        before = rss_bytes()
        for _ in range(count):
            await e.submit(Submission("hold"))
        await asyncio.sleep(1)
        rss, cpu = rss_bytes() - before, time.process_time()
        await asyncio.sleep(for_s)
        return {"cpu_percent": (time.process_time() - cpu) / for_s * 100, "rss_bytes": rss}


async def leave(directory: str, count: int = 1000) -> Any:
    """Leave many unfinished DAGs behind, as after a kill -9."""
    never = asyncio.Event()

    async def hold(_context: StepContext) -> Outcome:
        await never.wait()
        return Succeeded()

    stages = (Stage("s0", StageKind.NORMAL, hold), *SIX.stages[1:])
    async with open_engine(directory, Operation("six", stages)) as engine:
        await asyncio.gather(*(engine.submit(Submission("six")) for _ in range(count)))
        await asyncio.sleep(0.5)
        print(json.dumps({}), flush=True)
        os._exit(9)


async def restart(directory: str) -> Any:
    """Open the store that `leave` left and finish its DAGs."""
    begun = time.perf_counter()
    async with open_engine(directory, SIX) as engine:
        unfinished = await engine.list_unfinished(details=False)
        await wait_all(engine, [d.dag.dag_id for d in unfinished])
        return {"s": time.perf_counter() - begun, "unfinished": len(unfinished)}


async def big(directory: str) -> Any:
    """Run 1,000 sub-tasks with 100 lines each; measure the cost per sub-task by their number."""

    async def talk(context: StepContext) -> Outcome:
        for number in range(100):
            await context.log(f"line {number} of {context.target}")
        return Succeeded()

    operation = Operation("talk", (Stage("talk", StageKind.PARALLEL, talk),))
    found: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(directory, operation, FAN))
        before, begun = rss_bytes(), time.perf_counter()
        accepted = await engine.submit(Submission("talk", tuple(f"t{n}" for n in range(1000))))
        await wait_all(engine, [accepted.dag.dag_id])
        found = {"rss_bytes": rss_bytes() - before, "s": time.perf_counter() - begun}
        for count in (250, 1000, 4000):
            cpu = time.process_time()
            targets = tuple(f"t{n}" for n in range(count))
            accepted = await engine.submit(Submission("fan", targets))
            await wait_all(engine, [accepted.dag.dag_id])
            found[f"cpu_us_per_sub_task_of_{count}"] = (time.process_time() - cpu) / count * 1e6
    return found


CASES: dict[str, Callable[[str], Coroutine[Any, Any, Any]]] = {
    case.__name__: case for case in (single, burst, fan, idle, leave, restart, big)
}

if __name__ == "__main__":
    configure_logs()
    print(json.dumps(asyncio.run(CASES[sys.argv[1]](sys.argv[2]))))
