"""The same rules with the real store: the file matches the decisions and the reference model."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dagengine.engine.registry import Registry
from dagengine.errors import StaleWrite
from dagengine.model.changes import Batch, DagCreated, LockReleased, LockTaken
from dagengine.model.operation import Operation, Stage, Submission
from dagengine.model.outcome import Failed, Outcome, Problem, Succeeded
from dagengine.model.records import LockRecord
from dagengine.model.stage_kinds import StageKind
from dagengine.model.step import StepContext
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.store.contract import BatchRefused, DagRows
from dagengine.store.sqlite.store import SqliteStore
from tests.property.test_rules import NOW, OneDag


async def _step(_context: StepContext) -> Outcome:
    return Succeeded()


class OneDagOnDisk(OneDag):
    """One DAG in a store; the engine ends before or after any write, and the store is reopened."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp())
        self.store = SqliteStore(self.directory / "store.sqlite")
        self.runner.run(self.store.open())

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    def create(self, created: DagCreated) -> None:
        other = Registry([Operation("other", (Stage("s", StageKind.NORMAL, _step),))])
        assert self.commit(Batch(created.dag.dag_id, None, (created,))) is None
        ids = self.runner.run(self.store.last_ids())
        self.other = other.instantiate(Submission("other"), ids, NOW)
        assert self.commit(Batch(self.other.dag.dag_id, None, (self.other,))) is None

    def commit(self, batch: Batch) -> BatchRefused | None:
        (stale,) = self.runner.run(self.store.commit([batch]))
        return stale

    def write(self) -> None:
        batch = self.snapshot.drain_batch()
        if batch is None:
            return
        assert self.commit(batch) is None
        rows = self.rows()
        assert rows.dag == self.snapshot.dag
        assert rows.nodes == tuple(self.snapshot.nodes.values())
        assert rows.sub_tasks == tuple(self.snapshot.sub_tasks.values())
        stale = self.commit(batch)
        assert isinstance(stale, StaleWrite) or self.rows() == rows, "a batch was written twice"

    def rows(self) -> DagRows:
        rows = self.runner.run(self.store.load_dag(self.snapshot.dag.dag_id))
        assert rows is not None
        return rows

    def read(self) -> Snapshot:
        rows = self.rows()
        return Snapshot(rows.dag, rows.nodes, rows.sub_tasks)

    def hold_lock_elsewhere(self, token: int) -> None:
        dag_id = self.other.dag.dag_id
        lock_taken = LockTaken(LockRecord("k", dag_id, token, "other", NOW))
        released = LockReleased("k", dag_id, token, NOW)
        assert self.commit(Batch(dag_id, None, (lock_taken, released))) is None

    @precondition(lambda self: self.has_running)
    @rule(data=st.data(), ends_well=st.booleans())
    def engine_ends_before_write(self, data: Any, ends_well: bool) -> None:
        durable = self.rows()
        task = data.draw(st.sampled_from(self.snapshot.running))
        outcome = Succeeded() if ends_well else Failed(Problem("X", "broken"))
        plan.end_attempt(self.snapshot.at(self.tick()), task.sub_task_id, task.attempt_no, outcome)
        self.runner.run(self.store.close())
        self.runner.run(self.store.open())
        assert self.rows() == durable
        self.snapshot = self.read()
        self.resume_dag(None)


OneDagOnDisk.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestOneDagOnDisk = OneDagOnDisk.TestCase
