"""The scheduler: events in, one commit for all of them, then what follows.

Each pass takes every event that is waiting, lets the rules decide, writes all batches in one
commit, and only then starts attempts, answers operators and tells readers. Nothing polls: a
pass runs when an event came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import structlog

from dagengine.clock import Clock
from dagengine.engine.events import DagMoved, Events, events_of, line_of
from dagengine.engine.inbox import (
    AttemptEnded,
    Found,
    HeirNamed,
    LiveDag,
    LockWanted,
    OperatorAsked,
    SchedulerEvent,
    refuse,
    resolve,
)
from dagengine.engine.locks import Locks
from dagengine.engine.marks import Marks
from dagengine.engine.service import Service
from dagengine.errors import (
    ApiError,
    Conflict,
    LockHeld,
    OperatorRefused,
    StoreUnusable,
)
from dagengine.model.records import AuditRecord, LockRecord
from dagengine.model.spec import LockReply
from dagengine.model.states import Operator, State
from dagengine.model.transition import Audited, Batch
from dagengine.rules import operators, plan
from dagengine.rules.snapshot import Snapshot
from dagengine.store.base import BatchRefused, Store

_log = structlog.get_logger("dagengine.engine")
_STORE_RETRY_S = (0.1, 0.5, 1.0, 5.0)  # pauses while the store refuses to write


@dataclass(slots=True)
class _Decision:
    """What one DAG's events lead to, once `batch` is durable."""

    live: LiveDag
    batch: Batch | None = None
    starts: list[plan.Start] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    confirm: list[Callable[[], None]] = field(default_factory=list)
    heir: LiveDag | None = None  #: took over the lock in the same batch
    events: list[SchedulerEvent] = field(default_factory=list)


