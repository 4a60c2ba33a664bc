"""Operators that a user applies to a DAG, and their effects (protocol 5.3, design section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from dagengine.errors import OperatorRefused
from dagengine.model.records import LockRecord, SubTaskRecord
from dagengine.model.states import Operator, State
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.rules.state_machine import Event

_PREFIX = "Task.Dag.Operator"


def cancel_dag(snapshot: Snapshot) -> list[int]:
    """Apply CANCEL and return the sub-tasks whose attempts must be ended.

    Raises:
        OperatorRefused: the DAG has ended, or a stage that has begun cannot be cancelled.
    """
    if snapshot.dag.state.is_final:
        raise OperatorRefused(
            f"{_PREFIX}.CancelFinishedDag",
            f"{_name(snapshot)} has already ended: {snapshot.dag.state}",
            remedy="a finished DAG needs no cancel",
        )
    for node in snapshot.nodes.values():
        has_begun = node.state is not State.PENDING or node.stage == snapshot.dag.stage
        if has_begun and not node.flags.can_cancel:
            raise OperatorRefused(
                f"{_PREFIX}.CancelNotAllowed",
                f"stage '{node.name}' cannot be cancelled",
                remedy="wait until the DAG has ended; what failed then can be dealt with",
            )
    if snapshot.is_cancelling:
        return []
    return plan.cancel(snapshot)


def retry_dag(snapshot: Snapshot, lock: LockRecord | None) -> list[plan.Start]:
    """Apply RETRY: failed lanes start again at their first stage, later normal stages run again.

    Args:
        snapshot: a FAILED DAG.
        lock: the lock as the DAG will hold it; None when the operation does not need a lock.

    Raises:
        OperatorRefused: the DAG is not FAILED, or a stage that would run again cannot be retried.
    """
    if snapshot.dag.state is not State.FAILED:
        raise OperatorRefused(
            f"{_PREFIX}.RetryNotFailedDag",
            f"{_name(snapshot)} is {snapshot.dag.state}, not FAILED",
            remedy="only a FAILED DAG can be retried",
        )
    entered = _entered_by_retry(snapshot)
    for sub_task in entered:
        node = snapshot.nodes[sub_task.stage]
        if sub_task.execute_times and not node.flags.can_retry:
            raise OperatorRefused(
                f"{_PREFIX}.RetryNotAllowed",
                f"'{node.name}' cannot be retried",
                remedy="ROLLBACK the DAG, or do by hand what is left of it and PASS it",
            )
    if lock is not None:
        plan.take_lock(snapshot, lock)
    _reset_for_retry(snapshot, entered)
    snapshot.refresh_counters()
    return plan.begin(snapshot)


def _entered_by_retry(snapshot: Snapshot) -> list[SubTaskRecord]:
    """Return the sub-tasks that a retry runs, again or for the first time, in stage order."""
    # After a rollback has changed anything, the DAG must run again from the beginning.
    is_anew = snapshot.was_undone
    first = 1 if is_anew else snapshot.dag.stage
    return [
        sub_task
        for group in snapshot.groups
        if group.last >= first
        for stage in group.stages
        for sub_task in snapshot.sub_tasks_of(stage)
        if is_anew or _enters_again(snapshot, sub_task.target, sub_task.state, group.is_lanes)
    ]


def _reset_for_retry(snapshot: Snapshot, entered: Sequence[SubTaskRecord]) -> None:
    for sub_task in entered:
        if sub_task.state is not State.PENDING:
            snapshot.reset_sub_task(sub_task, Event.RETRY)
    for stage in dict.fromkeys(sub_task.stage for sub_task in entered):
        snapshot.step_node(stage, Event.RETRY)
    starting = min(stage for stage, node in snapshot.nodes.items() if not node.state.is_final)
    snapshot.step_dag(Event.RETRY, stage=starting)


def _enters_again(snapshot: Snapshot, target: str | None, state: State, is_lanes: bool) -> bool:
    """Return True unless the sub-task succeeded in a lane without a failure."""
    if not is_lanes or target is None:
        return True
    return target in snapshot.failed_lanes or state is not State.SUCCEED


def rollback_dag(
    snapshot: Snapshot, lock: LockRecord | None, before: LockRecord | None
) -> list[plan.Start]:
    """Apply ROLLBACK: undo the work of the DAG, from the last stage to the first.

    Args:
        snapshot: a FAILED DAG.
        lock: the lock as the DAG will hold it; None when the operation does not need a lock.
        before: the current lock; None when it was never taken.

    Raises:
        OperatorRefused: the DAG is not FAILED, a stage that has begun cannot be rolled back, or
            another DAG has held the lock since.
    """
    if snapshot.dag.state is not State.FAILED:
        raise OperatorRefused(
            f"{_PREFIX}.RollbackNotFailedDag",
            f"{_name(snapshot)} is {snapshot.dag.state}, not FAILED",
            remedy="only a FAILED DAG can be rolled back",
        )
    begun = [node for node in snapshot.nodes.values() if _has_begun(snapshot, node.stage)]
    for node in begun:
        if not node.flags.can_rollback:
            raise OperatorRefused(
                f"{_PREFIX}.RollbackNotAllowed",
                f"'{node.name}' cannot be rolled back",
                remedy="mend the cause and RETRY the DAG, or undo by hand what it did and PASS it",
            )
    if before is not None and snapshot.dag.held and before.token != snapshot.dag.held:
        raise OperatorRefused(
            f"{_PREFIX}.RollbackNotAllowed",
            f"another DAG has held the lock '{before.key}' since {_name(snapshot)} failed",
            remedy="what it left is no longer there to be undone; look at the newest DAG",
        )
    if lock is not None:
        plan.take_lock(snapshot, lock)
    for node in begun:
        snapshot.step_node(node.stage, Event.UNDO)
    snapshot.step_dag(Event.UNDO)
    return plan.begin(snapshot)


def _has_begun(snapshot: Snapshot, stage: int) -> bool:
    has_run = any(task.execute_times for task in snapshot.sub_tasks_of(stage))
    return has_run or snapshot.nodes[stage].state.is_final


def pass_dag(snapshot: Snapshot) -> None:
    """Apply PASS to a FAILED DAG: every unfinished part becomes SUCCEED + PASS.

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
            raise OperatorRefused(
                f"{_PREFIX}.PassNotAllowed",
                f"'{node.name}' cannot be passed",
                remedy="mend the cause and RETRY the DAG, or ROLLBACK it",
            )
    for sub_task in list(snapshot.sub_tasks.values()):
        if sub_task.state is not State.SUCCEED:
            snapshot.reset_sub_task(sub_task, Event.PASS)
    for node in unfinished:
        snapshot.step_node(node.stage, Event.PASS)
    snapshot.step_dag(Event.PASS)
    snapshot.refresh_counters()


