"""Scheduling decisions: the consequences of an event for one DAG.

Each function changes the snapshot, which collects the changes to write, and returns the
attempts to start once those changes are durable. Planning one event touches the sub-task of
the event, its lane, and the nodes of its group, so the cost does not grow with the number of
sub-tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from dagengine.model.changes import (
    AttemptClosed,
    LockReleased,
    LockTaken,
    LogAppended,
    TargetUnconfirmed,
)
from dagengine.model.outcome import (
    Cancelled,
    Failed,
    Interrupted,
    Json,
    Outcome,
    ResultUnknown,
    Succeeded,
    TimedOut,
)
from dagengine.model.records import (
    AttemptRecord,
    LockRecord,
    LogRecord,
    SubTaskRecord,
    UnconfirmedRecord,
)
from dagengine.model.states import Operator, State
from dagengine.rules import messages
from dagengine.rules.snapshot import Group, Snapshot
from dagengine.rules.state_machine import Event


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """An attempt to start, of a sub-task in its current state in the snapshot.

    Attributes:
        resumed: the previous attempt was interrupted.
        confirm_only: the DAG is being cancelled; only confirm that nothing of the step still runs.
        undo: undo the work of the step, for a rollback.
    """

    sub_task_id: int
    resumed: bool = False
    confirm_only: bool = False
    undo: bool = False


def begin(snapshot: Snapshot) -> list[AttemptStart]:
    """Start a READY DAG, or end it if it was cancelled before the start."""
    if snapshot.is_cancelling:
        _finish_cancelled(snapshot)
        return []
    snapshot.step_dag(Event.START)
    if snapshot.is_undoing:
        return _undo_next(snapshot)
    return _start_group(snapshot, snapshot.group_of(snapshot.dag.stage))


def end_attempt(
    snapshot: Snapshot, sub_task_id: int, attempt_no: int, outcome: Outcome
) -> list[AttemptStart]:
    """Record the end of an attempt. The outcome of an attempt that is not current is ignored."""
    sub_task = snapshot.sub_tasks.get(sub_task_id)
    if (
        sub_task is None
        or sub_task.state is not State.RUNNING
        or sub_task.attempt_no != attempt_no
        or isinstance(outcome, Interrupted)
    ):
        return []
    problem = _problem_of(outcome)
    close_attempt(snapshot, sub_task, type(outcome).__name__, problem)
    _end_sub_task(snapshot, sub_task, outcome, problem)
    if snapshot.is_undoing:
        return _continue_undo(snapshot, sub_task.stage)
    return _continue_group(snapshot, sub_task)


def _end_sub_task(
    snapshot: Snapshot, sub_task: SubTaskRecord, outcome: Outcome, problem: str
) -> None:
    if isinstance(outcome, Succeeded):
        snapshot.end_sub_task(
            sub_task,
            Event.SUCCEED,
            data=outcome.data,
            evidence=outcome.evidence or None,
            summary=outcome.summary,
        )
    else:
        snapshot.add_change(_log_line(sub_task, problem, snapshot.now))
        if isinstance(outcome, ResultUnknown) and sub_task.target is not None:
            name = snapshot.nodes[sub_task.stage].name
            mark = UnconfirmedRecord(sub_task.target, sub_task.dag_id, name, snapshot.now)
            snapshot.add_change(TargetUnconfirmed(mark))
        evidence = _evidence_of(outcome)
        snapshot.end_sub_task(sub_task, Event.FAIL, evidence=evidence or None)


def take_lock(snapshot: Snapshot, lock: LockRecord) -> None:
    """Give the DAG its lock; the write is guarded by the lock being free."""
    snapshot.add_change(LockTaken(lock))
    snapshot.set_dag(snapshot.dag._replace(lock_token=lock.token, last_lock_token=lock.token))


def can_take_lock(snapshot: Snapshot) -> bool:
    """Return True for a DAG that waits for its lock and is not ending."""
    return (
        snapshot.dag.state is State.RUNNING
        and not snapshot.is_cancelling
        and (not snapshot.dag.lock_token)
    )


def cancel(snapshot: Snapshot) -> list[int]:
    """Cancel an unfinished DAG and return the sub-tasks whose attempts must be ended."""
    snapshot.step_dag(Event.CANCEL)
    running = [sub_task.sub_task_id for sub_task in snapshot.running]
    unfinished = [node for node in snapshot.nodes.values() if not node.state.is_final]
    for node in [n for n in unfinished if n.state is State.RUNNING] or unfinished[:1]:
        snapshot.step_node(node.stage, Event.CANCEL)
    if not running:
        _finish_cancelled(snapshot)
        return running
    # A node of a lane group may have waited for lanes that will no longer reach it.
    _close_nodes(snapshot, snapshot.group_of(snapshot.dag.stage))
    _move_stage(snapshot)
    return running


# --- internal functions ---


def _start_group(snapshot: Snapshot, group: Group) -> list[AttemptStart]:
    """Start a group: its normal stage, or each lane without a failure at its next stage."""
    starts: list[AttemptStart] = []
    for sub_task in list(_first_unfinished(snapshot, group)):
        starts.append(_start_sub_task(snapshot, sub_task))
    _close_nodes(snapshot, group)  # a retry may have opened a node that no lane reaches
    _move_stage(snapshot)
    return starts if starts else _finish_group(snapshot, group)


def _first_unfinished(snapshot: Snapshot, group: Group) -> Iterator[SubTaskRecord]:
    lanes: tuple[str | None, ...] = snapshot.healthy_targets if group.is_lanes else (None,)
    for lane in lanes:
        if (sub_task := _next_in_lane(snapshot, group, lane)) is not None:
            yield sub_task


def _next_in_lane(snapshot: Snapshot, group: Group, lane: str | None) -> SubTaskRecord | None:
    """Return the first PENDING sub-task of a lane, after those that succeeded or were passed."""
    for stage in group.stages:
        sub_task = snapshot.sub_task_at(stage, lane)
        if sub_task is not None and sub_task.state is State.PENDING:
            return sub_task
    return None


def _start_sub_task(snapshot: Snapshot, sub_task: SubTaskRecord) -> AttemptStart:
    node = snapshot.nodes[sub_task.stage]
    if node.state is State.PENDING:
        snapshot.step_node(node.stage, Event.START)
    return open_attempt(snapshot, sub_task, Event.START)


def open_attempt(
    snapshot: Snapshot,
    sub_task: SubTaskRecord,
    event: Event,
    *,
    confirm_only: bool = False,
) -> AttemptStart:
    """Open the sub-task's next attempt because of an event (START, RESUME or UNDO)."""
    running = snapshot.begin_sub_task(sub_task, event)
    undo = running.operator is Operator.ROLLBACK
    return AttemptStart(running.sub_task_id, event is Event.RESUME, confirm_only, undo)