class Scheduler(Service):
    """See the module's text."""

    name = "scheduler"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        events: Events,
        locks: Locks,
        marks: Marks,
        start_attempt: Callable[[Snapshot, plan.Start], None],
        cancel_attempt: Callable[[int], None],
        generic_id: Callable[[int], str],
    ) -> None:
        super().__init__()
        self.live: dict[int, LiveDag] = {}
        self._store = store
        self._clock = clock
        self._events = events
        self._locks = locks
        self._marks = marks
        self._start_attempt = start_attempt
        self._cancel_attempt = cancel_attempt
        self._generic_id = generic_id
        self._due: dict[int, LiveDag] = {}
        self._wake = asyncio.Event()
        self._heirs: dict[int, asyncio.Future[LockReply]] = {}  # who waits for a broken lock

    def adopt(self, snapshot: Snapshot, event: SchedulerEvent) -> None:
        """Work on a DAG from now on, beginning with this event."""
        dag_id = snapshot.dag.dag_id
        self.live[dag_id] = LiveDag(snapshot)
        self.post(dag_id, event)

    def adopt_begun(self, snapshot: Snapshot, batch: Batch, starts: list[plan.Start]) -> None:
        """Work on a new DAG whose first stage was begun in the commit that created it."""
        live = self.live[snapshot.dag.dag_id] = LiveDag(snapshot)
        self._tell([batch])
        self._follow(_Decision(live, batch, starts))

    def post(self, dag_id: int, event: SchedulerEvent) -> None:
        """Hand an event in. One for a DAG that is not live is dropped: it is out of date."""
        live = self.live.get(dag_id)
        if live is None:
            self._drop(dag_id, event)
            return
        live.inbox.append(event)
        self._due[dag_id] = live
        self._wake.set()

    def _drop(self, dag_id: int, event: SchedulerEvent) -> None:
        """The DAG has ended meanwhile: whoever waits for this event is told so."""
        if isinstance(event, HeirNamed):
            if (reply := self._heirs.pop(event.heir_id, None)) is not None:
                self.post(event.heir_id, LockWanted(reply))  # the lock may be free now
            return
        what = f"DAG {self._generic_id(dag_id)} has just ended"
        refuse(event, Conflict(what, remedy="look at it again"))

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            await self.run_pass()

    async def run_pass(self) -> None:
        """Decide all that is waiting, write it in one commit, then do what follows."""
        self._wake.clear()
        due, self._due = list(self._due.values()), {}
        decisions = [self._decide(live) for live in due]
        written = [decision for decision in decisions if decision.batch is not None]
        results = await self.commit([d.batch for d in written if d.batch is not None])
        stale = {
            id(decision): exc
            for decision, exc in zip(written, results, strict=True)
            if exc is not None
        }
        self._tell(d.batch for d in written if d.batch is not None and id(d) not in stale)
        for decision in decisions:
            if (exc := stale.get(id(decision))) is not None:
                await self._start_over(decision, exc)
            else:
                self._follow(decision)

    # --- deciding --------------------------------------------------------------------------

    def _decide(self, live: LiveDag) -> _Decision:
        decision = _Decision(live)
        events, live.inbox = live.inbox, []
        for event in events:
            try:
                self._decide_one(decision, event)
                decision.events.append(event)
            except ApiError as exc:
                refuse(event, exc)
        if live.snapshot.dag.state.is_final and live.snapshot.dag.heir is not None:
            decision.heir = self._bequeath(live.snapshot)
        decision.batch = _join(live.snapshot, decision.heir)
        return decision

    def _decide_one(self, decision: _Decision, event: SchedulerEvent) -> None:
        snapshot, now = decision.live.snapshot, self._clock.now()
        match event:
            case Found(refusal):
                decision.starts += plan.resume(snapshot, now, known=refusal)
            case AttemptEnded(sub_task_id, attempt_no, outcome):
                decision.starts += plan.end_attempt(snapshot, sub_task_id, attempt_no, outcome, now)
            case LockWanted(reply, break_ids):
                if (answer := self._want_lock(snapshot, reply, break_ids)) is not None:
                    decision.confirm.append(partial(resolve, reply, answer))
            case HeirNamed() if snapshot.dag.state.is_final:
                decision.confirm.append(partial(self._drop, snapshot.dag.dag_id, event))
            case HeirNamed(heir_id, audit):
                self._name_heir(decision, heir_id, audit)
            case OperatorAsked(operator, reply, audit, stage):
                self._operate(decision, operator, stage)
                snapshot.add_change(Audited(audit))
                decision.confirm.append(partial(resolve, reply, None))

    def _want_lock(
        self, snapshot: Snapshot, reply: asyncio.Future[LockReply], break_ids: frozenset[int]
    ) -> LockReply | None:
        """The answer to a step that asks for the lock; None when it has to wait for it."""
        dag, key = snapshot.dag, snapshot.dag.lock_key
        if key is None or dag.fence:
            return LockReply(None)
        holder = self._locks.holder(key)
        if holder is None:
            plan.take_lock(snapshot, self._next_lock(snapshot, key))
            return LockReply(None)
        if holder.dag_id not in break_ids or holder.dag_id not in self.live:
            return LockReply(holder)
        self._heirs[dag.dag_id] = reply
        why = f"forcePassDag of DAG {self._generic_id(dag.dag_id)}"
        audit = AuditRecord(0, self._clock.now(), holder.dag_id, None, "FORCE_PASS", why, "")
        self.post(holder.dag_id, HeirNamed(dag.dag_id, audit))
        return None

    def _name_heir(self, decision: _Decision, heir_id: int, audit: AuditRecord) -> None:
        """The holder of a broken lock is cancelled; where that cannot be, it stays as it is."""
        snapshot, now = decision.live.snapshot, self._clock.now()
        if snapshot.dag.heir == heir_id:
            return
        reply = self._heirs.get(heir_id)
        try:
            if snapshot.dag.heir is not None:
                heir = self._generic_id(snapshot.dag.heir)
                raise Conflict(f"DAG {heir} already waits for its lock")
            decision.cancels += operators.cancel_dag(snapshot, now)
        except ApiError as exc:
            _log.warning("lock_not_broken", dag_id=snapshot.dag.dag_id, error=str(exc))
            if reply is not None:
                holder = self._locks.holder(snapshot.dag.lock_key or "")
                decision.confirm.append(partial(resolve, reply, LockReply(holder)))
            return
        snapshot.set_dag(snapshot.dag._replace(heir=heir_id))
        snapshot.add_change(Audited(audit))

    def _bequeath(self, snapshot: Snapshot) -> LiveDag | None:
        """A DAG that was force-passed has ended: pass it; its heir gets the lock, if it can."""
        heir_id, key = snapshot.dag.heir, snapshot.dag.lock_key
        if snapshot.dag.state is State.FAILED:
            try:
                operators.pass_dag(snapshot, self._clock.now())
            except OperatorRefused as exc:
                _log.warning("holder_not_passed", dag_id=snapshot.dag.dag_id, error=str(exc))
        snapshot.set_dag(snapshot.dag._replace(heir=None))
        heir = self.live.get(heir_id or 0)
        if heir is None or key is None or not plan.can_take_lock(heir.snapshot):
            return None
        plan.take_lock(heir.snapshot, self._next_lock(heir.snapshot, key))
        return heir

    def _operate(self, decision: _Decision, operator: Operator, stage: int | None) -> None:
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

    def _lock_for_more(self, snapshot: Snapshot) -> LockRecord | None:
        """The lock as the DAG will hold it while it goes on."""
        key = snapshot.dag.lock_key
        if key is None:
            return None
        holder = self._locks.holder(key)
        if holder is not None and holder.dag_id != snapshot.dag.dag_id:
            raise LockHeld(
                f"'{holder.reason}' {self._generic_id(holder.dag_id or 0)} holds the lock '{key}'",
                remedy="wait for it or cancel it, then retry",
            )
        return self._next_lock(snapshot, key)

    def _next_lock(self, snapshot: Snapshot, key: str) -> LockRecord:
        return self._locks.next(key, snapshot.dag.dag_id, snapshot.dag.name, self._clock.now())

    # --- writing ---------------------------------------------------------------------------

    async def commit(self, batches: list[Batch]) -> list[BatchRefused | None]:
        """Write; while the store refuses, wait and try again: nothing else may go on."""
        tries = 0
        while batches:
            try:
                return await self._store.commit(batches)
            except StoreUnusable as exc:
                _log.error("store_refused", error=str(exc), tries=tries + 1)
                await asyncio.sleep(_STORE_RETRY_S[min(tries, len(_STORE_RETRY_S) - 1)])
                tries += 1
        return []

    async def _start_over(self, decision: _Decision, exc: BatchRefused) -> None:
        """The store knows better: read the DAG again, and decide its events once more."""
        dag_id = decision.live.snapshot.dag.dag_id
        _log.warning("decision_was_stale", dag_id=dag_id, error=str(exc))
        self._locks.load(await self._store.load_locks())
        await self._reload(decision.live, decision.events)
        if decision.heir is not None:
            await self._reload(decision.heir, [])

    async def _reload(self, stale: LiveDag, events: list[SchedulerEvent]) -> None:
        dag_id = stale.snapshot.dag.dag_id
        events = [*events, *stale.inbox]
        rows = await self._store.load_dag(dag_id)
        if rows is not None:
            dag = rows.dag
            self._events.publish(DagMoved(dag_id, dag.state, dag.operator, dag.stage))
        if rows is None or rows.dag.state.is_final:
            # Operators on a finished DAG lost a race; attempts of it have nothing to tell.
            self.live.pop(dag_id, None)
            for event in events:
                self._drop(dag_id, event)
            return
        self.live[dag_id] = LiveDag(Snapshot(rows.dag, rows.nodes, rows.sub_tasks))
        for event in events:
            self.post(dag_id, event)

    # --- what follows ------------------------------------------------------------------------

    def _follow(self, decision: _Decision) -> None:
        snapshot = decision.live.snapshot
        if decision.batch is not None:
            self._locks.apply(decision.batch)
            self._marks.apply(decision.batch)
        if snapshot.dag.state.is_final:
            self.live.pop(snapshot.dag.dag_id, None)
            self._heirs.pop(snapshot.dag.dag_id, None)
            for late in decision.live.inbox:
                self._drop(snapshot.dag.dag_id, late)
        for sub_task_id in decision.cancels:
            self._cancel_attempt(sub_task_id)
        for start in decision.starts:
            if snapshot.sub_tasks[start.sub_task_id].state.is_final:
                continue
            self._start_attempt(snapshot, start)
        for confirm in decision.confirm:
            confirm()
        if decision.heir is not None:
            reply = self._heirs.pop(decision.heir.snapshot.dag.dag_id, None)
            if reply is not None:
                resolve(reply, LockReply(None, broken=True))

    def _tell(self, batches: Iterable[Batch]) -> None:
        log = _log.bind()  # once for all of them: it is most of the cost of a line
        for batch in batches:
            for event in events_of(batch):
                if (line := line_of(event)) is not None:
                    log.info(line[0], **line[1])
                self._events.publish(event)


def _join(snapshot: Snapshot, heir: LiveDag | None) -> Batch | None:
    """What changed, with what changed for the heir of its lock: both or neither is written."""
    batch = snapshot.take_batch()
    inherited = heir.snapshot.take_batch() if heir is not None else None
    if batch is None or inherited is None:
        return batch
    return Batch(batch.dag_id, batch.fence, batch.changes + inherited.changes)
