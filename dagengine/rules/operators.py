"""What a person may do to a DAG, and what follows (protocol 5.3, design section 4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dagengine.errors import OperatorRefused
from dagengine.model.records import LockRecord
from dagengine.model.states import State
from dagengine.rules import plan
from dagengine.rules.machine import Event, reset_sub_task, step_dag, step_node
from dagengine.rules.snapshot import Snapshot

_PREFIX = "Task.Dag.Operator"


def cancel_dag(snapshot: Snapshot, now: datetime) -> list[int]:
    """CANCEL. Returns the sub-tasks whose attempts must be ended.

    Raises:
        OperatorRefused: the DAG has ended, or a stage up to the present one cannot be cancelled.
    """
    if snapshot.dag.state.is_final:
        raise OperatorRefused(
            f"{_PREFIX}.CancelFinishedDag",
            f"{_name(snapshot)} has already ended: {snapshot.dag.state}",
            remedy="a finished DAG needs no cancel",
        )
    for node in snapshot.nodes.values():
        if not node.flags.can_cancel:
            raise OperatorRefused(
                f"{_PREFIX}.CancelNotAllowed", f"stage '{node.name}' cannot be cancelled"
            )
        if not node.state.is_final:
            break
    if snapshot.is_cancelling:
        return []
    return plan.cancel(snapshot, now)


def retry_dag(snapshot: Snapshot, now: datetime, lock: LockRecord | None) -> list[plan.Start]:
    """RETRY: failed lanes go in again at their first stage, later normal stages run again.

    Args:
        snapshot: a FAILED DAG.
        now: the present.
        lock: the lock as the DAG will hold it; None when its operation needs none.

    Raises:
        OperatorRefused: the DAG is not FAILED, or its stage cannot be retried.
    """
    if snapshot.dag.state is not State.FAILED:
        raise OperatorRefused(
            f"{_PREFIX}.RetryNotFailedDag",
            f"{_name(snapshot)} is {snapshot.dag.state}, not FAILED",
            remedy="only a FAILED DAG can be retried",
        )
    node = snapshot.nodes[snapshot.dag.stage]
    if not node.flags.can_retry:
        raise OperatorRefused(f"{_PREFIX}.RetryNotAllowed", f"'{node.name}' cannot be retried")
    if lock is not None:
        plan.take_lock(snapshot, lock)
    _reset_for_retry(snapshot, now)
    snapshot.recount()
    return plan.begin(snapshot, now)


def _reset_for_retry(snapshot: Snapshot, now: datetime) -> None:
    first = snapshot.dag.stage
    for group in snapshot.groups:
        if group.last < first:
            continue
        for stage in group.stages:
            entered = [
                sub_task
                for sub_task in snapshot.sub_tasks_of(stage)
                if _enters_again(snapshot, sub_task.target, sub_task.state, group.is_lanes)
            ]
            for sub_task in entered:
                if sub_task.state is not State.PENDING:
                    snapshot.set_sub_task(reset_sub_task(sub_task, Event.RETRY, now))
            if entered:
                snapshot.set_node(step_node(snapshot.nodes[stage], Event.RETRY, now))
    starting = min(stage for stage, node in snapshot.nodes.items() if not node.state.is_final)
    snapshot.set_dag(replace(step_dag(snapshot.dag, Event.RETRY, now), stage=starting))


def _enters_again(snapshot: Snapshot, target: str | None, state: State, is_lanes: bool) -> bool:
    """A lane that succeeded everywhere is not touched; everything else begins anew."""
    if not is_lanes or target is None:
        return True
    return target in snapshot.failed_lanes or state is not State.SUCCEED


def pass_dag(snapshot: Snapshot, now: datetime) -> None:
    """PASS: a person calls the FAILED DAG done; every unfinished part becomes SUCCEED + PASS.

    Raises:
        OperatorRefused: the DAG is not FAILED, or a stage that has not succeeded cannot pass.
    """
    if snapshot.dag.state is not State.FAILED:
        raise OperatorRefused(
            f"{_PREFIX}.PassNotFailedDag",
            f"{_name(snapshot)} is {snapshot.dag.state}, not FAILED",
            remedy="only a FAILED DAG can be passed; CANCEL a running one first",
        )
    unfinished = [node for node in snapshot.nodes.values() if node.state is not State.SUCCEED]
    for node in unfinished:
        if not node.flags.can_pass:
            raise OperatorRefused(f"{_PREFIX}.PassNotAllowed", f"'{node.name}' cannot be passed")
    for sub_task in list(snapshot.sub_tasks.values()):
        if sub_task.state is not State.SUCCEED:
            snapshot.set_sub_task(reset_sub_task(sub_task, Event.PASS, now))
    for node in unfinished:
        snapshot.set_node(step_node(node, Event.PASS, now))
    snapshot.set_dag(step_dag(snapshot.dag, Event.PASS, now))
    snapshot.recount()


def _name(snapshot: Snapshot) -> str:
    return f"DAG {snapshot.dag.dag_id} '{snapshot.dag.name}'"


def refuse_operator(operator: str) -> OperatorRefused:
    """The refusal of an operator that a DAG does not know (here)."""
    return OperatorRefused(f"{_PREFIX}.NotSupport", f"Operator {operator} is not supported")