def close_attempt(snapshot: Snapshot, sub_task: SubTaskRecord, outcome: str, error: str) -> None:
    """Record an attempt that has ended."""
    attempt = AttemptRecord(
        sub_task.sub_task_id,
        sub_task.attempt_no,
        outcome,
        error or None,
        sub_task.start_at,
        snapshot.now,
    )
    snapshot.add_change(AttemptClosed(attempt))


def _continue_group(snapshot: Snapshot, ended: SubTaskRecord) -> list[AttemptStart]:
    """Plan the consequences within the group of a sub-task that has just ended."""
    group = snapshot.group_of(ended.stage)
    starts: list[AttemptStart] = []
    current = snapshot.sub_tasks[ended.sub_task_id]
    can_continue = current.state is State.SUCCEED and not snapshot.is_cancelling
    if can_continue and (following := _next_in_lane(snapshot, group, ended.target)) is not None:
        starts.append(_start_sub_task(snapshot, following))
    _close_nodes(snapshot, group)
    _move_stage(snapshot)
    if starts or any(not snapshot.is_over(stage) for stage in group.stages):
        return starts
    if snapshot.is_cancelling:
        _finish_cancelled(snapshot)
        return []
    return _finish_group(snapshot, group)


def _close_nodes(snapshot: Snapshot, group: Group) -> None:
    for stage in group.stages:
        if _is_left_out(snapshot, stage):
            snapshot.step_node(stage, Event.START)
        node = snapshot.nodes[stage]
        if node.state is State.RUNNING and snapshot.is_over(stage):
            is_complete = not snapshot.failed_in[stage] and not snapshot.waiting_in[stage]
            # After a cancelled rollback, a node that was undone is not complete, although its
            # undo steps succeeded.
            undone = snapshot.is_cancelling and any(
                task.operator is Operator.ROLLBACK for task in snapshot.sub_tasks_of(stage)
            )
            event = Event.SUCCEED if is_complete and not undone else Event.FAIL
            snapshot.step_node(node.stage, event)


def _is_left_out(snapshot: Snapshot, stage: int) -> bool:
    """Return True for a PENDING node that no lane will reach although other lanes ended there.

    This happens when a retry opened the node for lanes that then failed before they reached it.
    """
    return (
        snapshot.nodes[stage].state is State.PENDING
        and snapshot.is_over(stage)
        and not snapshot.is_cancelling
        and any(task.state.is_final for task in snapshot.sub_tasks_of(stage))
    )


