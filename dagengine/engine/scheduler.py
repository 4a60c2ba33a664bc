"""The scheduler: decides queued events, writes the decisions in one commit, runs side effects.

Each pass takes all queued events, applies the rules, writes all batches in one commit, and only
then starts attempts, replies to operators and publishes events. The scheduler does not poll: a
pass runs when an event arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import structlog

from dagengine.engine.decisions import Decision, DecisionMaker
from dagengine.engine.events import DagUpdated, Events, events_of, log_fields
from dagengine.engine.lock_table import LockTable
from dagengine.engine.messages import (
    ActiveDag,
    AttemptEnded,
    AttemptsLost,
    DagRecovered,
    ForcePassRequested,
    SchedulerEvent,
    refuse,
)
from dagengine.engine.unconfirmed import UnconfirmedTargets
from dagengine.errors import DagengineError, NotSerializable, StaleWrite, StoreUnavailable
from dagengine.model.changes import Batch
from dagengine.model.outcome import Failed, Problem
from dagengine.model.states import State
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.runtime.backoff import Backoff
from dagengine.runtime.clock import Clock
from dagengine.runtime.service import Service
from dagengine.store.contract import BatchRefused, Store

T = TypeVar("T")

_log = structlog.get_logger("dagengine.engine")
_STORE_RETRY = Backoff((0.1, 0.5, 1.0, 5.0))  # while the store is unavailable
_SPOILT = Problem(
    "Common.Unexpected",
    "how it ended could not be recorded, for a defect",
    "look at the controller's log, then RETRY",
)


class Scheduler(Service):
    """Runs active DAGs in passes; see the module docstring.

    Args:
        store: the durable state.
        clock: source of time.
        events: receives every event after its commit.
        locks: projection of the locks; the scheduler updates it after each commit.
        marks: projection of the unconfirmed targets; the scheduler updates it after each commit.
        start_attempt: starts an attempt of an active DAG.
        cancel_attempt: ends the attempt of a sub-task, if it has one.
        has_attempt: returns True while an attempt of the sub-task runs.
        generic_id: returns the id with which messages name a DAG.
    """

    name = "scheduler"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        events: Events,
        locks: LockTable,
        marks: UnconfirmedTargets,
        start_attempt: Callable[[ActiveDag, plan.Start], None],
        cancel_attempt: Callable[[int], None],
        has_attempt: Callable[[int], bool],
        generic_id: Callable[[int], str],
    ) -> None:
        super().__init__()
        self.live: dict[int, ActiveDag] = {}
        self._store = store
        self._events = events
        self._locks = locks
        self._unconfirmed_targets = marks
        self._start_attempt = start_attempt
        self._cancel_attempt = cancel_attempt
        self._has_attempt = has_attempt
        self._decider = DecisionMaker(self.live, clock, locks, generic_id)
        self._due: dict[int, ActiveDag] = {}
        self._wake = asyncio.Event()

    def track(self, snapshot: Snapshot, event: SchedulerEvent) -> None:
        """Make a DAG active and post its first event."""
        dag_id = snapshot.dag.dag_id
        self.live[dag_id] = ActiveDag(snapshot)
        self.post(dag_id, event)

    def track_started(self, snapshot: Snapshot, batch: Batch, starts: list[plan.Start]) -> None:
        """Make a new DAG active whose first stage was started in the commit that created it."""
        live = self.live[snapshot.dag.dag_id] = ActiveDag(snapshot)
        self._publish([batch])
        self._run_effects(Decision(live, batch, starts))

    def post(self, dag_id: int, event: SchedulerEvent) -> None:
        """Queue an event. An event for a DAG that is not active is out of date and discarded."""
        live = self.live.get(dag_id)
        if live is None:
            self._drop(dag_id, event)
            return
        live.inbox.append(event)
        self._due[dag_id] = live
        self._wake.set()

    def _drop(self, dag_id: int, event: SchedulerEvent) -> None:
        """Discard an event because its DAG has ended, and inform the waiting caller."""
        if (post := self._decider.drop(dag_id, event)) is not None:
            self.post(*post)

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            await self.run_pass()

    async def run_pass(self) -> None:
        """Decide all queued events, write the decisions in one commit, then run side effects."""
        self._wake.clear()
        due, self._due = list(self._due.values()), {}
        decisions = [self._decider.decide(live) for live in due]
        await self._write(decisions)
        counting = [decision for decision in decisions if decision.failure is None]
        self._publish(d.batch for d in counting if d.batch is not None)
        # Apply before the first await: a subscriber notified of a DAG's end checks `live`.
        for decision in counting:
            try:
                self._run_effects(decision)
            except Exception as exc:  # noqa: BLE001  # a bug affects one DAG, not the whole pass
                decision.failure = exc
        for decision in decisions:
            if decision.failure is not None:
                await self._reload_and_requeue(decision, decision.failure)

    # --- writing ---------------------------------------------------------------------------

    async def _write(self, decisions: Iterable[Decision]) -> None:
        """Write all decisions in one commit, and record a failure in each that was not written."""
        written = [d for d in decisions if d.batch is not None and d.failure is None]
        try:
            results = await self.commit([d.batch for d in written if d.batch is not None])
        except Exception as exc:  # noqa: BLE001  # a bug: memory must not differ from the store
            defect: BatchRefused = NotSerializable(f"{type(exc).__name__}: {exc}")
            defect.__cause__ = exc  # with its traceback, for the log
            results = [defect for _ in written]
        for decision, refusal in zip(written, results, strict=True):
            decision.failure = refusal

    async def commit(self, batches: list[Batch]) -> list[BatchRefused | None]:
        """Write batches; retry while the store is unavailable, which suspends the scheduler."""
        return await self._commit_with_retry(lambda: self._store.commit(batches)) if batches else []

    async def _commit_with_retry(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Call the store, and retry while it is unavailable."""
        tries = 0
        while True:
            try:
                return await ask()
            except StoreUnavailable as exc:
                _log.error("store_refused", error=str(exc), tries=tries + 1)
                await asyncio.sleep(_STORE_RETRY.pause_s(tries))
                tries += 1

    async def _reload_and_requeue(self, decision: Decision, failure: Exception) -> None:
        """Discard a failed decision: reload the DAG, and queue its events again if it was stale."""
        live, events = decision.live, decision.events
        dag_id = live.snapshot.dag.dag_id
        is_stale = isinstance(failure, StaleWrite)
        if is_stale:
            _log.warning("decision_was_stale", dag_id=dag_id, error=str(failure))
        else:
            _log.error("decision_failed", dag_id=dag_id, exc_info=failure)
            self._refuse_all(dag_id, events, failure)
            events = []
        self._locks.load(await self._commit_with_retry(self._store.load_locks))
        await self._reload(live, events, is_spoilt=not is_stale)
        if decision.lock_successor is not None:
            await self._reload(decision.lock_successor, [])

    def _refuse_all(
        self, dag_id: int, events: Iterable[SchedulerEvent], failure: Exception
    ) -> None:
        """Report a failure to the callers of events that cannot be decided or written."""
        error = failure if isinstance(failure, DagengineError) else NotSerializable(str(failure))
        for event in events:
            if isinstance(event, ForcePassRequested):
                self._drop(dag_id, event)
            else:
                refuse(event, error)

    async def _reload(
        self, live: ActiveDag, events: list[SchedulerEvent], *, is_spoilt: bool = False
    ) -> None:
        dag_id = live.snapshot.dag.dag_id
        rows = await self._commit_with_retry(lambda: self._store.load_dag(dag_id))
        # Requeue ahead of newer events; lost attempts are detected again below.
        waiting = [*events, *live.inbox]
        live.inbox = [event for event in waiting if not isinstance(event, AttemptsLost)]
        if rows is not None:
            dag = rows.dag
            self._events.publish(DagUpdated(dag_id, dag.state, dag.operator, dag.stage))
        if rows is None or rows.dag.state.is_final:
            # Operators on a finished DAG lost a race; outcomes of its attempts are irrelevant.
            self._untrack(live)
            return
        live.snapshot = Snapshot(rows.dag, rows.nodes, rows.sub_tasks)
        live.inbox += self._detect_lost_attempts(live, is_spoilt)
        live.last_decision_failed = is_spoilt
        if live.inbox:
            self._due[dag_id] = live
            self._wake.set()

    def _detect_lost_attempts(self, live: ActiveDag, is_spoilt: bool) -> list[SchedulerEvent]:
        """Return events for sub-tasks that are RUNNING in the store but have no attempt here."""
        if any(isinstance(event, DagRecovered) for event in live.inbox):
            return []  # the recovery event covers all attempts
        ended = {
            (event.sub_task_id, event.attempt_no)
            for event in live.inbox
            if isinstance(event, AttemptEnded)
        }
        lost = [
            task
            for task in live.snapshot.running
            if not self._has_attempt(task.sub_task_id)
            and (task.sub_task_id, task.attempt_no) not in ended
        ]
        if not lost:
            return []
        if not is_spoilt:
            return [AttemptsLost(frozenset(task.sub_task_id for task in lost))]
        if live.last_decision_failed:
            # Ending the attempts as Failed was not possible either.
            _log.error("dag_stuck", dag_id=live.snapshot.dag.dag_id)
            return []
        return [AttemptEnded(task.sub_task_id, task.attempt_no, Failed(_SPOILT)) for task in lost]

    # --- side effects ------------------------------------------------------------------------

    def _run_effects(self, decision: Decision) -> None:
        live, snapshot = decision.live, decision.live.snapshot
        live.last_decision_failed = False
        if decision.batch is not None:
            self._locks.apply(decision.batch)
            self._unconfirmed_targets.apply(decision.batch)
        if snapshot.dag.state.is_final:
            self._untrack(live)
        for start in decision.starts:
            if snapshot.sub_tasks[start.sub_task_id].state is State.RUNNING:
                self._start_attempt(live, start)
        for sub_task_id in decision.cancels:  # may include attempts started in the same pass
            self._cancel_attempt(sub_task_id)
        for post in decision.posts:
            self.post(*post)
        for confirm in decision.confirm:
            confirm()
        if decision.lock_successor is not None:
            self._decider.notify_lock_successor(decision.lock_successor)

    def _untrack(self, live: ActiveDag) -> None:
        """Make a DAG inactive because it has ended, and discard its queued events."""
        dag_id = live.snapshot.dag.dag_id
        if self.live.get(dag_id) is live:  # otherwise an operator has reopened the DAG
            del self.live[dag_id]
        self._decider.forget(dag_id)
        late, live.inbox = live.inbox, []
        for event in late:
            self._drop(dag_id, event)

    def _publish(self, batches: Iterable[Batch]) -> None:
        log = _log.bind()  # bound once per call: binding is most of the cost of a log line
        for batch in batches:
            for event in events_of(batch):
                if (line := log_fields(event)) is not None:
                    log.info(line[0], **line[1])
                self._events.publish(event)
