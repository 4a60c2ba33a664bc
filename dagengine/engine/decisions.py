"""Decisions about one DAG's events. The scheduler writes them and runs their side effects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog

from dagengine.engine.lock_table import LockTable
from dagengine.engine.messages import (
    ActiveDag,
    AttemptEnded,
    AttemptsLost,
    DagRecovered,
    ForcePassRequested,
    LockRequested,
    OperatorRequested,
    SchedulerEvent,
    refuse,
    resolve,
)
from dagengine.errors import ApiError, Conflict, LockHeld, OperatorRefused
from dagengine.model.changes import AuditAppended, Batch
from dagengine.model.records import AuditRecord, LockRecord
from dagengine.model.states import Operator, State
from dagengine.model.step import LockResult
from dagengine.rules import operators, recovery
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.runtime.clock import Clock

_log = structlog.get_logger("dagengine.engine")


@dataclass(slots=True)
class Decision:
    """The changes of one DAG, and the side effects to run once `batch` is durable.

    Attributes:
        live: the DAG.
        batch: the changes to write; None when nothing changed.
        starts: attempts to start.
        cancels: sub-tasks whose attempts must be ended.
        posts: events for other DAGs.
        confirm: functions that send a reply to a waiting caller.
        lock_successor: the lock successor, which took the lock in the same batch.
        events: the events that were not rejected; they are decided again if the batch is stale.
        failure: why the decision could not be made or written.
    """

    live: ActiveDag
    batch: Batch | None = None
    starts: list[plan.Start] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    posts: list[tuple[int, SchedulerEvent]] = field(default_factory=list)
    confirm: list[Callable[[], None]] = field(default_factory=list)
    lock_successor: ActiveDag | None = None
    events: list[SchedulerEvent] = field(default_factory=list)
    failure: Exception | None = None


class DecisionMaker:
    """Applies a DAG's events to its snapshot and returns the side effects to run after the commit.

    Rejections are reported immediately because they change nothing.

    Args:
        live: the active DAGs.
        clock: source of time.
        locks: the locks as of the last commit.
        generic_id: returns the id with which messages name a DAG.
    """

    def __init__(
        self,
        live: Mapping[int, ActiveDag],
        clock: Clock,
        locks: LockTable,
        generic_id: Callable[[int], str],
    ) -> None:
        self._live = live
        self._clock = clock
        self._locks = locks
        self._generic_id = generic_id
        self._successors: dict[int, asyncio.Future[LockResult]] = {}  # replies to lock successors

    def decide(self, live: ActiveDag) -> Decision:
        """Decide all events in the DAG's inbox."""
        decision = Decision(live)
        events, live.inbox = live.inbox, []
        live.snapshot.at(self._clock.now())
        try:
            for event in events:
                try:
                    self._decide_one(decision, event)
                    decision.events.append(event)
                except ApiError as exc:
                    refuse(event, exc)
            if live.snapshot.dag.state.is_final and live.snapshot.dag.lock_successor_id is not None:
                decision.lock_successor = self._hand_over_lock(live.snapshot)
            decision.batch = _join(live.snapshot, decision.lock_successor)
        except Exception as exc:  # noqa: BLE001  # a bug affects one DAG, not the whole pass
            decision.events, decision.failure = events, exc
        return decision

    def drop(self, dag_id: int, event: SchedulerEvent) -> tuple[int, SchedulerEvent] | None:
        """Discard an event whose DAG has ended; returns an event to post instead, if any."""
        if isinstance(event, ForcePassRequested):
            reply = self._successors.pop(event.successor_id, None)
            # The lock may be free now: the successor requests it in the regular way.
            return None if reply is None else (event.successor_id, LockRequested(reply))
        what = f"DAG {self._generic_id(dag_id)} has just ended"
        refuse(event, Conflict(what, remedy="look at it again"))
        return None

    def forget(self, dag_id: int) -> None:
        """Forget a DAG that has ended, as it no longer waits for a lock."""
        self._successors.pop(dag_id, None)

    def notify_lock_successor(self, successor: ActiveDag) -> None:
        """Inform the step of a lock successor that its DAG now holds the lock."""
        if (reply := self._successors.pop(successor.snapshot.dag.dag_id, None)) is not None:
            resolve(reply, LockResult(None, was_forced=True))

    # --- one event ---------------------------------------------------------------------------

    def _decide_one(self, decision: Decision, event: SchedulerEvent) -> None:
        snapshot = decision.live.snapshot
        match event:
            case DagRecovered(refusal) if refusal is not None:
                recovery.give_up(snapshot, refusal)
            case DagRecovered():
                decision.starts += recovery.resume(snapshot)
            case AttemptsLost(sub_task_ids):
                decision.starts += recovery.resume(snapshot, lost=sub_task_ids)
            case AttemptEnded(sub_task_id, attempt_no, outcome):
                decision.starts += plan.end_attempt(snapshot, sub_task_id, attempt_no, outcome)
            case LockRequested(reply):
                if (answer := self._on_lock_requested(decision, event)) is not None:
                    decision.confirm.append(partial(resolve, reply, answer))
            case ForcePassRequested():
                self._on_force_pass(decision, event)
            case OperatorRequested(operator, reply, audit, stage):
                self._operate(decision, operator, stage)
                snapshot.add_change(AuditAppended(audit))
                decision.confirm.append(partial(resolve, reply, None))

    def _operate(self, decision: Decision, operator: Operator, stage: int | None) -> None:
        snapshot = decision.live.snapshot
        match operator:
            case Operator.CANCEL:
                decision.cancels += operators.cancel_dag(snapshot)
            case Operator.RETRY:
                lock = self._lock_for_more(snapshot)
                decision.starts += operators.retry_dag(snapshot, lock)
            case Operator.ROLLBACK:
                before = self._locks.find(snapshot.dag.lock_key)
                lock = self._lock_for_more(snapshot)
                decision.starts += operators.rollback_dag(snapshot, lock, before)
            case Operator.PASS if stage is not None:
                lock = self._lock_for_more(snapshot)
                decision.starts += operators.pass_node(snapshot, stage, lock)
            case Operator.PASS:
                operators.pass_dag(snapshot)
            case Operator.RUN:
                raise operators.refuse_operator(operator)

    # --- the lock ----------------------------------------------------------------------------

    def _on_lock_requested(self, decision: Decision, event: LockRequested) -> LockResult | None:
        """Return the result of a step's lock request; None when the step must wait for it."""
        snapshot = decision.live.snapshot
        dag, key = snapshot.dag, snapshot.dag.lock_key
        if key is None or dag.lock_token:
            return LockResult(None)
        if dag.state.is_final or event.reply.done():
            return LockResult(None)  # the step has ended: a lock taken now would not be released
        holder = self._locks.holder(key)
        if holder is None or holder.dag_id is None:
            plan.take_lock(snapshot, self._next_lock(snapshot, key))
            return LockResult(None)
        if holder.dag_id not in event.force_pass_ids or holder.dag_id not in self._live:
            return LockResult(holder)
        self._successors[dag.dag_id] = event.reply
        why = f"forcePassDag of DAG {self._generic_id(dag.dag_id)}"
        audit = AuditRecord(0, snapshot.now, holder.dag_id, None, "FORCE_PASS", event.by, why)
        decision.posts.append((holder.dag_id, ForcePassRequested(dag.dag_id, audit)))
        return None

    def _on_force_pass(self, decision: Decision, event: ForcePassRequested) -> None:
        """Cancel the holder of a lock and record its lock successor.

        A holder that cannot be cancelled stays unchanged, and the successor's step gets the holder.
        """
        snapshot = decision.live.snapshot
        if snapshot.dag.state.is_final:
            if (post := self.drop(snapshot.dag.dag_id, event)) is not None:
                decision.posts.append(post)
            return
        before = snapshot.dag.lock_successor_id
        if before == event.successor_id:
            return
        reply = self._successors.get(event.successor_id)
        try:
            if before is not None and before in self._live:
                raise Conflict(f"DAG {self._generic_id(before)} already waits for its lock")
            decision.cancels += operators.cancel_dag(snapshot)
        except ApiError as exc:
            _log.warning("force_pass_failed", dag_id=snapshot.dag.dag_id, error=str(exc))
            if reply is not None:
                holder = self._locks.holder(snapshot.dag.lock_key or "")
                decision.confirm.append(partial(resolve, reply, LockResult(holder)))
            return
        snapshot.set_dag(snapshot.dag._replace(lock_successor_id=event.successor_id))
        snapshot.add_change(AuditAppended(event.audit))

    def _hand_over_lock(self, snapshot: Snapshot) -> ActiveDag | None:
        """Pass a force-passed DAG that has ended, and give its lock to the successor if possible.

        Returns:
            The successor that took the lock, or None.
        """
        successor_id, key = snapshot.dag.lock_successor_id, snapshot.dag.lock_key
        if snapshot.dag.state is State.FAILED:
            try:
                operators.pass_dag(snapshot)
            except OperatorRefused as exc:
                _log.warning("holder_not_passed", dag_id=snapshot.dag.dag_id, error=str(exc))
        snapshot.set_dag(snapshot.dag._replace(lock_successor_id=None))
        successor = self._live.get(successor_id or 0)
        if successor is None or key is None or not plan.can_take_lock(successor.snapshot):
            return None
        successor.snapshot.at(snapshot.now)
        plan.take_lock(successor.snapshot, self._next_lock(successor.snapshot, key))
        return successor

    def _lock_for_more(self, snapshot: Snapshot) -> LockRecord | None:
        """Return the lock as the DAG will hold it when it continues."""
        key = snapshot.dag.lock_key
        if key is None or snapshot.dag.state is not State.FAILED:
            return None  # a DAG that is not FAILED: the operator's rule rejects it
        holder = self._locks.holder(key)
        if holder is not None and holder.dag_id != snapshot.dag.dag_id:
            raise LockHeld(
                f"'{holder.reason}' {self._generic_id(holder.dag_id or 0)} holds the lock '{key}'",
                remedy="wait for it or cancel it, then retry",
            )
        return self._next_lock(snapshot, key)

    def _next_lock(self, snapshot: Snapshot, key: str) -> LockRecord:
        return self._locks.next(key, snapshot.dag.dag_id, snapshot.dag.name, snapshot.now)


def _join(snapshot: Snapshot, successor: ActiveDag | None) -> Batch | None:
    """Return one batch with the changes of a DAG and of its lock successor, written atomically."""
    batch = snapshot.drain_batch()
    inherited = successor.snapshot.drain_batch() if successor is not None else None
    if batch is None or inherited is None:
        return batch
    return Batch(batch.dag_id, batch.lock_token, batch.changes + inherited.changes)
