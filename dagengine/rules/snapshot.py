"""The in-memory state of one DAG, with the counters that keep a decision cheap.

A snapshot is changed only through its methods, which update the counters and collect the changes
that the store then writes. A state changes only through the state machine, which those methods
call. If the write fails, the snapshot is discarded and read again, so it never keeps a change that
was not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from dagengine.model.changes import Batch, Change, DagChanged, NodeChanged, SubTaskChanged
from dagengine.model.outcome import Json
from dagengine.model.records import DagRecord, NodeRecord, SubTaskRecord
from dagengine.model.stage_kinds import StageKind
from dagengine.model.states import Operator, State
from dagengine.rules import state_machine
from dagengine.rules.state_machine import Event


@dataclass(frozen=True, slots=True)
class Group:
    """The stages between two barriers: one normal stage, or consecutive parallel ones (lanes)."""

    stages: range
    is_lanes: bool

    @property
    def first(self) -> int:
        return self.stages[0]

    @property
    def last(self) -> int:
        return self.stages[-1]


class Snapshot:
    """One DAG, its nodes and sub-tasks. Stages count from 1.

    Attributes:
        now: the instant of the current decision, which its changes contain. It has no value
            before the first call of `at`, so that no decision can forget it.
    """

    now: datetime

    def __init__(
        self, dag: DagRecord, nodes: Sequence[NodeRecord], sub_tasks: Iterable[SubTaskRecord]
    ) -> None:
        self.dag = dag
        self.nodes = {node.stage: node for node in sorted(nodes, key=lambda n: n.stage)}
        self.sub_tasks = {sub_task.sub_task_id: sub_task for sub_task in sub_tasks}
        self._group_of = _group(tuple((node.stage, node.kind) for node in self.nodes.values()))
        self._ids: dict[int, dict[str | None, int]] = {stage: {} for stage in self.nodes}
        for sub_task in self.sub_tasks.values():
            self._ids[sub_task.stage][sub_task.target] = sub_task.sub_task_id
        self._changes: list[Change] = []
        self._places: dict[tuple[str, int], int] = {}  # index of a row's change in `_changes`
        self._lock_token = dag.lock_token
        self.refresh_counters()

    # --- reading ---------------------------------------------------------------------------

    @property
    def groups(self) -> tuple[Group, ...]:
        """All groups, in stage order."""
        return tuple(dict.fromkeys(self._group_of.values()))

    def group_of(self, stage: int) -> Group:
        """Return the group that a stage belongs to."""
        return self._group_of[stage]

    def group_after(self, group: Group) -> Group | None:
        """Return the next group; None after the last."""
        return self._group_of.get(group.last + 1)

    def sub_task_at(self, stage: int, target: str | None) -> SubTaskRecord | None:
        """Return the sub-task of a target in a stage; None when there is none."""
        sub_task_id = self._ids[stage].get(target)
        return None if sub_task_id is None else self.sub_tasks[sub_task_id]

    def sub_tasks_of(self, stage: int) -> Iterator[SubTaskRecord]:
        """Return a stage's sub-tasks in creation order."""
        return (self.sub_tasks[sub_task_id] for sub_task_id in self._ids[stage].values())

    @property
    def running(self) -> list[SubTaskRecord]:
        """Every RUNNING sub-task, in stage order."""
        return [
            sub_task
            for stage in self.nodes
            if self.running_in[stage]
            for sub_task in self.sub_tasks_of(stage)
            if sub_task.state is State.RUNNING
        ]

    @property
    def healthy_targets(self) -> tuple[str, ...]:
        """Targets without a failed sub-task, in submission order."""
        return tuple(target for target in self.dag.targets if target not in self.failed_lanes)

    @property
    def is_cancelling(self) -> bool:
        return self.dag.operator is Operator.CANCEL and not self.dag.state.is_final

    @property
    def is_undoing(self) -> bool:
        return self.dag.operator is Operator.ROLLBACK and not self.dag.state.is_final

    @property
    def was_undone(self) -> bool:
        """True when a rollback has changed a sub-task of the DAG."""
        return any(task.operator is Operator.ROLLBACK for task in self.sub_tasks.values())

    def is_over(self, stage: int) -> bool:
        """Return True when no sub-task of the stage runs and none will run."""
        if self.running_in[stage]:
            return False
        return self.is_cancelling or self.is_undoing or not self.waiting_in[stage]

    # --- changing --------------------------------------------------------------------------

    def at(self, now: datetime) -> Snapshot:
        """Set the instant of the next decision; returns the snapshot itself."""
        self.now = now
        return self

    def step_dag(
        self, event: Event, *, stage: int | None = None, lock_token: int | None = None
    ) -> None:
        """Apply an event to the DAG and, where given, set its stage and its lock token."""
        after = state_machine.step_dag(self.dag, event, self.now)
        if stage is not None:
            after = after._replace(stage=stage)
        if lock_token is not None:
            after = after._replace(lock_token=lock_token)
        self.set_dag(after)

    def set_dag(self, after: DagRecord) -> None:
        """Change the DAG's row without a change of its state, which only `step_dag` makes."""
        self._put("dag", after.dag_id, DagChanged(self.dag, after))
        self.dag = after

    def step_node(self, stage: int, event: Event) -> None:
        """Apply an event to the node of a stage."""
        before = self.nodes[stage]
        after = state_machine.step_node(before, event, self.now)
        self._put("node", after.node_id, NodeChanged(before, after))
        self.nodes[stage] = after

    def begin_sub_task(self, sub_task: SubTaskRecord, event: Event) -> SubTaskRecord:
        """Apply START, UNDO or RESUME to a sub-task; returns its new record."""
        after = state_machine.begin_sub_task(sub_task, event, self.now)
        self._set_sub_task(after)
        return after

    def end_sub_task(
        self,
        sub_task: SubTaskRecord,
        event: Event,
        *,
        data: Json | None = None,
        evidence: Json | None = None,
        summary: str = "",
    ) -> None:
        """Apply SUCCEED or FAIL to a sub-task, with its results."""
        self._set_sub_task(
            state_machine.end_sub_task(
                sub_task, event, self.now, data=data, evidence=evidence, summary=summary
            )
        )

    def reset_sub_task(self, sub_task: SubTaskRecord, event: Event) -> None:
        """Apply RETRY or PASS to a sub-task."""
        self._set_sub_task(state_machine.reset_sub_task(sub_task, event, self.now))

    def add_change(self, change: Change) -> None:
        """Collect a change that does not affect the counters (attempt, log line, lock)."""
        self._changes.append(change)

    def refresh_counters(self) -> None:
        """Recompute the counters; needed after a load or an operator, which are rare."""
        self.failed_lanes = {
            sub_task.target
            for sub_task in self.sub_tasks.values()
            if sub_task.target is not None and sub_task.state is State.FAILED
        }
        self.running_in = dict.fromkeys(self.nodes, 0)
        self.waiting_in = dict.fromkeys(self.nodes, 0)
        self.failed_in = dict.fromkeys(self.nodes, 0)
        for sub_task in self.sub_tasks.values():
            if sub_task.state is State.RUNNING:
                self.running_in[sub_task.stage] += 1
            elif sub_task.state is State.FAILED:
                self.failed_in[sub_task.stage] += 1
            elif sub_task.state is State.PENDING and sub_task.target not in self.failed_lanes:
                self.waiting_in[sub_task.stage] += 1

    def drain_batch(self) -> Batch | None:
        """Return the changes since the last call as one batch; None when nothing changed."""
        if not self._changes:
            return None
        batch = Batch(self.dag.dag_id, self._lock_token, tuple(self._changes))
        self._changes, self._places = [], {}
        self._lock_token = self.dag.lock_token
        return batch

    def _set_sub_task(self, after: SubTaskRecord) -> None:
        before = self.sub_tasks[after.sub_task_id]
        self._put("sub_task", after.sub_task_id, SubTaskChanged(before, after))
        self.sub_tasks[after.sub_task_id] = after
        stage = after.stage
        self.running_in[stage] += (after.state is State.RUNNING) - (before.state is State.RUNNING)
        if before.state is State.PENDING and after.state is State.RUNNING:
            self.waiting_in[stage] -= 1
        self.failed_in[stage] += (after.state is State.FAILED) - (before.state is State.FAILED)
        if after.state is State.FAILED and after.target is not None:
            self._end_lane(after.target, stage)

    def _put(
        self, table: str, row_id: int, change: DagChanged | NodeChanged | SubTaskChanged
    ) -> None:
        """Collect the change of a row; merge it with an earlier change of the same row.

        Several changes of one row are written as one, so that readers never see an intermediate
        state. The merged change keeps the position of the first one, because the log lines of
        an attempt that follow it need the attempt's number to be written already.
        """
        place = self._places.setdefault((table, row_id), len(self._changes))
        if place == len(self._changes):
            self._changes.append(change)
        else:
            first: Any = self._changes[place]
            self._changes[place] = replace(first, after=change.after)

    def _end_lane(self, target: str, stage: int) -> None:
        self.failed_lanes.add(target)
        for later in range(stage + 1, self.dag.max_stage + 1):
            # A sub-task that was passed, or that ran before a retry, was not counted as waiting.
            if (task := self.sub_task_at(later, target)) and task.state is State.PENDING:
                self.waiting_in[later] -= 1


@lru_cache(maxsize=100)  # the DAGs of one operation share their groups
def _group(stages: tuple[tuple[int, StageKind], ...]) -> Mapping[int, Group]:
    """Return the group of each stage; `stages` are numbers and kinds, in order."""
    groups: dict[int, Group] = {}
    first = 0
    while first < len(stages):
        last = first
        is_lanes = stages[first][1] is StageKind.PARALLEL
        while is_lanes and last + 1 < len(stages) and stages[last + 1][1] is StageKind.PARALLEL:
            last += 1
        group = Group(range(stages[first][0], stages[last][0] + 1), is_lanes)
        groups.update(dict.fromkeys(group.stages, group))
        first = last + 1
    return groups
