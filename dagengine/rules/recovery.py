"""Recovery of attempts that are RUNNING in the store but no longer run in this process."""

from __future__ import annotations

from collections.abc import Collection

from dagengine.error_codes import Code
from dagengine.model.outcome import Failed, Interrupted, Problem, ResultUnknown
from dagengine.model.states import State
from dagengine.rules import messages
from dagengine.rules.planning import AttemptStart, begin, close_attempt, end_attempt, open_attempt
from dagengine.rules.snapshot import Snapshot
from dagengine.rules.state_machine import Event

CANNOT_CONTINUE = Problem(
    Code.UNEXPECTED,
    messages.STEP_CANNOT_CONTINUE(),
    messages.CHECK_EFFECT_THEN_RETRY(),
)


def resume(snapshot: Snapshot, *, lost: Collection[int] | None = None) -> list[AttemptStart]:
    """Resume the attempts that no longer run although they are RUNNING in the store.

    An attempt of a stage that cannot continue ends as ResultUnknown instead.

    Args:
        snapshot: as read from the store.
        lost: the sub-tasks of the lost attempts; None at start-up, when all attempts are lost.
    """
    if snapshot.dag.state is State.READY:
        return begin(snapshot)
    starts: list[AttemptStart] = []
    for sub_task in snapshot.running:
        if lost is not None and sub_task.sub_task_id not in lost:
            continue
        if not snapshot.nodes[sub_task.stage].flags.can_continue and not snapshot.is_cancelling:
            # Commands of the attempt may still run on the server, so its result is unknown.
            unknown = ResultUnknown(CANNOT_CONTINUE)
            starts += end_attempt(snapshot, sub_task.sub_task_id, sub_task.attempt_no, unknown)
            continue
        close_attempt(snapshot, sub_task, Interrupted.__name__, "")
        starts.append(
            open_attempt(snapshot, sub_task, Event.RESUME, confirm_only=snapshot.is_cancelling)
        )
    return starts


def give_up(snapshot: Snapshot, refusal: Problem) -> None:
    """Fail a DAG whose operation is not registered; none of its steps run.

    Args:
        snapshot: as read from the store.
        refusal: why the DAG cannot run in this engine.
    """
    interrupted = {sub_task.sub_task_id for sub_task in snapshot.running}
    if snapshot.dag.state is State.READY:
        begin(snapshot)
    while running := snapshot.running:
        first = running[0]  # its end may start a following sub-task; a later iteration ends that
        has_run = first.sub_task_id in interrupted
        outcome = ResultUnknown(refusal) if has_run else Failed(refusal)
        end_attempt(snapshot, first.sub_task_id, first.attempt_no, outcome)
