"""Decisions about one DAG's messages. The scheduler writes them and runs their side effects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from dagengine.engine import messages
from dagengine.engine.active_dag import (
    ActiveDag,
    AttemptEnded,
    AttemptsLost,
    DagMessage,
    DagRecovered,
    ForcePassRequested,
    LockRequested,
    OperatorRequested,
    Reply,
    refuse,
)
from dagengine.engine.projections import LockTable
from dagengine.errors import ApiError, Conflict, LockHeld, OperatorRefused
from dagengine.model.changes import AuditAppended, Batch
from dagengine.model.ids import OwnIds
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
        active_dag: the DAG.
        batch: the changes to write; None when nothing changed.
        starts: attempts to start.
        cancels: sub-tasks whose attempts must be ended.
        posts: messages for other DAGs.
        replies: results for waiting callers.
        lock_successor: the lock successor, which took the lock in the same batch.
        messages: the messages that were not rejected; they are decided again if the batch is stale.
        failure: why the decision could not be made or written.
    """

    active_dag: ActiveDag
    batch: Batch | None = None
    starts: list[plan.AttemptStart] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    posts: list[tuple[int, DagMessage]] = field(default_factory=list)
    replies: list[Reply[LockResult] | Reply[None]] = field(default_factory=list)
    lock_successor: ActiveDag | None = None
    messages: list[DagMessage] = field(default_factory=list)
    failure: Exception | None = None