def _undo_next(snapshot: Snapshot) -> list[AttemptStart]:
    """Start to undo the highest stage that still has something to undo."""
    for stage in reversed(snapshot.nodes):
        node = snapshot.nodes[stage]
        if node.state is not State.PENDING or node.operator is not Operator.ROLLBACK:
            continue
        snapshot.set_dag(snapshot.dag._replace(stage=stage))
        snapshot.step_node(node.stage, Event.START)
        starts = [
            open_attempt(snapshot, task, Event.UNDO)
            for task in list(snapshot.sub_tasks_of(stage))
            if _has_something_to_undo(task)
        ]
        if starts:
            return starts
        snapshot.step_node(stage, Event.SUCCEED)
    _end_dag(snapshot, Event.SUCCEED, 1)
    return []


def _has_something_to_undo(sub_task: SubTaskRecord) -> bool:
    """Return True for a sub-task that has run and is not undone.

    It may be PENDING: a retry may have reset it and not reached it again.
    """
    is_undone = sub_task.state is State.SUCCEED and sub_task.operator is Operator.ROLLBACK
    return sub_task.execute_times > 0 and not is_undone


def _continue_undo(snapshot: Snapshot, stage: int) -> list[AttemptStart]:
    """Continue a rollback after an attempt to undo has ended."""
    if snapshot.running_in[stage]:
        return []
    failed = any(
        task.state is State.FAILED and task.operator is Operator.ROLLBACK
        for task in snapshot.sub_tasks_of(stage)
    )
    event = Event.FAIL if failed else Event.SUCCEED
    snapshot.step_node(stage, event)
    if not failed:
        return _undo_next(snapshot)
    _end_dag(snapshot, Event.FAIL, stage)
    return []


def _finish_group(snapshot: Snapshot, group: Group) -> list[AttemptStart]:
    if group.is_lanes:
        is_clear = bool(snapshot.healthy_targets)
    else:
        is_clear = snapshot.nodes[group.first].state is State.SUCCEED
    following = snapshot.group_after(group)
    if is_clear and following is not None:
        return _start_group(snapshot, following)
    failed = [node.stage for node in snapshot.nodes.values() if node.state is State.FAILED]
    _end_dag(snapshot, Event.FAIL if failed else Event.SUCCEED, min(failed, default=None))
    return []


def _finish_cancelled(snapshot: Snapshot) -> None:
    """End a cancelled DAG after its last attempt; its first unfinished node gets the CANCEL."""
    unfinished = [node for node in snapshot.nodes.values() if not node.state.is_final]
    failed = [node.stage for node in snapshot.nodes.values() if node.state is State.FAILED]
    if not unfinished and not failed:
        _end_dag(snapshot, Event.SUCCEED, None)
        return
    if unfinished and not failed:
        node = unfinished[0]
        if node.operator is not snapshot.dag.operator:
            snapshot.step_node(node.stage, Event.CANCEL)
        snapshot.step_node(node.stage, Event.FAIL)
        failed = [node.stage]
    _end_dag(snapshot, Event.FAIL, min(failed))


def _end_dag(snapshot: Snapshot, event: Event, stage: int | None) -> None:
    """End the DAG and release its lock in one batch."""
    dag = snapshot.dag
    if dag.lock_key is not None and dag.lock_token:
        snapshot.add_change(LockReleased(dag.lock_key, dag.dag_id, dag.lock_token, snapshot.now))
    snapshot.step_dag(event, stage=stage or dag.max_stage, lock_token=0)
    snapshot.refresh_counters()  # during a rollback the counters counted undo attempts


def _move_stage(snapshot: Snapshot) -> None:
    """Move the DAG's stage to its first unfinished node."""
    stage = snapshot.dag.stage
    while stage < snapshot.dag.max_stage and snapshot.nodes[stage].state.is_final:
        stage += 1
    if stage != snapshot.dag.stage:
        snapshot.set_dag(snapshot.dag._replace(stage=stage))


def _problem_of(outcome: Outcome) -> str:
    match outcome:
        case Failed(problem) | TimedOut(problem) | ResultUnknown(problem):
            return problem.render()
        case Cancelled():
            return messages.SUB_TASK_CANCELLED()
        case Succeeded() | Interrupted():
            return ""
        case _:
            assert_never(outcome)


def _evidence_of(outcome: Outcome) -> Json:
    match outcome:
        case Succeeded() | Failed() | TimedOut() | ResultUnknown():
            return outcome.evidence
        case Cancelled() | Interrupted():
            return {}
        case _:
            assert_never(outcome)


def _log_line(sub_task: SubTaskRecord, content: str, at: datetime) -> LogAppended:
    return LogAppended(
        LogRecord(
            log_id=0,
            sub_task_id=sub_task.sub_task_id,
            attempt_no=sub_task.attempt_no,
            execute_times=sub_task.execute_times,
            content=content,
            created_at=at,
        )
    )
