"""The scheduler: events in, one commit for all of them, then what follows.

Each pass takes every event that is waiting, lets the rules decide, writes all batches in one
commit, and only then starts attempts, answers operators and tells readers. Nothing polls: a
pass runs when an event came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from dagengine.clock import Clock
from dagengine.engine.events import Events, LineLogged, events_of
from dagengine.engine.locks import Locks
from dagengine.engine.service import Service
from dagengine.errors import ApiError, Conflict, LockHeld, StaleWrite, StoreUnusable
from dagengine.model.outcome import Outcome, Problem
from dagengine.model.records import LockRecord
from dagengine.model.states import Operator
from dagengine.model.transition import Batch
from dagengine.rules import operators, plan
from dagengine.rules.snapshot import Snapshot
from dagengine.store.base import Store

_log = structlog.get_logger("dagengine.engine")
_STORE_RETRY_S = (0.1, 0.5, 1.0, 5.0)  # pauses while the store refuses to write


@dataclass(frozen=True, slots=True)
class Begun:
    """A DAG was submitted."""


@dataclass(frozen=True, slots=True)
class Found:
    """A DAG was found unfinished at start-up; `refusal` says why it cannot go on here."""

    refusal: Problem | None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt has an outcome."""

    sub_task_id: int
    attempt_no: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class LockWanted:
    """A step asks for its DAG's lock; the reply is the holder, or None when it is ours."""

    reply: asyncio.Future[LockRecord | None]


@dataclass(frozen=True, slots=True)
class OperatorAsked:
    """A person asked something of the DAG."""

    operator: Operator
    reply: asyncio.Future[None]


SchedulerEvent: TypeAlias = Begun | Found | AttemptEnded | LockWanted | OperatorAsked


@dataclass(slots=True)
class LiveDag:
    """A DAG that the scheduler works on, and what it has not yet decided."""

    snapshot: Snapshot
    inbox: list[SchedulerEvent] = field(default_factory=list)


