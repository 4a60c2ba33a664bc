"""A DAG that the scheduler works on, and what its unfinished sub-tasks wait for."""

from __future__ import annotations

from dataclasses import dataclass, field

from dagengine.engine import user_messages as messages
from dagengine.engine.deadlines import StartTimes
from dagengine.engine.messages import Message
from dagengine.model.ids import OwnIds
from dagengine.model.records import LockRecord
from dagengine.model.stage_kinds import Wait
from dagengine.rules import waits
from dagengine.rules.snapshot import Snapshot


@dataclass(slots=True)
class ActiveDag:
    """A DAG that the scheduler works on.

    Attributes:
        snapshot: its in-memory state; read again when a write turns out to be stale.
        inbox: messages that have not been decided yet.
        begun_s: start times from which time limits are measured.
        reported_waits: what running steps wait for, by sub-task id and attempt number.
        last_decision_failed: the last decision could not be made or written.
    """

    snapshot: Snapshot
    inbox: list[Message] = field(default_factory=list)
    begun_s: StartTimes = field(default_factory=dict)
    reported_waits: dict[tuple[int, int], Wait] = field(default_factory=dict)
    last_decision_failed: bool = False

    def explain_wait(self, sub_task_id: int) -> Wait | None:
        """Return what an unfinished sub-task waits for; None when it has ended or is unknown."""
        sub_task = self.snapshot.sub_tasks.get(sub_task_id)
        if sub_task is None:
            return None
        reported = self.reported_waits.get((sub_task_id, sub_task.attempt_no))
        return waits.explain_wait(self.snapshot, sub_task, reported)


def describe_holder(holder: LockRecord, active_dag: ActiveDag | None, ids: OwnIds) -> str:
    """Describe the holder of a lock in one sentence: DAG, stage, waits, start of the hold.

    Args:
        holder: a lock that is held.
        active_dag: the DAG that holds it; None when it is not active.
        ids: renders the DAG's id.
    """
    since = holder.since_at.astimezone().isoformat(timespec="seconds")
    fields = {"name": holder.reason, "dag_id": ids.render(holder.dag_id or 0), "since": since}
    if active_dag is None:
        return messages.HOLDER(**fields)
    snapshot = active_dag.snapshot
    dag, node = snapshot.dag, snapshot.nodes[snapshot.dag.stage]
    at_stage = {**fields, "stage": dag.stage, "stages": dag.max_stage, "stage_name": node.name}
    explained = [active_dag.explain_wait(task.sub_task_id) for task in snapshot.running]
    subjects = sorted({f"{wait.kind} {wait.on}" for wait in explained if wait is not None})
    if not subjects:
        return messages.HOLDER_AT_STAGE(**at_stage)
    return messages.HOLDER_WAITING(**at_stage, waits=", ".join(subjects[:3]))
