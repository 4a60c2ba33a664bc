"""Operators that a user applies to a DAG, and their effects (protocol 5.3, design section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from dagengine.error_codes import Code
from dagengine.errors import OperatorRefused
from dagengine.model.records import LockRecord, SubTaskRecord
from dagengine.model.states import Operator, State
from dagengine.rules import messages
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.rules.state_machine import Event


def cancel_dag(snapshot: Snapshot) -> list[int]:
    """Apply CANCEL and return the sub-tasks whose attempts must be ended.

    Raises:
        OperatorRefused: the DAG has ended, or a stage that has begun cannot be cancelled.
    """
    if snapshot.dag.state.is_final:
        raise OperatorRefused(
            Code.DAG_CANCEL_FINISHED_DAG,
            messages.DAG_ENDED(dag=_name(snapshot), state=snapshot.dag.state),
            remedy=messages.NOTHING_TO_CANCEL(),
        )
    for node in snapshot.nodes.values():
        has_begun = node.state is not State.PENDING or node.stage == snapshot.dag.stage
        if has_begun and not node.flags.can_cancel:
            raise OperatorRefused(
                Code.DAG_CANCEL_NOT_ALLOWED,
                messages.STAGE_NOT_CANCELLABLE(stage=node.name),
                remedy=messages.WAIT_FOR_END(),
            )
    if snapshot.is_cancelling:
        return []
    return plan.cancel(snapshot)


def retry_dag(snapshot: Snapshot, lock: LockRecord | None) -> list[plan.AttemptStart]:
    """Apply RETRY: failed lanes start again at their first stage, later normal stages run again.

    Args:
        snapshot: a FAILED DAG.
        lock: the lock as the DAG will hold it; None when the operation does not need a lock.

    Raises:
        OperatorRefused: the DAG is not FAILED, or a stage that would run again cannot be retried.
    """
    if snapshot.dag.state is not State.FAILED:
        raise OperatorRefused(
            Code.DAG_RETRY_NOT_FAILED_DAG,
            messages.DAG_NOT_FAILED(dag=_name(snapshot), state=snapshot.dag.state),
            remedy=messages.RETRY_FAILED_ONLY(),
        )
    entered = _entered_by_retry(snapshot)
    for sub_task in entered:
        node = snapshot.nodes[sub_task.stage]
        if sub_task.execute_times and not node.flags.can_retry:
            raise OperatorRefused(
                Code.DAG_RETRY_NOT_ALLOWED,
                messages.STAGE_NOT_RETRYABLE(stage=node.name),
                remedy=messages.ROLLBACK_OR_FINISH_BY_HAND(),
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
) -> list[plan.AttemptStart]:
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
            Code.DAG_ROLLBACK_NOT_FAILED_DAG,
            messages.DAG_NOT_FAILED(dag=_name(snapshot), state=snapshot.dag.state),
            remedy=messages.ROLLBACK_FAILED_ONLY(),
        )
    begun_nodes = [node for node in snapshot.nodes.values() if _has_begun(snapshot, node.stage)]
    for node in begun_nodes:
        if not node.flags.can_rollback:
            raise OperatorRefused(
                Code.DAG_ROLLBACK_NOT_ALLOWED,
                messages.STAGE_NOT_REVERSIBLE(stage=node.name),
                remedy=messages.RETRY_OR_UNDO_BY_HAND(),
            )
    if (
        before is not None
        and snapshot.dag.last_lock_token
        and before.token != snapshot.dag.last_lock_token
    ):
        raise OperatorRefused(
            Code.DAG_ROLLBACK_NOT_ALLOWED,
            messages.LOCK_WAS_TAKEN(key=before.key, dag=_name(snapshot)),
            remedy=messages.SEE_NEWEST_DAG(),
        )
    if lock is not None:
        plan.take_lock(snapshot, lock)
    for node in begun_nodes:
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
            Code.DAG_PASS_NOT_FAILED_DAG,
            messages.DAG_NOT_FAILED(dag=_name(snapshot), state=snapshot.dag.state),
            remedy=messages.PASS_FAILED_ONLY(),
        )
    unfinished = [node for node in snapshot.nodes.values() if node.state is not State.SUCCEED]
    for node in unfinished:
        if not node.flags.can_pass:
            raise OperatorRefused(
                Code.DAG_PASS_NOT_ALLOWED,
                messages.STAGE_NOT_PASSABLE(stage=node.name),
                remedy=messages.RETRY_OR_ROLLBACK(),
            )
    for sub_task in list(snapshot.sub_tasks.values()):
        if sub_task.state is not State.SUCCEED:
            snapshot.reset_sub_task(sub_task, Event.PASS)
    for node in unfinished:
        snapshot.step_node(node.stage, Event.PASS)
    snapshot.step_dag(Event.PASS)
    snapshot.refresh_counters()


def pass_node(snapshot: Snapshot, stage: int, lock: LockRecord | None) -> list[plan.AttemptStart]:
    """Apply PASS to a node: its FAILED lanes continue in the next stage, later groups run again.

    Args:
        snapshot: a FAILED DAG.
        stage: the stage of the node.
        lock: the lock as the DAG will hold it; None when the operation does not need a lock.

    Raises:
        OperatorRefused: the DAG or the node is not FAILED, or the node cannot be passed.
    """
    node = snapshot.nodes[stage]
    if snapshot.dag.state is not State.FAILED:
        raise OperatorRefused(
            Code.NODE_PASS_NOT_FAILED_DAG,
            messages.DAG_NOT_FAILED(dag=_name(snapshot), state=snapshot.dag.state),
            remedy=messages.PASS_STAGE_OF_FAILED_ONLY(),
        )
    if node.state is not State.FAILED:
        raise OperatorRefused(
            Code.NODE_PASS_NOT_FAILED_NODE,
            messages.STAGE_NOT_FAILED(stage=node.name, state=node.state),
            remedy=messages.NAME_FAILED_STAGE(number=snapshot.dag.stage),
        )
    if not node.flags.can_pass:
        raise OperatorRefused(
            Code.NODE_PASS_NOT_ALLOWED,
            messages.STAGE_NOT_PASSABLE(stage=node.name),
            remedy=messages.RETRY_OR_ROLLBACK(),
        )
    if snapshot.was_undone:
        raise OperatorRefused(
            Code.NODE_PASS_NOT_ALLOWED,
            messages.ROLLBACK_STARTED(dag=_name(snapshot), stage=node.name),
            remedy=messages.ROLLBACK_RETRY_OR_PASS(),
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
    return messages.DAG_NAME(name=snapshot.dag.name)


def refuse_operator(operator: str) -> OperatorRefused:
    """Return the error for an operator that is not supported."""
    return OperatorRefused(
        Code.DAG_NOT_SUPPORT,
        messages.OPERATOR_UNKNOWN(operator=operator),
        remedy=messages.SEND_OPERATOR(),
    )


def goes_on(operator: Operator, stage: int | None) -> bool:
    """Return True when steps of the operation run after this operator."""
    return operator in (Operator.RETRY, Operator.ROLLBACK) or (
        operator is Operator.PASS and stage is not None
    )
