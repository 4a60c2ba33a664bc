"""A controller process for tests of ownership: engines whose steps append to an oracle file.

Run as a program with one argument, a JSON object with the fields of `Settings`. Each cluster's DAG
is submitted once. A step appends its line exactly once, unless two controllers run it; like the
scripts for hosts, its command compares a fencing token under a lock, and a resumed step probes
first. SIGUSR1 ends all engines behind the back of the ownership service; SIGTERM leaves.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from dagengine import (
    Engine,
    Failed,
    IdempotencyKey,
    Operation,
    Outcome,
    Problem,
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
from dagengine.remote.command import script
from dagengine.runtime.clock import SystemClock
from dagengine.runtime.logging import configure_logs
from dagengine.store.membership import ClusterPins, JoiningController
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.store import MysqlStore
from dagengine.testing import LocalRunner

STAGES = 5
HELD_STAGE = "s2"
"""The command of this stage runs, after its effect, while the file `hold` exists."""
# $1 file, $2 line, $3 epoch, $4 "probe" or "act", $5 a file that is waited for
_STEP = """
exec 9>>"$1.lock"; flock 9
newest=$(cat "$1.fence" 2>/dev/null || echo 0)
[ "$newest" -le "$3" ] || { echo stale; exit 3; }
echo "$3" > "$1.fence"
if [ "$4" = probe ] && grep -qxF "$2" "$1" 2>/dev/null; then echo done; exit 0; fi
echo "$2" >> "$1"
while [ -e "$5" ]; do sleep 0.05; done
"""


@dataclass(frozen=True)
class Settings:
    """The argument of the program."""

    name: str
    port: int
    database: str
    oracle: str  # a directory, with one file per cluster
    clusters: tuple[str, ...]
    hangs_on_drop: tuple[str, ...] = ()
    exits: bool = True
    is_idle: bool = False
    hand_over_s: float = 60.0
    submits: bool = True

    def render(self) -> str:
        return json.dumps(asdict(self))


def operation(settings: Settings, cluster: str) -> Operation:
    """Return an operation with STAGES stages, each with one command."""

    async def run(context: StepContext) -> Outcome:
        stage = next(name for name in names if context.data_of(name) is None)
        file = Path(settings.oracle, cluster)
        mode = "probe" if context.resumed else "act"
        epoch = str(context.fencing_token.epoch)
        line = f"{context.dag_id} {stage}"
        hold = str(Path(settings.oracle, "hold" if stage == HELD_STAGE else "none"))
        command = script(_STEP, "step", str(file), line, epoch, mode, hold)
        result = await LocalRunner().run(command, timeout_s=120)
        if result.exit_status != 0:
            return Failed(Problem("Test.Stale", result.stdout.strip()))
        return Succeeded({"by": settings.name})

    names = [f"s{number}" for number in range(STAGES)]
    return Operation("count", tuple(Stage(name, StageKind.NORMAL, run) for name in names))


class EngineHost:
    """A ClusterHost with nothing but engines."""

    def __init__(self, settings: Settings, database: MysqlSettings) -> None:
        self._settings = settings
        self._database = database
        self._engines: dict[str, Engine] = {}

    async def open(self, cluster: str, ownership: Ownership, act_guard: ActGuard) -> None:
        engine = Engine(
            store=MysqlStore(self._database, ownership),
            operations=[operation(self._settings, cluster)],
            controller_name=self._settings.name,
            act_guard=act_guard,
        )
        await engine.__aenter__()
        self._engines[cluster] = engine
        if self._settings.submits:
            key = IdempotencyKey(f"once in {cluster}", "digest")
            await engine.submit(Submission("count"), key=key)

    async def close(self, cluster: str) -> None:
        if (engine := self._engines.pop(cluster, None)) is not None:
            await engine.__aexit__(None, None, None)

    async def drop(self, cluster: str) -> None:
        if cluster in self._settings.hangs_on_drop:
            await asyncio.Event().wait()
        await self.close(cluster)

    async def break_all(self) -> None:
        for cluster in list(self._engines):
            await self.close(cluster)

    def is_running(self, cluster: str) -> bool:
        engine = self._engines.get(cluster)
        return engine is not None and engine.is_scheduling

    def is_idle(self, cluster: str) -> bool:
        return self._settings.is_idle and cluster in self._engines


async def main(settings: Settings) -> None:
    configure_logs(sys.stderr)
    clock, stopping, breaking = SystemClock(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGUSR1, breaking.set)
    database = MysqlSettings("127.0.0.1", settings.port, "root", settings.database)
    host = EngineHost(settings, database)

    def exit_process() -> None:
        if settings.exits:
            os._exit(70)

    service = OwnershipService(
        lambda: MysqlMembership(database, clock, secrets.token_bytes),
        JoiningController(settings.name, "1", 2.5, "ab" * 32),
        lambda: [
            LocalCluster(ClusterPins(name, 1, "seekdb", "2886 127.0.0.1"), "http://x", "d")
            for name in settings.clusters
        ],
        host,
        clock,
        Timings(hand_over_s=settings.hand_over_s),
        exit_process,
    )
    await service.join()
    service.start()
    async with asyncio.TaskGroup() as group:
        breaker = group.create_task(_break(breaking, host), name="breaker")
        await stopping.wait()
        breaker.cancel()
    await service.leave()


async def _break(breaking: asyncio.Event, host: EngineHost) -> None:
    while True:
        await breaking.wait()
        breaking.clear()
        await host.break_all()


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    try:
        asyncio.run(main(Settings(**(fields | lists))))
    except DagengineError as exc:
        sys.exit(str(exc))
