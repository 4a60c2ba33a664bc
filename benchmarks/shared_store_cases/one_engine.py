"""One engine on one kind of store: `python one_engine.py JSON` prints one JSON object.

The argument has the fields of `Case`. A DAG has six sequential no-op steps, each durable before the
next one begins.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

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
from dagengine.model.fencing import Ownership, StoreIdentity
from dagengine.runtime.logging import configure_logs
from dagengine.store.contract import Store
from dagengine.store.mysql.clusters import NewCluster, create_cluster
from dagengine.store.mysql.connection import open_store_connection
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.store import MysqlStore

STEPS = 6
_OWNER = 1
_STORE_ID = "00112233445566778899aabbccddeeff"


@dataclass(frozen=True)
class Case:
    """The argument of the program.

    Attributes:
        directory: of the SQLite file; empty for the database.
        port: port of the database.
        database: its name.
        dags: number of DAGs one after another.
        burst: number of DAGs at once.
    """

    directory: str
    port: int
    database: str
    dags: int
    burst: int


async def do_nothing(_context: StepContext) -> Outcome:
    return Succeeded()


async def make_store(case: Case) -> Store:
    if case.directory:
        return SqliteStore(Path(case.directory) / "store.sqlite")
    settings = MysqlSettings("127.0.0.1", case.port, "root", case.database)
    connection = await open_store_connection(settings)
    identity = StoreIdentity(_STORE_ID, 1)
    await create_cluster(connection, NewCluster("bench", 1, "seekdb", "127.0.0.1:2886", identity))
    await connection.query(f"UPDATE cluster SET owner = {_OWNER:d} WHERE name = 'bench'")
    connection.close()
    return MysqlStore(settings, Ownership("bench", _OWNER, 1, 0))


async def measure(case: Case) -> dict[str, float]:
    """Return the durations of single DAGs, and the rate of a burst."""
    stages = tuple(Stage(f"s{n}", StageKind.NORMAL, do_nothing) for n in range(STEPS))
    store = await make_store(case)
    async with Engine(store=store, operations=[Operation("six", stages)]) as engine:
        times_s = [await _run_one(engine) for _ in range(case.dags + 10)][10:]
        cpu_s, started_s = time.process_time(), time.perf_counter()
        with engine.subscribe() as subscription:
            await asyncio.gather(*(engine.submit(Submission("six")) for _ in range(case.burst)))
            ended = 0
            while ended < case.burst:
                event = await subscription.next()
                ended += isinstance(event, DagUpdated) and event.state is State.SUCCEED
        elapsed_s = time.perf_counter() - started_s
        cpu_s = time.process_time() - cpu_s
    times_s.sort()
    return {
        "p50_s": times_s[len(times_s) // 2],
        "p99_s": times_s[int(len(times_s) * 0.99)],
        "steps_per_s": case.burst * STEPS / elapsed_s,
        "cpu_per_dag_s": cpu_s / case.burst,
    }


async def _run_one(engine: Engine) -> float:
    started_s = time.perf_counter()
    with engine.subscribe() as subscription:
        await engine.submit(Submission("six"))
        async for event in subscription:
            if isinstance(event, DagUpdated) and event.state is State.SUCCEED:
                break
    return time.perf_counter() - started_s


if __name__ == "__main__":
    configure_logs()
    print(json.dumps(asyncio.run(measure(Case(**json.loads(sys.argv[1]))))))
