"""Explanation of why an unfinished sub-task does not progress. Pure."""

from __future__ import annotations

from dagengine.model.records import SubTaskRecord
from dagengine.model.stage_kinds import Wait
from dagengine.model.states import State
from dagengine.rules import messages
from dagengine.rules.snapshot import Snapshot


def explain_wait(snapshot: Snapshot, sub_task: SubTaskRecord, reported: Wait | None) -> Wait | None:
    """Return what a sub-task of an active DAG waits for; None when it has ended or will not run.

    Args:
        snapshot: the snapshot of its DAG.
        sub_task: a sub-task of that snapshot.
        reported: the wait that its running step reported.
    """
    if snapshot.dag.state.is_final or sub_task.state.is_final:
        return None
    if sub_task.state is State.RUNNING:
        name = snapshot.nodes[sub_task.stage].name
        return reported or Wait("step", name, sub_task.start_at)
    ends = snapshot.is_cancelling or snapshot.is_undoing
    if ends or sub_task.target in snapshot.failed_lanes:
        return None
    return _for_own_lane(snapshot, sub_task) or _for_earlier_stages(snapshot, sub_task)


def _for_own_lane(snapshot: Snapshot, sub_task: SubTaskRecord) -> Wait | None:
    if sub_task.stage == snapshot.group_of(sub_task.stage).first:
        return None
    before = snapshot.sub_task_at(sub_task.stage - 1, sub_task.target)
    if before is None or before.state is State.SUCCEED:
        return None
    on = messages.STAGE_OF_TARGET(stage=snapshot.nodes[before.stage].name, target=sub_task.target)
    return Wait("stage", on, before.start_at)


def _for_earlier_stages(snapshot: Snapshot, sub_task: SubTaskRecord) -> Wait | None:
    first = snapshot.group_of(sub_task.stage).first
    for node in snapshot.nodes.values():
        if node.stage < first and not node.state.is_final:
            count = snapshot.running_in[node.stage]
            return Wait(
                "stage", messages.STAGE_RUNNING(stage=node.name, count=count), node.start_at
            )
    return None
