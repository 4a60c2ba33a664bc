"""Benchmark of lists of DAGs with details. Asserts nothing.

A store is filled with DAGs that look like a start of three servers: six stages, 14 sub-tasks, three
log lines each. Reading is the engine's part, rendering that of the API. "longest block" is the
longest time for which the event loop could not serve another client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from _support.report import print_load, print_table

from dagengine import (
    Engine,
    Operation,
    Outcome,
    SqliteStore,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
    SystemClock,
)
from dagengine.api.render.records import RecordRenderer
from dagengine.engine.registry import Registry
from dagengine.model.changes import Batch, Change, LogAppended
from dagengine.model.records import LogRecord
from dagengine.model.states import State
from dagengine.store.contract import LastIds

_LINES = 3
_SERVERS = ("192.0.2.1:2886", "192.0.2.2:2886", "192.0.2.3:2886")
_BATCHES = 100
_TICK_S = 0.002


async def hang(_: StepContext) -> Outcome:
    await asyncio.Event().wait()
    return Succeeded()


_KINDS = (StageKind.NORMAL, *(StageKind.PARALLEL,) * 4, StageKind.NORMAL)
OPERATION = Operation(
    "Start OB",
    tuple(Stage(f"stage {number}", kind, hang) for number, kind in enumerate(_KINDS, 1)),
)


async def fill(store: SqliteStore, count: int, state: State) -> None:
    """Create DAGs in this state."""
    registry, clock = Registry([OPERATION]), SystemClock()
    last, batches = LastIds(0, 0, 0), []
    for _ in range(count):
        created = registry.instantiate(Submission("Start OB", _SERVERS, {}), last, clock.now())
        created = replace(
            created,
            dag=created.dag._replace(state=State.READY if state is State.RUNNING else state),
        )
        lines: list[Change] = [
            LogAppended(LogRecord(0, task.sub_task_id, 0, 0, f"line {n} of a start", clock.now()))
            for task in created.sub_tasks
            for n in range(_LINES)
        ]
        batches.append(Batch(created.dag.dag_id, None, (created, *lines)))
        last = LastIds(
            created.dag.dag_id, created.nodes[-1].node_id, created.sub_tasks[-1].sub_task_id
        )
        if len(batches) == _BATCHES:
            await store.commit(batches)
            batches.clear()
    await store.commit(batches)


async def measure_block_s(ended: asyncio.Event) -> float:
    """Return the longest delay of a timer until the event is set."""
    longest_s = 0.0
    while not ended.is_set():
        before_s = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        longest_s = max(longest_s, time.perf_counter() - before_s - _TICK_S)
    return longest_s


async def measure(count: int, state: State) -> list[str]:
    """Return the cells of a row."""
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory) / "store.sqlite")
        await store.open()
        await fill(store, count, state)
        await store.close()
        async with Engine(store=store, operations=[OPERATION]) as engine:
            await settle(engine, count, state)
            ended = asyncio.Event()
            blocked = asyncio.create_task(measure_block_s(ended), name="measure")
            began_s = time.perf_counter()
            if state is State.RUNNING:
                dags = await engine.list_unfinished(details=True)
            else:
                dags = await engine.list_dags(limit=count, details=True)
            read_s = time.perf_counter() - began_s
            ended.set()
            block_s = await blocked
            began_s = time.perf_counter()
            renderer = RecordRenderer(engine.agent)
            size = len(json.dumps([renderer.dag(dag) for dag in dags]))
            render_s = time.perf_counter() - began_s
    return [
        f"{len(dags)} {state}",
        f"{read_s:.2f} s",
        f"{block_s * 1000:.0f} ms",
        f"{render_s:.2f} s",
        f"{size / 2**20:.1f} MiB",
    ]


async def settle(engine: Engine, count: int, state: State) -> None:
    """Wait until the engine has resumed its DAGs."""
    while state is State.RUNNING:
        dags = await engine.list_dags(limit=count, details=False)
        if all(detail.dag.state is State.RUNNING for detail in dags):
            return
        await asyncio.sleep(_TICK_S)


async def main(counts: list[int]) -> None:
    rows = [["DAGs", "reading", "longest block", "rendering", "JSON"]]
    for count in counts:
        for state in (State.SUCCEED, State.RUNNING):
            rows.append(await measure(count, state))
    print_table("lists with details", rows)
    print_load("after")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[100, 1000, 2000])
    asyncio.run(main(parser.parse_args().counts))