class DecisionMaker:
    """Applies a DAG's messages to its snapshot and returns the side effects to run afterwards.

    Rejections are reported immediately because they change nothing.

    Args:
        active: the active DAGs, by id.
        clock: source of time.
        locks: the locks as of the last commit.
        ids: renders the ids that messages contain.
    """

    def __init__(
        self,
        active: Mapping[int, ActiveDag],
        clock: Clock,
        locks: LockTable,
        ids: OwnIds,
    ) -> None:
        self._active = active
        self._clock = clock
        self._locks = locks
        self._ids = ids
        self._successors: dict[int, asyncio.Future[LockResult]] = {}  # replies to lock successors

    def decide(self, active_dag: ActiveDag) -> Decision:
        """Decide all messages in the DAG's inbox."""
        decision = Decision(active_dag)
        messages, active_dag.inbox = active_dag.inbox, []
        snapshot = active_dag.snapshot.at(self._clock.now())
        try:
            for message in messages:
                try:
                    self._decide_one(decision, message)
                    decision.messages.append(message)
                except ApiError as exc:
                    refuse(message, exc)
            if snapshot.dag.state.is_final and snapshot.dag.lock_successor_id is not None:
                decision.lock_successor = self._hand_over_lock(snapshot)
            decision.batch = _join(snapshot, decision.lock_successor)
        except Exception as exc:  # noqa: BLE001  # a bug affects one DAG, not the whole pass
            decision.messages, decision.failure = messages, exc
        return decision

    def reject_late(self, dag_id: int, message: DagMessage) -> tuple[int, DagMessage] | None:
        """Discard a message whose DAG has ended; returns a message to post instead, if any."""
        if isinstance(message, ForcePassRequested):
            reply = self._successors.pop(message.successor_id, None)
            # The lock may be free now: the successor requests it in the regular way.
            return None if reply is None else (message.successor_id, LockRequested(reply))
        message_text = messages.DAG_JUST_ENDED(dag_id=self._ids.render(dag_id))
        refuse(message, Conflict(message_text, remedy=messages.READ_AGAIN()))
        return None

    def discard(self, dag_id: int) -> None:
        """Forget a DAG that has ended, as it no longer waits for a lock."""
        self._successors.pop(dag_id, None)

    def notify_lock_successor(self, successor: ActiveDag) -> None:
        """Inform the step of a lock successor that its DAG now holds the lock."""
        if (reply := self._successors.pop(successor.snapshot.dag.dag_id, None)) is not None:
            Reply(reply, LockResult(None, was_forced=True)).send()

    # --- one message -------------------------------------------------------------------------

    def _decide_one(self, decision: Decision, message: DagMessage) -> None:
        snapshot = decision.active_dag.snapshot
        match message:
            case AttemptEnded(sub_task_id, attempt_no, outcome):  # first: it comes in every step
                decision.starts += plan.end_attempt(snapshot, sub_task_id, attempt_no, outcome)
            case DagRecovered(refusal) if refusal is not None:
                recovery.give_up(snapshot, refusal)
            case DagRecovered():
                decision.starts += recovery.resume(snapshot)
            case AttemptsLost(sub_task_ids):
                decision.starts += recovery.resume(snapshot, lost=sub_task_ids)
            case LockRequested(reply):
                if (answer := self._on_lock_requested(decision, message)) is not None:
                    decision.replies.append(Reply(reply, answer))
            case ForcePassRequested():
                self._on_force_pass(decision, message)
            case OperatorRequested(operator, reply, audit, stage):
                self._operate(decision, operator, stage)
                snapshot.add_change(AuditAppended(audit))
                decision.replies.append(Reply(reply, None))

    def _operate(self, decision: Decision, operator: Operator, stage: int | None) -> None:
        snapshot = decision.active_dag.snapshot
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

    def _on_lock_requested(self, decision: Decision, message: LockRequested) -> LockResult | None:
        """Return the result of a step's lock request; None when the step must wait for it."""
        snapshot = decision.active_dag.snapshot
        dag, key = snapshot.dag, snapshot.dag.lock_key
        if key is None or dag.lock_token:
            return LockResult(None)
        if dag.state.is_final or message.reply.done():
            return LockResult(None)  # the step has ended: a lock taken now would not be released
        holder = self._locks.holder(key)
        if holder is None or holder.dag_id is None:
            plan.take_lock(snapshot, self._next_lock(snapshot, key))
            return LockResult(None)
        if holder.dag_id not in message.force_pass_ids or holder.dag_id not in self._active:
            return LockResult(holder)
        self._successors[dag.dag_id] = message.reply
        reason = messages.FORCE_PASS_REASON(dag_id=self._ids.render(dag.dag_id))
        audit = AuditRecord(0, snapshot.now, holder.dag_id, None, "FORCE_PASS", message.by, reason)
        decision.posts.append((holder.dag_id, ForcePassRequested(dag.dag_id, audit)))
        return None

    def _on_force_pass(self, decision: Decision, message: ForcePassRequested) -> None:
        """Cancel the holder of a lock and record its lock successor.

        A holder that cannot be cancelled stays unchanged, and the successor's step gets the holder.
        """
        snapshot = decision.active_dag.snapshot
        if snapshot.dag.state.is_final:
            if (post := self.reject_late(snapshot.dag.dag_id, message)) is not None:
                decision.posts.append(post)
            return
        before = snapshot.dag.lock_successor_id
        if before == message.successor_id:
            return
        reply = self._successors.get(message.successor_id)
        try:
            if before is not None and before in self._active:
                raise Conflict(messages.SUCCESSOR_EXISTS(dag_id=self._ids.render(before)))
            decision.cancels += operators.cancel_dag(snapshot)
        except ApiError as exc:
            _log.warning("force_pass_failed", dag_id=snapshot.dag.dag_id, error=str(exc))
            if reply is not None:
                holder = self._locks.holder(snapshot.dag.lock_key or "")
                decision.replies.append(Reply(reply, LockResult(holder)))
            return
        snapshot.set_dag(snapshot.dag._replace(lock_successor_id=message.successor_id))
        snapshot.add_change(AuditAppended(message.audit))

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
        successor = self._active.get(successor_id or 0)
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
                messages.LOCK_HELD(
                    holder=holder.reason, dag_id=self._ids.render(holder.dag_id or 0), key=key
                ),
                remedy=messages.WAIT_OR_CANCEL(),
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
