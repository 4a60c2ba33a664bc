"""The counters of a snapshot: incremental counts equal those of a snapshot read from the store."""

from __future__ import annotations

import pytest

from dagengine.engine.registry import Registry
from dagengine.model.operation import Operation, Stage, Submission
from dagengine.model.outcome import Failed, Outcome, Problem, Succeeded
from dagengine.model.stage_kinds import StageKind
from dagengine.model.step import StepContext
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.store.contract import LastIds
from dagengine.testing import FakeClock

NOW = FakeClock().now()
BROKEN = Failed(Problem("X", "broken"))
LANE, NORMAL = StageKind.PARALLEL, StageKind.NORMAL


async def do_nothing(context: StepContext) -> Outcome:
    return Succeeded()


def begin() -> Snapshot:
    """Return a snapshot with three lanes of three stages each, followed by one stage."""
    kinds = (LANE, LANE, LANE, NORMAL)
    stages = tuple(Stage(f"s{number}", kind, do_nothing) for number, kind in enumerate(kinds, 1))
    submission = Submission("op", ("a", "b", "c"))
    created = Registry([Operation("op", stages)]).instantiate(submission, LastIds(0, 0, 0), NOW)
    snapshot = Snapshot(created.dag, created.nodes, created.sub_tasks)
    plan.begin(snapshot.at(NOW))
    return snapshot


def end(snapshot: Snapshot, stage: int, target: str | None, outcome: Outcome) -> None:
    task = snapshot.sub_task_at(stage, target)
    assert task is not None
    plan.end_attempt(snapshot.at(NOW), task.sub_task_id, task.attempt_no, outcome)


def read_again(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.dag, list(snapshot.nodes.values()), snapshot.sub_tasks.values())


def counts(snapshot: Snapshot) -> list[object]:
    return [
        snapshot.running_in,
        snapshot.waiting_in,
        snapshot.failed_in,
        snapshot.failed_lanes,
        snapshot.healthy_targets,
    ]


def test_snapshot_does_not_wait_for_failed_lane() -> None:
    snapshot = begin()
    end(snapshot, 1, "a", BROKEN)
    for snapshot_view in (snapshot, read_again(snapshot)):
        assert snapshot_view.waiting_in == {1: 0, 2: 2, 3: 2, 4: 1}
        assert snapshot_view.running_in == {1: 2, 2: 0, 3: 0, 4: 0}
        assert snapshot_view.failed_in == {1: 1, 2: 0, 3: 0, 4: 0}
        assert snapshot_view.healthy_targets == ("b", "c")
        assert not snapshot_view.is_over(1)
    end(snapshot, 1, "b", BROKEN)
    end(snapshot, 1, "c", BROKEN)
    for snapshot_view in (snapshot, read_again(snapshot)):
        assert snapshot_view.waiting_in == {1: 0, 2: 0, 3: 0, 4: 1}
        assert snapshot_view.healthy_targets == ()
        assert [snapshot_view.is_over(stage) for stage in (1, 2, 3)] == [True] * 3


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_snapshot_counters_match_recount_of_rows(fails_at: int) -> None:
    snapshot = begin()
    for stage in (1, 2, 3):
        for target in ("a", "b", "c"):
            if target == "a" and stage > fails_at:
                continue
            is_broken = target == "a" and stage == fails_at
            end(snapshot, stage, target, BROKEN if is_broken else Succeeded())
            assert counts(snapshot) == counts(read_again(snapshot)), (stage, target)
    end(snapshot, 4, None, Succeeded())
    assert snapshot.dag.state == "FAILED"
    assert counts(snapshot) == counts(read_again(snapshot))


def test_snapshot_groups_are_shared_by_dags() -> None:
    first, second = begin(), begin()
    assert [tuple(group.stages) for group in first.groups] == [(1, 2, 3), (4,)]
    assert [group.is_lanes for group in first.groups] == [True, False]
    assert all(first.group_of(stage) is second.group_of(stage) for stage in first.nodes)


def test_snapshot_group_after_last_is_none() -> None:
    snapshot = begin()
    lanes, last = snapshot.groups
    assert (lanes.first, lanes.last) == (1, 3)
    assert snapshot.group_after(lanes) is last
    assert snapshot.group_after(last) is None
