"""End a process before or after durable writes: `python crash.py SCENARIO DIRECTORY POINTS`.

POINTS is `all`, or crash points such as `1-after,3-before`; the writes of a scenario are counted
from 1. For each point, a child runs the scenario and ends with os._exit at that write; a second
child continues and ends a few writes later; a third one continues to the end. Prints one JSON
object: the number of crashes, and the failures.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import structlog

from dagengine.engine.engine import Engine
from dagengine.model.changes import Batch
from dagengine.rules.snapshot import Snapshot
from dagengine.store.contract import BatchRefused, Retention
from dagengine.store.sqlite.store import SqliteStore
from tests.chaos.start_scenarios import SCENARIOS as START_SCENARIOS
from tests.chaos.start_scenarios import ChaosEnvironment
from tests.chaos.stop_scenarios import STOP_SCENARIOS
from tests.property.invariants import find_violations

T = TypeVar("T")
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
        return await self._end_at(super().commit(batches))

    async def pin(self, key: str, value: str) -> str:
        return await self._end_at(super().pin(key, value))

    async def prune(self, retention: Retention, now: datetime) -> int:
        return await self._end_at(super().prune(retention, now))

    async def _end_at(self, write: Coroutine[Any, Any, T]) -> T:
        self._left -= 1
        is_last = self._left == 0  # another write may begin before this one has ended
        if is_last and self._side == "before":
            os._exit(CRASHED)
        written = await write
        if is_last:
            os._exit(CRASHED)
        return written


@dataclass
class CrashReport:
    """The outcome of all crash points."""

    scenario: str
    directory: Path
    crashes: int = 0
    failures: list[str] = field(default_factory=list)

    def crash_at(self, number: int, side: str) -> bool:
        """Crash at one write, and resume; return False if the scenario has fewer writes."""
        place = self.directory / f"{number}-{side}"
        place.mkdir()
        codes = []
        with make_environment(self.scenario, place).shared_resources():
            codes.append(run_child(self.scenario, place, number, side))
            if codes[0] == CRASHED:
                self.crashes += 1
                second = run_child(self.scenario, place, 1 + number % 5, side)
                self.crashes += second == CRASHED
                codes += [second, run_child(self.scenario, place, 0, "")]
        if WRONG in codes or any(code not in (0, CRASHED) for code in codes):
            file = place / "wrong"
            detail = file.read_text() if file.exists() else codes
            self.failures.append(f"{self.scenario}, {side} write {number}: {detail}")
        return codes[0] != 0


def main(scenario: str, directory: Path, points: str) -> None:
    report = CrashReport(scenario, directory)
    if points == "all":
        for number in count(1):
            is_reached = [report.crash_at(number, side) for side in ("before", "after")]
            if report.failures or not any(is_reached):
                break
    else:
        for point in points.split(","):
            number_text, _, side = point.partition("-")
            report.crash_at(int(number_text), side)
    sys.stdout.write(json.dumps({"crashes": report.crashes, "wrong": report.failures}) + "\n")


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
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
