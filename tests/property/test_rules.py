"""The rules under the interleavings that hypothesis generates, crashes included."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dagengine.engine.registry import Registry
from dagengine.errors import OperatorRefused
from dagengine.model.changes import DagCreated
from dagengine.model.operation import Operation, Stage, Submission
from dagengine.model.outcome import (
    Cancelled,
    Failed,
    Outcome,
    Problem,
    ResultUnknown,
    Succeeded,
    TimedOut,
)
from dagengine.model.records import LockRecord
from dagengine.model.stage_kinds import Flags, StageKind
from dagengine.model.states import State
from dagengine.model.step import StepContext
from dagengine.rules import operators, recovery
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.store.contract import LastIds
from tests.property.invariants import find_violations
from tests.property.reference_model import RUNNING, Reference

N, P = StageKind.NORMAL, StageKind.PARALLEL
NOW = datetime(2024, 1, 1, tzinfo=UTC)
UNKNOWN = ResultUnknown(Problem("X", "unknown cause"))


ALL = Flags(can_rollback=True)
KINDS, FLAGS = st.sampled_from([P, P, N]), st.builds(Flags, *[st.booleans()] * 5)
SELDOM = st.sampled_from([False] * 7 + [True])
SHAPES = st.lists(st.tuples(KINDS, st.just(ALL)), min_size=1, max_size=6) | st.lists(
    st.tuples(KINDS, FLAGS), min_size=1, max_size=6
)
FAILURES = (Failed(Problem("X", "broken")), TimedOut(Problem("X", "late")), UNKNOWN)
ENDS = st.sampled_from((*[Succeeded()] * 5, *FAILURES))  # most succeed, to reach later stages


async def _step(context: StepContext) -> Succeeded:
    return Succeeded()


class OneDag(RuleBasedStateMachine):
    """One DAG with attempts that end in any order and with any outcome, operators and restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.token = 0
        self.starts: dict[int, list[int]] = {}
        self.ended_by_cancel: set[int] = set()

    @initialize(
        kinds=SHAPES,
        lanes=st.sampled_from([2, 3, 1, 4]),
    )
    def submit(self, kinds: list[tuple[StageKind, Flags]], lanes: int) -> None:
        stages = tuple(
            Stage(f"s{i}", kind, _step, flags=flags) for i, (kind, flags) in enumerate(kinds)
        )
        registry = Registry([Operation("op", stages)])
        targets = tuple(f"t{i}" for i in range(lanes))
        created = registry.instantiate(Submission("op", targets), LastIds(0, 0, 0), NOW)
        created = replace(created, dag=created.dag._replace(lock_key="k"))
        self.snapshot = Snapshot(created.dag, created.nodes, created.sub_tasks)
        self.reference = Reference([kind for kind, _ in kinds], targets)
        self.create(created)
        self.follow(plan.begin(self.snapshot.at(self.tick())))

    def create(self, created: DagCreated) -> None:
        """Do nothing without a store."""

    def tick(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def follow(self, starts: list[plan.AttemptStart]) -> None:
        for start in starts:
            sub_task = self.snapshot.sub_tasks[start.sub_task_id]
            assert sub_task.state is State.RUNNING
            attempts = self.starts.setdefault(start.sub_task_id, [])
            assert sub_task.attempt_no == len(attempts) + 1, "an attempt began twice"
            attempts.append(sub_task.attempt_no)
        self.write()

    def write(self) -> None:
        """Make the decided changes durable."""
        self.snapshot.drain_batch()

    def read(self) -> Snapshot:
        """Return the snapshot that a restarted engine would read."""
        old = self.snapshot
        return Snapshot(old.dag, list(old.nodes.values()), old.sub_tasks.values())

    def end(self, data: Any, outcome: Outcome) -> None:
        sub_task = data.draw(st.sampled_from(self.snapshot.running))
        self.reference.end((sub_task.stage, sub_task.target), well=isinstance(outcome, Succeeded))
        self.follow(
            plan.end_attempt(
                self.snapshot.at(self.tick()),
                sub_task.sub_task_id,
                sub_task.attempt_no,
                outcome,
            )
        )

    @property
    def has_running(self) -> bool:
        return bool(self.snapshot.running)

    def attempts_end(self, data: Any, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if self.has_running:
                self.end(data, outcome)

    # As frequent as operators, so that DAGs reach later stages.
    _end = precondition(lambda self: self.has_running)(
        rule(data=st.data(), outcomes=st.lists(ENDS, min_size=1, max_size=12))(attempts_end)
    )
    _end_1, _end_2, _end_3, _end_4, _end_5 = [_end] * 5

    @precondition(lambda self: self.has_running and self.snapshot.is_cancelling)
    @rule(data=st.data())
    def attempt_is_cancelled(self, data: Any) -> None:
        self.end(data, Cancelled())

    @precondition(lambda self: self.has_running)
    @rule(data=st.data())
    def outcome_is_repeated_or_late(self, data: Any) -> None:
        sub_task = data.draw(st.sampled_from(list(self.snapshot.sub_tasks.values())))
        before = self.snapshot.dag, dict(self.snapshot.nodes), dict(self.snapshot.sub_tasks)
        stale = sub_task.attempt_no - 1
        starts = plan.end_attempt(
            self.snapshot.at(self.tick()), sub_task.sub_task_id, stale, Succeeded()
        )
        assert not starts
        assert self.snapshot.drain_batch() is None
        assert before == (self.snapshot.dag, self.snapshot.nodes, self.snapshot.sub_tasks)

    @precondition(lambda self: not self.snapshot.dag.state.is_final)
    @rule()
    def engine_restarts(self) -> None:
        self.snapshot = self.read()
        self.resume_dag(None)

    def resume_dag(self, lost: set[int] | None) -> None:
        """Lose attempts; those of steps that cannot be resumed become failed."""
        is_cancelling = self.snapshot.is_cancelling
        for task in self.snapshot.running:
            can_continue = self.snapshot.nodes[task.stage].flags.can_continue or is_cancelling
            if not can_continue and (lost is None or task.sub_task_id in lost):
                self.reference.end((task.stage, task.target), well=False)
        self.follow(recovery.resume(self.snapshot.at(self.tick()), lost=lost))

    @precondition(lambda self: not self.snapshot.dag.state.is_final)
    @rule(seldom=SELDOM)
    def engine_restarts_without_operation(self, seldom: bool) -> None:
        if not seldom:
            return
        self.snapshot = self.read()
        while running := [cell for cell, state in self.reference.cells.items() if state is RUNNING]:
            self.reference.end(running[0], well=False)
        recovery.give_up(self.snapshot.at(self.tick()), Problem("X", "no such operation"))
        assert self.snapshot.dag.state.is_final
        for sub_task in self.snapshot.sub_tasks.values():  # some ended within the call
            self.starts[sub_task.sub_task_id] = list(range(1, sub_task.attempt_no + 1))
        self.write()

    @precondition(lambda self: self.has_running)
    @rule(data=st.data())
    def attempts_are_lost(self, data: Any) -> None:
        running = [task.sub_task_id for task in self.snapshot.running]
        lost = data.draw(st.sets(st.sampled_from(running), min_size=1))
        self.resume_dag(lost)  # `follow` detects a running one that was begun again

    def refused(self, exc: OperatorRefused, *, allowed: bool) -> None:
        """Check that a refusal has a reason and changes nothing."""
        assert not allowed or exc.err_code.endswith("NotAllowed"), exc
        assert self.snapshot.drain_batch() is None

    @rule()
    def user_cancels(self) -> None:
        try:
            to_end = operators.cancel_dag(self.snapshot.at(self.tick()))
        except OperatorRefused as exc:
            self.refused(exc, allowed=not self.snapshot.dag.state.is_final)
            return
        assert set(to_end) <= {s.sub_task_id for s in self.snapshot.running}
        self.reference.cancel()
        self.write()

    @rule()
    def user_retries(self) -> None:
        self.token += 1
        lock = LockRecord("k", self.snapshot.dag.dag_id, self.token, "op", self.now)
        finished = {
            s.sub_task_id: s
            for s in self.snapshot.sub_tasks.values()
            if s.target is not None and s.target not in self.snapshot.failed_lanes
            if s.state is State.SUCCEED and not self.snapshot.was_undone
        }
        try:
            self.follow(operators.retry_dag(self.snapshot.at(self.tick()), lock))
        except OperatorRefused as exc:
            self.refused(exc, allowed=self.snapshot.dag.state is State.FAILED)
            self.token -= 1
            return
        self.reference.retry()
        for sub_task_id, before in finished.items():
            assert self.snapshot.sub_tasks[sub_task_id] == before, "a good lane was touched"

    @precondition(lambda self: not self.snapshot.dag.lock_token)
    @rule()
    def other_dag_holds_lock_temporarily(self) -> None:
        self.token += 1
        self.hold_lock_elsewhere(self.token)

    def hold_lock_elsewhere(self, token: int) -> None:
        """Do nothing without a store."""

    @rule()
    def user_rolls_back(self) -> None:
        dag = self.snapshot.dag
        before = LockRecord("k", None, self.token, "op", self.now) if self.token else None
        lock = LockRecord("k", dag.dag_id, self.token + 1, "op", self.now)
        is_foreign = dag.last_lock_token not in (0, self.token)
        try:
            starts = operators.rollback_dag(self.snapshot.at(self.tick()), lock, before)
        except OperatorRefused as exc:
            self.refused(exc, allowed=dag.state is State.FAILED and not is_foreign)
            return
        assert not is_foreign
        self.token += 1
        self.reference.roll_back()
        self.follow(starts)
        if self.snapshot.dag.state is State.SUCCEED:
            assert self.snapshot.dag.stage == 1

    @rule(data=st.data())
    def user_passes_node(self, data: Any) -> None:
        stage = data.draw(st.sampled_from(list(self.snapshot.nodes)))
        lock = LockRecord("k", self.snapshot.dag.dag_id, self.token + 1, "op", self.now)
        before = self.snapshot.nodes[stage].state
        try:
            self.follow(operators.pass_node(self.snapshot.at(self.tick()), stage, lock))
        except OperatorRefused as exc:
            have_failed = self.snapshot.dag.state is before is State.FAILED
            self.refused(exc, allowed=have_failed and not self.snapshot.was_undone)
            return
        self.token += 1
        self.reference.pass_node(stage)
        assert self.snapshot.nodes[stage].state is State.SUCCEED

    @rule(seldom=SELDOM)
    def user_passes_dag(self, seldom: bool) -> None:
        if not seldom:  # it ends the DAG, so it must be rare
            return
        try:
            operators.pass_dag(self.snapshot.at(self.tick()))
        except OperatorRefused as exc:
            self.refused(exc, allowed=self.snapshot.dag.state is State.FAILED)
            return
        assert all(n.state is State.SUCCEED for n in self.snapshot.nodes.values())
        self.reference.pass_dag()
        self.write()

    @invariant()
    def invariants_hold(self) -> None:
        if hasattr(self, "snapshot"):
            assert find_violations(self.snapshot) == []

    @invariant()
    def snapshot_matches_reference(self) -> None:
        if not hasattr(self, "snapshot"):
            return
        tasks = self.snapshot.sub_tasks.values()
        assert {(task.stage, task.target): task.state for task in tasks} == self.reference.cells
        assert self.snapshot.dag.state is self.reference.dag
        if self.snapshot.dag.state is State.FAILED and self.reference.stage is not None:
            assert self.snapshot.dag.stage == self.reference.stage

    @invariant()
    def unfinished_dag_has_running_sub_task(self) -> None:
        if hasattr(self, "snapshot") and not self.snapshot.dag.state.is_final:
            assert self.snapshot.running


OneDag.TestCase.settings = settings(max_examples=300, stateful_step_count=40)
TestOneDag = OneDag.TestCase
