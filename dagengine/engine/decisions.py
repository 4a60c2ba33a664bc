"""What follows from one DAG's events. The scheduler writes it, and carries it out."""

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
from dagengine.model.operation import LockResult
from dagengine.model.records import AuditRecord, LockRecord
from dagengine.model.states import Operator, State
from dagengine.rules import operators, recovery
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.runtime.clock import Clock

_log = structlog.get_logger("dagengine.engine")


@dataclass(slots=True)
class Decision:
    """What one DAG's events lead to, once `batch` is durable.

    Attributes:
        live: the DAG.
        batch: what to write; None for nothing.
        starts: attempts to begin.
        cancels: sub-tasks whose attempts are to be ended.
        posts: events for other DAGs.
        confirm: answers to those who wait for one.
        heir: took over the lock in the same batch.
        events: those that were not refused: what has to be decided again when it is stale.
        failure: why it does not count.
    """

    live: ActiveDag
    batch: Batch | None = None
    starts: list[plan.Start] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    posts: list[tuple[int, SchedulerEvent]] = field(default_factory=list)
    confirm: list[Callable[[], None]] = field(default_factory=list)
    heir: ActiveDag | None = None
    events: list[SchedulerEvent] = field(default_factory=list)
    failure: Exception | None = None


class DecisionMaker:
    """Decides: changes the DAG's snapshot, and says what follows once that is durable.

    Only a refusal is told at once, for it changes nothing.

    Args:
        live: the DAGs that are worked on.
        clock: where time comes from.
        locks: who holds which lock, as last committed.
        generic_id: how a DAG is named to people.
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
        self._heirs: dict[int, asyncio.Future[LockResult]] = {}  # who waits for a broken lock

    def decide(self, live: ActiveDag) -> Decision:
        """Decide everything that waits in the DAG's inbox."""
        decision = Decision(live)
        events, live.inbox = live.inbox, []
        try:
            for event in events:
                try:
                    self._decide_one(decision, event)
                    decision.events.append(event)
                except ApiError as exc:
                    refuse(event, exc)
            if live.snapshot.dag.state.is_final and live.snapshot.dag.heir is not None:
                decision.heir = self._bequeath(live.snapshot)
            decision.batch = _join(live.snapshot, decision.heir)
        except Exception as exc:  # noqa: BLE001  # a defect costs one DAG, not all of this pass
            decision.events, decision.failure = events, exc
        return decision

    def drop(self, dag_id: int, event: SchedulerEvent) -> tuple[int, SchedulerEvent] | None:
        """An event came too late: its DAG has ended. Returns what to post for it, if anything."""
        if isinstance(event, ForcePassRequested):
            reply = self._heirs.pop(event.heir_id, None)
            # The lock may be free now: let the heir ask for it as everybody does.
            return None if reply is None else (event.heir_id, LockRequested(reply))
        what = f"DAG {self._generic_id(dag_id)} has just ended"
        refuse(event, Conflict(what, remedy="look at it again"))
        return None

    def forget(self, dag_id: int) -> None:
        """A DAG has ended: it waits for nobody's lock any more."""
        self._heirs.pop(dag_id, None)

    def tell_heir(self, heir: ActiveDag) -> None:
        """The lock that was broken for this DAG is its own now."""
        if (reply := self._heirs.pop(heir.snapshot.dag.dag_id, None)) is not None:
            resolve(reply, LockResult(None, broken=True))

    # --- one event ---------------------------------------------------------------------------

    def _decide_one(self, decision: Decision, event: SchedulerEvent) -> None:
        snapshot, now = decision.live.snapshot, self._clock.now()
        match event:
            case DagRecovered(refusal) if refusal is not None:
                recovery.give_up(snapshot, now, refusal)
            case DagRecovered():
                decision.starts += recovery.resume(snapshot, now)
            case AttemptsLost(sub_task_ids):
                decision.starts += recovery.resume(snapshot, now, lost=sub_task_ids)
            case AttemptEnded(sub_task_id, attempt_no, outcome):
                decision.starts += plan.end_attempt(snapshot, sub_task_id, attempt_no, outcome, now)
            case LockRequested(reply):
                if (answer := self._want_lock(decision, event)) is not None:
                    decision.confirm.append(partial(resolve, reply, answer))
            case ForcePassRequested():
                self._name_heir(decision, event)
            case OperatorRequested(operator, reply, audit, stage):
                self._operate(decision, operator, stage)
                snapshot.add_change(AuditAppended(audit))
                decision.confirm.append(partial(resolve, reply, None))

    def _operate(self, decision: Decision, operator: Operator, stage: int | None) -> None:
        snapshot, now = decision.live.snapshot, self._clock.now()
        match operator:
            case Operator.CANCEL:
                decision.cancels += operators.cancel_dag(snapshot, now)
            case Operator.RETRY:
                lock = self._lock_for_more(snapshot)
                decision.starts += operators.retry_dag(snapshot, now, lock)
            case Operator.ROLLBACK:
                before = self._locks.find(snapshot.dag.lock_key)
                lock = self._lock_for_more(snapshot)
                decision.starts += operators.rollback_dag(snapshot, now, lock, before)
            case Operator.PASS if stage is not None:
                lock = self._lock_for_more(snapshot)
                decision.starts += operators.pass_node(snapshot, stage, now, lock)
            case Operator.PASS:
                operators.pass_dag(snapshot, now)
            case Operator.RUN:
                raise operators.refuse_operator(operator)

    # --- the lock ----------------------------------------------------------------------------

    def _want_lock(self, decision: Decision, event: LockRequested) -> LockResult | None:
        """The answer to a step that asks for the lock; None when it has to wait for it."""
        snapshot = decision.live.snapshot
        dag, key = snapshot.dag, snapshot.dag.lock_key
        if key is None or dag.fence:
            return LockResult(None)
        if dag.state.is_final or event.reply.done():
            return LockResult(None)  # its step has ended: nobody would give this lock back
        holder = self._locks.holder(key)
        if holder is None or holder.dag_id is None:
            plan.take_lock(snapshot, self._next_lock(snapshot, key))
            return LockResult(None)
        if holder.dag_id not in event.force_pass_ids or holder.dag_id not in self._live:
            return LockResult(holder)
        self._heirs[dag.dag_id] = event.reply
        why = f"forcePassDag of DAG {self._generic_id(dag.dag_id)}"
        audit = AuditRecord(0, self._clock.now(), holder.dag_id, None, "FORCE_PASS", event.by, why)
        decision.posts.append((holder.dag_id, ForcePassRequested(dag.dag_id, audit)))
        return None

    def _name_heir(self, decision: Decision, event: ForcePassRequested) -> None:
        """The holder of a broken lock is cancelled; where that cannot be, it stays as it is."""
        snapshot, now = decision.live.snapshot, self._clock.now()
        if snapshot.dag.state.is_final:
            if (post := self.drop(snapshot.dag.dag_id, event)) is not None:
                decision.posts.append(post)
            return
        before = snapshot.dag.heir
        if before == event.heir_id:
            return
        reply = self._heirs.get(event.heir_id)
        try:
            if before is not None and before in self._live:
                raise Conflict(f"DAG {self._generic_id(before)} already waits for its lock")
            decision.cancels += operators.cancel_dag(snapshot, now)
        except ApiError as exc:
            _log.warning("lock_not_broken", dag_id=snapshot.dag.dag_id, error=str(exc))
            if reply is not None:
                holder = self._locks.holder(snapshot.dag.lock_key or "")
                decision.confirm.append(partial(resolve, reply, LockResult(holder)))
            return
        snapshot.set_dag(snapshot.dag._replace(heir=event.heir_id))
        snapshot.add_change(AuditAppended(event.audit))

    def _bequeath(self, snapshot: Snapshot) -> ActiveDag | None:
        """A DAG that was force-passed has ended: pass it; its heir gets the lock, if it can."""
        heir_id, key = snapshot.dag.heir, snapshot.dag.lock_key
        if snapshot.dag.state is State.FAILED:
            try:
                operators.pass_dag(snapshot, self._clock.now())
            except OperatorRefused as exc:
                _log.warning("holder_not_passed", dag_id=snapshot.dag.dag_id, error=str(exc))
        snapshot.set_dag(snapshot.dag._replace(heir=None))
        heir = self._live.get(heir_id or 0)
        if heir is None or key is None or not plan.can_take_lock(heir.snapshot):
            return None
        plan.take_lock(heir.snapshot, self._next_lock(heir.snapshot, key))
        return heir

    def _lock_for_more(self, snapshot: Snapshot) -> LockRecord | None:
        """The lock as the DAG will hold it while it goes on."""
        key = snapshot.dag.lock_key
        if key is None or snapshot.dag.state is not State.FAILED:
            return None  # the rules refuse what has not failed, in their own words
        holder = self._locks.holder(key)
        if holder is not None and holder.dag_id != snapshot.dag.dag_id:
            raise LockHeld(
                f"'{holder.reason}' {self._generic_id(holder.dag_id or 0)} holds the lock '{key}'",
                remedy="wait for it or cancel it, then retry",
            )
        return self._next_lock(snapshot, key)

    def _next_lock(self, snapshot: Snapshot, key: str) -> LockRecord:
        return self._locks.next(key, snapshot.dag.dag_id, snapshot.dag.name, self._clock.now())


def _join(snapshot: Snapshot, heir: ActiveDag | None) -> Batch | None:
    """What changed, with what changed for the heir of its lock: both or neither is written."""
    batch = snapshot.take_batch()
    inherited = heir.snapshot.take_batch() if heir is not None else None
    if batch is None or inherited is None:
        return batch
    return Batch(batch.dag_id, batch.fence, batch.changes + inherited.changes)
