"""The scheduler: events in, one commit for all of them, then what follows.

Each pass takes every event that is waiting, lets the rules decide, writes all batches in one
commit, and only then starts attempts, answers operators and tells readers. Nothing polls: a
pass runs when an event came in.
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
from dagengine.runtime.clock import Clock
from dagengine.runtime.service import Service
from dagengine.store.contract import BatchRefused, Store

T = TypeVar("T")

_log = structlog.get_logger("dagengine.engine")
_STORE_RETRY_S = (0.1, 0.5, 1.0, 5.0)  # pauses while the store refuses
_SPOILT = Problem(
    "Common.Unexpected",
    "how it ended could not be recorded, for a defect",
    "look at the controller's log, then RETRY",
)


class Scheduler(Service):
    """See the module's text.

    Args:
        store: where everything durable is.
        clock: where time comes from.
        events: who is told.
        locks: who holds which lock, as last committed; kept true here.
        marks: which targets are unproven, as last committed; kept true here.
        start_attempt: begins an attempt of a live DAG.
        cancel_attempt: ends the attempt of a sub-task, if it has one.
        has_attempt: whether a sub-task's attempt runs.
        generic_id: how a DAG is named to people.
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
        self._marks = marks
        self._start_attempt = start_attempt
        self._cancel_attempt = cancel_attempt
        self._has_attempt = has_attempt
        self._decider = DecisionMaker(self.live, clock, locks, generic_id)
        self._due: dict[int, ActiveDag] = {}
        self._wake = asyncio.Event()

    def adopt(self, snapshot: Snapshot, event: SchedulerEvent) -> None:
        """Work on a DAG from now on, beginning with this event."""
        dag_id = snapshot.dag.dag_id
        self.live[dag_id] = ActiveDag(snapshot)
        self.post(dag_id, event)

    def adopt_begun(self, snapshot: Snapshot, batch: Batch, starts: list[plan.Start]) -> None:
        """Work on a new DAG whose first stage was begun in the commit that created it."""
        live = self.live[snapshot.dag.dag_id] = ActiveDag(snapshot)
        self._tell([batch])
        self._follow(Decision(live, batch, starts))

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
        if (post := self._decider.drop(dag_id, event)) is not None:
            self.post(*post)

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            await self.run_pass()

    async def run_pass(self) -> None:
        """Decide all that is waiting, write it in one commit, then do what follows."""
        self._wake.clear()
        due, self._due = list(self._due.values()), {}
        decisions = [self._decider.decide(live) for live in due]
        await self._write(decisions)
        counting = [decision for decision in decisions if decision.failure is None]
        self._tell(d.batch for d in counting if d.batch is not None)
        # Before anything is awaited: who is told of an end looks at what is live.
        for decision in counting:
            try:
                self._follow(decision)
            except Exception as exc:  # noqa: BLE001  # a defect costs one DAG, not all of this pass
                decision.failure = exc
        for decision in decisions:
            if decision.failure is not None:
                await self._start_over(decision, decision.failure)

    # --- writing ---------------------------------------------------------------------------

    async def _write(self, decisions: Iterable[Decision]) -> None:
        """Write what was decided, in one commit; note what of it does not count."""
        written = [d for d in decisions if d.batch is not None and d.failure is None]
        try:
            results = await self.commit([d.batch for d in written if d.batch is not None])
        except Exception as exc:  # noqa: BLE001  # a defect: memory must not claim what is not on disk
            defect: BatchRefused = NotSerializable(f"{type(exc).__name__}: {exc}")
            defect.__cause__ = exc  # with its traceback, for the log
            results = [defect for _ in written]
        for decision, refusal in zip(written, results, strict=True):
            decision.failure = refusal

    async def commit(self, batches: list[Batch]) -> list[BatchRefused | None]:
        """Write; while the store refuses, wait and try again: nothing else may go on."""
        return await self._patiently(lambda: self._store.commit(batches)) if batches else []

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store, again and again while it refuses."""
        tries = 0
        while True:
            try:
                return await ask()
            except StoreUnavailable as exc:
                _log.error("store_refused", error=str(exc), tries=tries + 1)
                await asyncio.sleep(_STORE_RETRY_S[min(tries, len(_STORE_RETRY_S) - 1)])
                tries += 1

    async def _start_over(self, decision: Decision, failure: Exception) -> None:
        """The decision does not count: read the DAG again, and decide its events once more."""
        live, events = decision.live, decision.events
        dag_id = live.snapshot.dag.dag_id
        is_stale = isinstance(failure, StaleWrite)
        if is_stale:
            _log.warning("decision_was_stale", dag_id=dag_id, error=str(failure))
        else:
            _log.error("decision_was_lost", dag_id=dag_id, exc_info=failure)
            self._refuse_all(dag_id, events, failure)
            events = []
        self._locks.load(await self._patiently(self._store.load_locks))
        await self._reload(live, events, is_spoilt=not is_stale)
        if decision.heir is not None:
            await self._reload(decision.heir, [])

    def _refuse_all(
        self, dag_id: int, events: Iterable[SchedulerEvent], failure: Exception
    ) -> None:
        """These events lead to what cannot be decided or written: say so to whoever waits."""
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
        rows = await self._patiently(lambda: self._store.load_dag(dag_id))
        # Before those that came meanwhile; who is lost is looked at anew.
        waiting = [*events, *live.inbox]
        live.inbox = [event for event in waiting if not isinstance(event, AttemptsLost)]
        if rows is not None:
            dag = rows.dag
            self._events.publish(DagUpdated(dag_id, dag.state, dag.operator, dag.stage))
        if rows is None or rows.dag.state.is_final:
            # Operators on a finished DAG lost a race; attempts of it have nothing to tell.
            self._let_go(live)
            return
        live.snapshot = Snapshot(rows.dag, rows.nodes, rows.sub_tasks)
        live.inbox += self._find_lost(live, is_spoilt)
        live.last_decision_failed = is_spoilt
        if live.inbox:
            self._due[dag_id] = live
            self._wake.set()

    def _find_lost(self, live: ActiveDag, is_spoilt: bool) -> list[SchedulerEvent]:
        """What to do about sub-tasks that run by the store, and by nobody here."""
        if any(isinstance(event, DagRecovered) for event in live.inbox):
            return []  # all of them are looked after by that
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
            _log.error("dag_left_alone", dag_id=live.snapshot.dag.dag_id)  # it cannot even fail
            return []
        return [AttemptEnded(task.sub_task_id, task.attempt_no, Failed(_SPOILT)) for task in lost]

    # --- what follows ------------------------------------------------------------------------

    def _follow(self, decision: Decision) -> None:
        live, snapshot = decision.live, decision.live.snapshot
        live.last_decision_failed = False
        if decision.batch is not None:
            self._locks.apply(decision.batch)
            self._marks.apply(decision.batch)
        if snapshot.dag.state.is_final:
            self._let_go(live)
        for start in decision.starts:
            if snapshot.sub_tasks[start.sub_task_id].state is State.RUNNING:
                self._start_attempt(live, start)
        for sub_task_id in decision.cancels:  # of some that were begun in the same pass, perhaps
            self._cancel_attempt(sub_task_id)
        for post in decision.posts:
            self.post(*post)
        for confirm in decision.confirm:
            confirm()
        if decision.heir is not None:
            self._decider.tell_heir(decision.heir)

    def _let_go(self, live: ActiveDag) -> None:
        """The DAG has ended."""
        dag_id = live.snapshot.dag.dag_id
        if self.live.get(dag_id) is live:  # else an operator has opened it again meanwhile
            del self.live[dag_id]
        self._decider.forget(dag_id)
        late, live.inbox = live.inbox, []
        for event in late:
            self._drop(dag_id, event)

    def _tell(self, batches: Iterable[Batch]) -> None:
        log = _log.bind()  # once for all of them: it is most of the cost of a line
        for batch in batches:
            for event in events_of(batch):
                if (line := log_fields(event)) is not None:
                    log.info(line[0], **line[1])
                self._events.publish(event)
