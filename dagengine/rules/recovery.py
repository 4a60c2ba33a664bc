"""Attempts that are gone, while the store calls them RUNNING: what follows from that."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from dagengine.model.outcome import Failed, Interrupted, Problem, ResultUnknown
from dagengine.model.states import State
from dagengine.rules.planning import Start, begin, close_attempt, end_attempt, open_attempt
from dagengine.rules.snapshot import Snapshot
from dagengine.rules.state_machine import Event

CANNOT_CONTINUE = Problem(
    "Common.Unexpected",
    "the step was interrupted by a restart of the controller and cannot continue",
    "look at the server, then RETRY",
)


def resume(
    snapshot: Snapshot, now: datetime, *, lost: Collection[int] | None = None
) -> list[Start]:
    """Attempts are gone that the store calls RUNNING: they go on, as far as they may.

    Args:
        snapshot: as read from the store.
        now: the present.
        lost: the sub-tasks they are of; None when the engine came up, and all of them are gone.
    """
    if snapshot.dag.state is State.READY:
        return begin(snapshot, now)
    starts: list[Start] = []
    for sub_task in snapshot.running:
        if lost is not None and sub_task.sub_task_id not in lost:
            continue
        if not snapshot.nodes[sub_task.stage].flags.can_continue and not snapshot.is_cancelling:
            # What it had begun may go on by itself, so nobody knows how it ended.
            unknown = ResultUnknown(CANNOT_CONTINUE)
            starts += end_attempt(snapshot, sub_task.sub_task_id, sub_task.attempt_no, unknown, now)
            continue
        close_attempt(snapshot, sub_task, Interrupted.__name__, "", now)
        starts.append(
            open_attempt(snapshot, sub_task, Event.RESUME, now, settle_only=snapshot.is_cancelling)
        )
    return starts


def give_up(snapshot: Snapshot, now: datetime, refusal: Problem) -> None:
    """The engine came up without this DAG's operation: it ends, and no step of it is run.

    Args:
        snapshot: as read from the store.
        now: the present.
        refusal: why it cannot be run here.
    """
    interrupted = {sub_task.sub_task_id for sub_task in snapshot.running}
    if snapshot.dag.state is State.READY:
        begin(snapshot, now)
    while running := snapshot.running:
        first = running[0]  # what would follow it begins, and ends in its turn
        has_run = first.sub_task_id in interrupted
        outcome = ResultUnknown(refusal) if has_run else Failed(refusal)
        end_attempt(snapshot, first.sub_task_id, first.attempt_no, outcome, now)
