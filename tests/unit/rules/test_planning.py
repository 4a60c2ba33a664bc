"""Named cases of the planning rules."""

from __future__ import annotations

from dagengine.engine.registry import Registry
from dagengine.model.operation import Operation, Stage, Submission
from dagengine.model.outcome import Cancelled, Failed, Outcome, Problem, Succeeded
from dagengine.model.stage_kinds import Flags, StageKind
from dagengine.model.states import Operator, State
from dagengine.model.step import StepContext
from dagengine.rules import operators
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.store.contract import LastIds
from dagengine.testing import FakeClock
from tests.property.invariants import find_violations

NOW = FakeClock().now()
BROKEN = Failed(Problem("X", "broken"))


async def do_nothing(context: StepContext) -> Outcome:
    return Succeeded()


def begin(*kinds: StageKind, targets: tuple[str, ...] = ("a", "b")) -> Snapshot:
    flags = Flags(can_rollback=True)
    stages = tuple(Stage(f"s{i}", kind, do_nothing, flags=flags) for i, kind in enumerate(kinds, 1))
    created = Registry([Operation("op", stages)]).instantiate(
        Submission("op", targets), LastIds(0, 0, 0), NOW
    )
    snapshot = Snapshot(created.dag, created.nodes, created.sub_tasks)
    plan.begin(snapshot.at(NOW))
    return snapshot


def end(snapshot: Snapshot, stage: int, target: str | None, outcome: Outcome) -> None:
    task = snapshot.sub_task_at(stage, target)
    assert task is not None
    plan.end_attempt(snapshot.at(NOW), task.sub_task_id, task.attempt_no, outcome)


def test_planning_lane_advances_independently_of_others() -> None:
    snapshot = begin(StageKind.PARALLEL, StageKind.PARALLEL)
    end(snapshot, 1, "a", Succeeded())
    assert [(s.stage, s.target) for s in snapshot.running] == [(1, "b"), (2, "a")]
    assert [n.state for n in snapshot.nodes.values()] == [State.RUNNING, State.RUNNING]
    assert snapshot.dag.stage == 1


def test_planning_failed_lane_does_not_stop_others() -> None:
    snapshot = begin(StageKind.PARALLEL, StageKind.PARALLEL, StageKind.NORMAL)
    end(snapshot, 1, "a", BROKEN)
    end(snapshot, 1, "b", Succeeded())
    end(snapshot, 2, "b", Succeeded())
    end(snapshot, 3, None, Succeeded())
    assert (snapshot.dag.state, snapshot.dag.stage) == (State.FAILED, 1)
    assert [n.state for n in snapshot.nodes.values()] == [
        State.FAILED,
        State.SUCCEED,
        State.SUCCEED,
    ]
    pending = snapshot.sub_task_at(2, "a")
    assert pending is not None
    assert pending.state is State.PENDING


def test_planning_all_lanes_failed_ends_dag() -> None:
    snapshot = begin(StageKind.PARALLEL, StageKind.NORMAL)
    end(snapshot, 1, "a", BROKEN)
    end(snapshot, 1, "b", BROKEN)
    assert (snapshot.dag.state, snapshot.dag.stage) == (State.FAILED, 1)
    assert snapshot.nodes[2].state is State.PENDING


def test_cancel_dag_closes_node_that_waits_for_lanes() -> None:
    snapshot = begin(StageKind.PARALLEL, StageKind.PARALLEL)
    operators.cancel_dag(snapshot.at(NOW))
    end(snapshot, 1, "a", Succeeded())
    end(snapshot, 1, "b", Cancelled())
    operators.retry_dag(snapshot.at(NOW), None)
    end(snapshot, 2, "a", BROKEN)
    assert snapshot.nodes[2].state is State.RUNNING
    operators.cancel_dag(snapshot.at(NOW))
    assert find_violations(snapshot) == []
    assert snapshot.nodes[2].state is State.FAILED


def test_planning_lane_failure_before_passed_node_ends_lane() -> None:
    snapshot = begin(*[StageKind.PARALLEL] * 3)
    end(snapshot, 1, "a", BROKEN)
    for stage in (1, 2):
        end(snapshot, stage, "b", Succeeded())
    end(snapshot, 3, "b", BROKEN)
    operators.pass_node(snapshot.at(NOW), 3, None)
    operators.pass_node(snapshot.at(NOW), 1, None)
    end(snapshot, 2, "a", BROKEN)
    assert (snapshot.dag.state, snapshot.dag.stage) == (State.FAILED, 2)
    assert find_violations(snapshot) == []


def test_planning_unreachable_node_is_closed_before_next_stage() -> None:
    kinds = (StageKind.PARALLEL, StageKind.NORMAL) * 2
    snapshot = begin(*kinds, targets=("a", "b", "c"))
    end(snapshot, 1, "a", BROKEN)
    end(snapshot, 1, "b", Succeeded())
    end(snapshot, 1, "c", Succeeded())
    end(snapshot, 2, None, Succeeded())
    end(snapshot, 3, "b", Succeeded())
    operators.cancel_dag(snapshot.at(NOW))
    end(snapshot, 3, "c", Cancelled())
    operators.retry_dag(snapshot.at(NOW), None)
    end(snapshot, 1, "a", BROKEN)
    end(snapshot, 1, "c", BROKEN)
    end(snapshot, 2, None, Succeeded())
    assert [(s.stage, s.target) for s in snapshot.running] == [(4, None)]
    assert snapshot.nodes[3].state is State.SUCCEED
    assert find_violations(snapshot) == []
    end(snapshot, 4, None, Succeeded())
    assert (snapshot.dag.state, snapshot.dag.stage) == (State.FAILED, 1)
    assert find_violations(snapshot) == []


def test_planning_lane_continues_after_passed_node() -> None:
    snapshot = begin(*[StageKind.PARALLEL] * 4)
    end(snapshot, 1, "a", BROKEN)
    for stage in (1, 2):
        end(snapshot, stage, "b", Succeeded())
    end(snapshot, 3, "b", BROKEN)
    operators.pass_node(snapshot.at(NOW), 3, None)
    end(snapshot, 4, "b", Succeeded())
    operators.pass_node(snapshot.at(NOW), 1, None)
    end(snapshot, 2, "a", Succeeded())
    assert [(s.stage, s.target) for s in snapshot.running] == [(4, "a")]
    end(snapshot, 4, "a", Succeeded())
    assert snapshot.dag.state is State.SUCCEED
    assert find_violations(snapshot) == []


def test_rollback_dag_undoes_stage_not_reached_by_retry() -> None:
    snapshot = begin(*[StageKind.PARALLEL] * 2, targets=("a",))
    end(snapshot, 1, "a", Succeeded())
    end(snapshot, 2, "a", BROKEN)
    operators.retry_dag(snapshot.at(NOW), None)
    end(snapshot, 1, "a", BROKEN)
    operators.rollback_dag(snapshot.at(NOW), None, None)
    assert [(s.stage, s.operator) for s in snapshot.running] == [(2, Operator.ROLLBACK)]
    end(snapshot, 2, "a", Succeeded())
    end(snapshot, 1, "a", Succeeded())
    assert (snapshot.dag.state, snapshot.dag.operator) == (State.SUCCEED, Operator.ROLLBACK)
    assert find_violations(snapshot) == []
