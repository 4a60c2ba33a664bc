"""A controller of the benchmark: it owns clusters in a shared store and runs their DAGs.

The argument is a JSON object with the fields of `Settings`. Each line on stdin is answered by one
JSON line with the figures so far; the end of stdin makes the controller leave.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import sys
import time
from dataclasses import dataclass

from dagengine import (
    DagUpdated,
    Engine,
    Operation,
    Outcome,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.act_guard import ActGuard
from dagengine.errors import DagengineError
from dagengine.model.fencing import Ownership
from dagengine.ownership.local_cluster import LocalCluster
from dagengine.ownership.service import OwnershipService
from dagengine.ownership.timings import Timings
from dagengine.runtime.clock import SystemClock
from dagengine.runtime.logging import configure_logs
from dagengine.store.membership import ClusterPins, JoiningController
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.store import MysqlStore

STEPS = 6


@dataclass(frozen=True)
class Settings:
    """The argument of the program.

    Attributes:
        name: name of the controller.
        port: port of the database.
        database: its name.
        clusters: number of clusters, the same in all controllers.
        delay_s: duration of a step, in place of a command on a host; negative for no DAGs.
    """

    name: str
    port: int
    database: str
    clusters: int
    delay_s: float

    @property
    def names(self) -> list[str]:
        return [f"c{number:02d}" for number in range(self.clusters)]


class BenchHost:
    """A ClusterHost with engines that run DAGs without a pause."""

    def __init__(self, settings: Settings, database: MysqlSettings) -> None:
        self._settings = settings
        self._database = database
        self._engines: dict[str, tuple[Engine, MysqlStore, asyncio.Task[None] | None]] = {}
        self._closed_commits = 0
        self.dags = 0

    @property
    def commits(self) -> int:
        """Number of commits of all engines so far."""
        return self._closed_commits + sum(s.commit_count for _, s, _ in self._engines.values())

    async def open(self, cluster: str, ownership: Ownership, act_guard: ActGuard) -> None:
        async def wait(_context: StepContext) -> Outcome:
            await asyncio.sleep(self._settings.delay_s)
            return Succeeded()

        stages = tuple(Stage(f"s{n}", StageKind.NORMAL, wait) for n in range(STEPS))
        store = MysqlStore(self._database, ownership)
        engine = Engine(
            store=store,
            operations=[Operation("six", stages)],
            controller_name=self._settings.name,
            act_guard=act_guard,
        )
        await engine.__aenter__()
        load = None
        if self._settings.delay_s >= 0:
            load = asyncio.create_task(self._run_dags(engine), name=f"load {cluster}")
        self._engines[cluster] = engine, store, load

    async def close(self, cluster: str) -> None:
        if (parts := self._engines.pop(cluster, None)) is None:
            return
        engine, store, load = parts
        if load is not None:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
        self._closed_commits += store.commit_count
        await engine.__aexit__(None, None, None)

    async def drop(self, cluster: str) -> None:
        await self.close(cluster)

    def is_running(self, cluster: str) -> bool:
        parts = self._engines.get(cluster)
        return parts is not None and parts[0].is_scheduling

    def is_idle(self, cluster: str) -> bool:
        return False  # so that nothing is handed over while figures are read

    async def _run_dags(self, engine: Engine) -> None:
        while True:
            try:
                with engine.subscribe() as subscription:
                    await engine.submit(Submission("six"))
                    async for event in subscription:
                        if isinstance(event, DagUpdated) and event.state.is_final:
                            break
            except DagengineError:
                return  # the cluster has another owner
            self.dags += 1


async def run(settings: Settings) -> None:
    """Own clusters until stdin ends."""
    database = MysqlSettings("127.0.0.1", settings.port, "root", settings.database)
    clock = SystemClock()
    host = BenchHost(settings, database)
    pins = [ClusterPins(name, 1, "seekdb", "127.0.0.1:2886") for name in settings.names]
    service = OwnershipService(
        open_store=lambda: MysqlMembership(database, clock, secrets.token_bytes),
        joining=JoiningController(settings.name, "bench", database.lease_s, "bench"),
        local_clusters=lambda: [LocalCluster(each, "http://127.0.0.1:1", "") for each in pins],
        host=host,
        clock=clock,
        timings=Timings(lease_s=database.lease_s),
        exit_process=lambda: os._exit(75),
    )
    await service.join()
    service.start()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        figures = {
            "controller_id": service.controller_id,
            "owned": service.status().owned_clusters,
            "commits": host.commits,
            "dags": host.dags,
            "cpu_s": time.process_time(),
            "at_s": time.monotonic(),
        }
        print(json.dumps(figures), flush=True)
    await service.leave()


if __name__ == "__main__":
    configure_logs(level=logging.ERROR)
    asyncio.run(run(Settings(**json.loads(sys.argv[1]))))