def pass_node(snapshot: Snapshot, stage: int, lock: LockRecord | None) -> list[plan.Start]:
    """Apply PASS to a node: its FAILED lanes continue in the next stage, later groups run again.

    Args:
        snapshot: a FAILED DAG.
        stage: the stage of the node.
        lock: the lock as the DAG will hold it; None when the operation does not need a lock.

    Raises:
        OperatorRefused: the DAG or the node is not FAILED, or the node cannot be passed.
    """
    prefix, node = "Task.Node.Operator", snapshot.nodes[stage]
    if snapshot.dag.state is not State.FAILED:
        raise OperatorRefused(
            f"{prefix}.PassNotFailedDag",
            f"{_name(snapshot)} is {snapshot.dag.state}, not FAILED",
            remedy="only a stage of a FAILED DAG can be passed; CANCEL a running one first",
        )
    if node.state is not State.FAILED:
        raise OperatorRefused(
            f"{prefix}.PassNotFailedNode",
            f"'{node.name}' is {node.state}, not FAILED",
            remedy=f"name a stage that is FAILED; the first one is number {snapshot.dag.stage}",
        )
    if not node.flags.can_pass:
        raise OperatorRefused(
            f"{prefix}.PassNotAllowed",
            f"'{node.name}' cannot be passed",
            remedy="mend the cause and RETRY the DAG, or ROLLBACK it",
        )
    if snapshot.was_undone:
        raise OperatorRefused(
            f"{prefix}.PassNotAllowed",
            f"a rollback of {_name(snapshot)} has begun: it cannot go on from '{node.name}'",
            remedy="ROLLBACK it again, RETRY it from the beginning, or PASS the DAG",
        )
    if lock is not None:
        plan.take_lock(snapshot, lock)
    for sub_task in list(snapshot.sub_tasks_of(stage)):
        if sub_task.state is not State.SUCCEED:
            snapshot.reset_sub_task(sub_task, Event.PASS)
    snapshot.step_node(node.stage, Event.PASS)
    snapshot.refresh_counters()
    _reopen_beside(snapshot, stage)
    snapshot.refresh_counters()
    starting = min(
        (s for s, node in snapshot.nodes.items() if not node.state.is_final), default=stage
    )
    snapshot.step_dag(Event.RETRY, stage=starting)
    return plan.begin(snapshot)


def _reopen_beside(snapshot: Snapshot, stage: int) -> None:
    """Reopen the nodes of the same group whose lanes continue, and reset every later group."""
    own = snapshot.group_of(stage)
    for other in range(own.first, snapshot.dag.max_stage + 1):
        if other not in own.stages:
            for sub_task in list(snapshot.sub_tasks_of(other)):
                snapshot.reset_sub_task(sub_task, Event.RETRY)
        node = snapshot.nodes[other]
        if node.state.is_final and (other not in own.stages or snapshot.waiting_in[other]):
            snapshot.step_node(node.stage, Event.RETRY)


def _name(snapshot: Snapshot) -> str:
    # The row id would add nothing: the caller identified the DAG by its id on the wire.
    return f"DAG '{snapshot.dag.name}'"


def refuse_operator(operator: str) -> OperatorRefused:
    """Return the error for an operator that is not supported."""
    return OperatorRefused(
        f"{_PREFIX}.NotSupport",
        f"Operator {operator} is not supported",
        remedy="ask for RETRY, ROLLBACK, CANCEL or PASS",
    )


def goes_on(operator: Operator, stage: int | None) -> bool:
    """Return True when steps of the operation run after this operator."""
    return operator in (Operator.RETRY, Operator.ROLLBACK) or (
        operator is Operator.PASS and stage is not None
    )
