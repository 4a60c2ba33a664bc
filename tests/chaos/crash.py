"""End a process before or after every durable write: `python crash.py SCENARIO DIRECTORY STEP`.

For each write of the scenario, counted from 1 in increments of STEP: a child runs the scenario and
ends with os._exit at that write; a second child resumes it, and ends at a slightly later write; a
third child completes it. Prints one JSON object with the number of crashes and the faults.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import structlog

from dagengine.engine.engine import Engine
from dagengine.model.changes import Batch
from dagengine.rules.snapshot import Snapshot
from dagengine.store.contract import BatchRefused
from dagengine.store.sqlite.store import SqliteStore
from tests.chaos.start_scenarios import SCENARIOS as START_SCENARIOS
from tests.chaos.start_scenarios import ChaosEnvironment
from tests.chaos.stop_scenarios import STOP_SCENARIOS
from tests.property.invariants import find_violations

SCENARIOS = START_SCENARIOS | STOP_SCENARIOS
CRASHED, WRONG = 77, 78
BOUND_S = 60.0  # detects a hang; not a measure of speed


class EndingStore(SqliteStore):
    """A store that ends the process at a write."""

    def __init__(self, path: Path, at: int, side: str) -> None:
        super().__init__(path)
        self._left = at
        self._side = side

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        self._left -= 1
        if self._left == 0 and self._side == "before":
            os._exit(CRASHED)
        written = await super().commit(batches)
        if self._left == 0:
            os._exit(CRASHED)
        return written


def main(name: str, parent: Path, step: int) -> None:
    crashes, failures, number = 0, [], 1
    while not failures:
        ended = []
        for side in ("before", "after"):
            directory = parent / f"{number}-{side}"
            directory.mkdir()
            with make_environment(name, directory).shared_resources():
                ended.append(run_child(name, directory, number, side))
                if ended[-1] == CRASHED:
                    crashes += 1
                    crashes += run_child(name, directory, 1 + number % 5, side) == CRASHED
                    ended.append(run_child(name, directory, 0, ""))
            if WRONG in ended or any(code not in (0, CRASHED) for code in ended):
                detail = (
                    (directory / "wrong").read_text() if (directory / "wrong").exists() else ended
                )
                failures.append(f"{name}, {side} write {number}: {detail}")
        if all(code == 0 for code in ended):
            break  # the scenario has no more writes
        number += step
    sys.stdout.write(json.dumps({"crashes": crashes, "wrong": failures}) + "\n")


def make_environment(name: str, directory: Path) -> ChaosEnvironment:
    _, kind, parameters = SCENARIOS[name]
    return kind(directory, **parameters)


def run_child(name: str, directory: Path, at: int, side: str) -> int:
    """Run the scenario in a child until it ends or exits at the write; return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(run(name, directory, at, side))
            os._exit(0)
        except BaseException:  # noqa: BLE001  # the parent reads the traceback
            (directory / "wrong").write_text(traceback.format_exc()[-3000:])
            os._exit(WRONG)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


async def run(name: str, directory: Path, at: int, side: str) -> None:
    scenario, environment = SCENARIOS[name][0], make_environment(name, directory)
    path = directory / "store.sqlite"
    await check(environment, path)
    async with asyncio.timeout(BOUND_S):
        store = EndingStore(path, at, side)
        operation = environment.operation()
        async with (
            environment.child_resources(),
            Engine(store=store, operations=[operation]) as engine,
        ):
            await scenario(environment, engine)
            assert operation.lock_key is not None
            assert engine.holder(operation.lock_key) is None, "the lock was not freed"
            assert await engine.list_unfinished(details=False) == ()
    await check(environment, path)


async def check(environment: ChaosEnvironment, path: Path) -> None:
    """Check the files: these statements hold at any moment."""
    store = SqliteStore(path)
    await store.open()
    try:
        dags = await store.list_dags(limit=99)
        lines = []
        for dag in dags:
            rows = await store.load_dag(dag.dag_id)
            assert rows is not None
            violations = find_violations(Snapshot(rows.dag, rows.nodes, rows.sub_tasks))
            assert not violations, violations
            for task in rows.sub_tasks:
                logs = await store.find_logs(task.sub_task_id)
                lines += [(dag.dag_id, line.content) for line in logs]
                attempts = await store.find_attempts(task.sub_task_id)
                assert [a.attempt_no for a in attempts] == list(range(1, task.attempt_no + 1))
                assert all(a.outcome for a in attempts[:-1]), "an attempt was left open"
        written = Counter(lines)
        acknowledgements = environment.notes("responses")
        acknowledged = Counter(
            (dag_id, line)
            for kind, dag_id, *rest in acknowledgements
            for line in rest
            if kind == "line"
        )
        assert acknowledged <= written, f"lines were lost: {acknowledged - written}"
        dag_ids = {dag.dag_id for dag in dags}
        assert {dag_id for kind, dag_id, *_ in acknowledgements if kind == "accepted"} <= dag_ids
        audit = Counter((row.dag_id, row.action) for row in await store.list_audit(None, limit=99))
        operated = Counter((w[1], w[2]) for w in acknowledgements if w[0] == "operated")
        assert operated <= audit, "an operator was lost"
        environment.check_effects()
    finally:
        await store.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