@dataclass(slots=True)
class _Decision:
    """What one DAG's events lead to, once `batch` is durable."""

    live: LiveDag
    batch: Batch | None = None
    starts: list[plan.Start] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    confirm: list[Callable[[], None]] = field(default_factory=list)
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
        start_attempt: Callable[[Snapshot, plan.Start], None],
        cancel_attempt: Callable[[int], None],
    ) -> None:
        super().__init__()
        self.live: dict[int, LiveDag] = {}
        self._store = store
        self._clock = clock
        self._events = events
        self._locks = locks
        self._start_attempt = start_attempt
        self._cancel_attempt = cancel_attempt
        self._due: dict[int, LiveDag] = {}
        self._wake = asyncio.Event()

    def adopt(self, snapshot: Snapshot, event: SchedulerEvent) -> None:
        """Work on a DAG from now on, beginning with this event."""
        dag_id = snapshot.dag.dag_id
        self.live[dag_id] = LiveDag(snapshot)
        self.post(dag_id, event)

    def post(self, dag_id: int, event: SchedulerEvent) -> None:
        """Hand an event in. One for a DAG that is not live is dropped: it is out of date."""
        live = self.live.get(dag_id)
        if live is None:
            _refuse(event, Conflict(f"DAG {dag_id} has just ended", remedy="look at it again"))
            return
        live.inbox.append(event)
        self._due[dag_id] = live
        self._wake.set()

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
        results = await self._commit([d.batch for d in written if d.batch is not None])
        stale = {
            id(decision): exc
            for decision, exc in zip(written, results, strict=True)
            if exc is not None
        }
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
                _refuse(event, exc)
        decision.batch = live.snapshot.take_batch()
        return decision

    def _decide_one(self, decision: _Decision, event: SchedulerEvent) -> None:
        snapshot, now = decision.live.snapshot, self._clock.now()
        match event:
            case Begun():
                decision.starts += plan.begin(snapshot, now)
            case Found(refusal):
                decision.starts += plan.resume(snapshot, now, known=refusal)
            case AttemptEnded(sub_task_id, attempt_no, outcome):
                decision.starts += plan.end_attempt(snapshot, sub_task_id, attempt_no, outcome, now)
            case LockWanted(reply):
                holder = self._want_lock(snapshot)
                decision.confirm.append(lambda: _resolve(reply, holder))
            case OperatorAsked(operator, reply):
                self._operate(decision, operator)
                decision.confirm.append(lambda: _resolve(reply, None))

    def _want_lock(self, snapshot: Snapshot) -> LockRecord | None:
        key = snapshot.dag.lock_key
        if key is None or snapshot.dag.fence:
            return None
        holder = self._locks.holder(key)
        if holder is None:
            plan.take_lock(snapshot, self._next_lock(snapshot, key))
        return holder

    def _operate(self, decision: _Decision, operator: Operator) -> None:
        snapshot, now = decision.live.snapshot, self._clock.now()
        match operator:
            case Operator.CANCEL:
                decision.cancels += operators.cancel_dag(snapshot, now)
            case Operator.RETRY:
                lock = self._lock_for_retry(snapshot)
                decision.starts += operators.retry_dag(snapshot, now, lock)
            case Operator.PASS:
                operators.pass_dag(snapshot, now)
            case Operator.RUN | Operator.ROLLBACK:
                raise operators.refuse_operator(operator)

    def _lock_for_retry(self, snapshot: Snapshot) -> LockRecord | None:
        key = snapshot.dag.lock_key
        if key is None:
            return None
        holder = self._locks.holder(key)
        if holder is not None and holder.dag_id != snapshot.dag.dag_id:
            raise LockHeld(
                f"DAG {holder.dag_id} holds the lock '{key}': {holder.reason}",
                remedy="wait for it or cancel it, then retry",
            )
        return self._next_lock(snapshot, key)

    def _next_lock(self, snapshot: Snapshot, key: str) -> LockRecord:
        return self._locks.next(key, snapshot.dag.dag_id, snapshot.dag.name, self._clock.now())

    # --- writing ---------------------------------------------------------------------------

    async def _commit(self, batches: list[Batch]) -> list[StaleWrite | None]:
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

    async def _start_over(self, decision: _Decision, exc: StaleWrite) -> None:
        """The store knows better: read the DAG again, and decide its events once more."""
        dag_id = decision.live.snapshot.dag.dag_id
        _log.warning("decision_was_stale", dag_id=dag_id, error=str(exc))
        self._locks.load(await self._store.load_locks())
        rows = await self._store.load_dag(dag_id)
        if rows is None or rows.dag.state.is_final:
            # Operators on a finished DAG lost a race; attempts of it have nothing to tell.
            self.live.pop(dag_id, None)
            for event in [*decision.events, *decision.live.inbox]:
                _refuse(event, Conflict(f"DAG {dag_id} was changed meanwhile"))
            return
        fresh = LiveDag(Snapshot(rows.dag, rows.nodes, rows.sub_tasks))
        self.live[dag_id] = fresh
        for event in [*decision.events, *decision.live.inbox]:
            self.post(dag_id, event)

    # --- what follows ------------------------------------------------------------------------

    def _follow(self, decision: _Decision) -> None:
        snapshot = decision.live.snapshot
        if decision.batch is not None:
            self._locks.apply(decision.batch)
            self._tell(decision.batch)
        if snapshot.dag.state.is_final:
            self.live.pop(snapshot.dag.dag_id, None)
            for late in decision.live.inbox:
                _refuse(late, Conflict(f"DAG {snapshot.dag.dag_id} has just ended"))
        for sub_task_id in decision.cancels:
            self._cancel_attempt(sub_task_id)
        for start in decision.starts:
            if snapshot.sub_tasks[start.sub_task_id].state.is_final:
                continue
            self._start_attempt(snapshot, start)
        for confirm in decision.confirm:
            confirm()

    def _tell(self, batch: Batch) -> None:
        for event in events_of(batch):
            if not isinstance(event, LineLogged):
                _log.info(event.log_name, **event.log_fields())
            self._events.publish(event)


def _resolve(
    reply: asyncio.Future[LockRecord | None] | asyncio.Future[None], value: object
) -> None:
    if not reply.done():
        reply.set_result(value)  # type: ignore[arg-type]  # the two callers pass the right one


def _refuse(event: SchedulerEvent, exc: ApiError) -> None:
    """Tell whoever waits for this event that it did not happen."""
    if isinstance(event, LockWanted | OperatorAsked) and not event.reply.done():
        event.reply.set_exception(exc)
