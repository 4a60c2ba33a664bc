"""An engine in its own process, which a test suspends while hosts work.

`python -m tests.support.suspended_engine ADDRESS DIRECTORY LOOP SECONDS`: ADDRESS is JSON; LOOP is
`process time` or `asyncio`. It runs one DAG for each kind of time limit, each with one command on
the host, which ends after SECONDS. Prints one JSON object: state and log lines of each DAG.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from dagengine import (
    Engine,
    Operation,
    Operator,
    Outcome,
    SqliteStore,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
    SystemClock,
)
from dagengine.remote import HostAddress, SshPool
from dagengine.remote.command import script
from dagengine.runtime.timers import run_in_process_time
from dagengine.testing import eventually

LIMIT_S = 4
LONG_S = 600.0
KINDS = ("command", "attempt", "node", "operation", "confirmation")
_SCRIPT = 'touch "$1.started"; sleep "$2"; touch "$1.ended"'


class Operations:
    """One operation for each kind of time limit."""

    def __init__(self, pool: SshPool, address: HostAddress, directory: Path, seconds: str) -> None:
        self._runner = pool.runner(address)
        self._seconds = seconds
        self._directory = directory

    async def run(self, context: StepContext) -> Outcome:
        kind = context.params["kind"]
        await self._work(kind, LIMIT_S if kind == "command" else LONG_S)
        return Succeeded()

    async def hang(self, context: StepContext) -> Outcome:
        await asyncio.Event().wait()
        return Succeeded()

    async def confirm(self, context: StepContext) -> bool:
        await self._work(context.params["kind"], LONG_S)
        return True

    async def _work(self, kind: str, timeout_s: float) -> None:
        command = script(_SCRIPT, "work", str(self._directory / kind), self._seconds)
        await self._runner.run(command, timeout_s=timeout_s)

    def operation(self, kind: str) -> Operation:
        stage, normal = Stage("work", StageKind.NORMAL, self.run), StageKind.NORMAL
        stages = {
            "attempt": replace(stage, timeout_s=LIMIT_S),
            "node": replace(stage, timeout_s=LIMIT_S, node_timeout_s=LIMIT_S),
            "confirmation": Stage("work", normal, self.hang, confirm_stopped=self.confirm),
        }
        limit_s = LIMIT_S if kind == "operation" else None
        return Operation(kind, (stages.get(kind, stage),), timeout_s=limit_s)


async def main(address: HostAddress, directory: Path, seconds: str) -> None:
    pool = SshPool(SystemClock(), Random(1))
    operations = Operations(pool, address, directory, seconds)
    store = SqliteStore(directory / "store.sqlite")
    every = [operations.operation(kind) for kind in KINDS]
    async with Engine(store=store, operations=every, confirm_timeout_s=LIMIT_S) as engine:
        results: dict[str, Any] = {}
        await asyncio.gather(*(run_one(engine, kind, results) for kind in KINDS))
    await pool.close()
    sys.stdout.write(json.dumps(results) + "\n")


async def run_one(engine: Engine, kind: str, results: dict[str, Any]) -> None:
    dag_id = (await engine.submit(Submission(kind, (), {"kind": kind}))).dag.dag_id
    if kind == "confirmation":

        async def is_running() -> bool:
            detail = await engine.find_dag(dag_id, details=True)
            assert detail is not None
            assert detail.nodes is not None
            return detail.nodes[0].sub_tasks[0].sub_task.attempt_no > 0

        await eventually(is_running, what="the step")
        await engine.operate_dag(dag_id, Operator.CANCEL, by="tester")
    detail = await engine.wait(dag_id)
    assert detail.nodes is not None
    (task,) = detail.nodes[0].sub_tasks
    lines = [line.content for line in task.logs]
    results[kind] = {"state": detail.dag.state, "operator": detail.dag.operator, "lines": lines}


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    for key in ("known_hosts", "key_file"):
        fields[key] = Path(fields[key])
    run = {"process time": run_in_process_time, "asyncio": asyncio.run}[sys.argv[3]]
    run(main(HostAddress(**fields), Path(sys.argv[2]), sys.argv[4]))
