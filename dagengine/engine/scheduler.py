"""The scheduler: decides queued messages, writes the decisions in one commit, runs side effects.

Each pass takes all queued messages, applies the rules, writes all batches in one commit, and only
then starts attempts, replies to operators and publishes events. The scheduler does not poll: a
pass runs when a message arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

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
    describe_holder,
    refuse,
)
from dagengine.engine.attempt_runner import AttemptRunner
from dagengine.engine.decisions import Decision, DecisionMaker
from dagengine.engine.events import DagUpdated, Events, LineLogged, events_of, log_fields
from dagengine.engine.projections import Projections
from dagengine.error_codes import Code
from dagengine.errors import (
    DagengineError,
    EngineStopped,
    NotSerializable,
    OwnershipLost,
    StaleWrite,
    StoreUnavailable,
)
from dagengine.model.changes import Batch, LogAppended, TargetConfirmed
from dagengine.model.ids import OwnIds
from dagengine.model.outcome import Failed, Problem
from dagengine.model.records import LockRecord, LogRecord, UnconfirmedRecord
from dagengine.model.states import State
from dagengine.model.step import LockResult
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
    Code.UNEXPECTED,
    messages.END_NOT_RECORDED(),
    messages.SEE_LOG_THEN_RETRY(),
)


class Scheduler(Service):
    """Runs active DAGs in passes, and is the mailbox of their attempts; see the module docstring.

    Args:
        store: the durable state.
        clock: source of time.
        events: receives every event after its commit.
        projections: updated after each commit.
        runner: runs the attempts of active DAGs.
        ids: renders the ids that messages contain.

    Attributes:
        active: the DAGs that the scheduler works on, by id.
    """

    name = "scheduler"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        events: Events,
        projections: Projections,
        runner: AttemptRunner,
        ids: OwnIds,
    ) -> None:
        super().__init__()
        self.active: dict[int, ActiveDag] = {}
        self._store = store
        self._events = events
        self._projections = projections
        self._runner = runner
        self._ids = ids
        self._decider = DecisionMaker(self.active, clock, projections.locks, ids)
        self._due: dict[int, ActiveDag] = {}
        self._work_count = 0  # passes and writes in progress
        self._wake = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """True if no message is queued, no pass runs and no write is in progress."""
        return not self._due and not self._work_count

    def ensure_running(self) -> None:
        """Raise EngineStopped unless the scheduler runs."""
        if not self.is_running:
            raise engine_stopped_error()

    def track(self, snapshot: Snapshot, message: DagMessage) -> None:
        """Make a DAG active and post its first message."""
        dag_id = snapshot.dag.dag_id
        self.active[dag_id] = ActiveDag(snapshot)
        self.post(dag_id, message)

    def track_started(
        self, snapshot: Snapshot, batch: Batch, starts: list[plan.AttemptStart]
    ) -> None:
        """Make a new DAG active whose first stage was started in the commit that created it."""
        active_dag = self.active[snapshot.dag.dag_id] = ActiveDag(snapshot)
        self._publish([batch])
        self._run_effects(Decision(active_dag, batch, starts))

    def post(self, dag_id: int, message: DagMessage) -> None:
        """Queue a message. If the DAG is not active, the message is out of date and discarded."""
        active_dag = self.active.get(dag_id)
        if active_dag is None:
            self._drop(dag_id, message)
            return
        active_dag.inbox.append(message)
        self._due[dag_id] = active_dag
        self._wake.set()

    def _drop(self, dag_id: int, message: DagMessage) -> None:
        """Discard a message because its DAG has ended, and inform the waiting caller."""
        if (post := self._decider.reject_late(dag_id, message)) is not None:
            self.post(*post)

    # --- the mailbox of attempts -------------------------------------------------------------

    async def append_log(self, dag_id: int, line: LogRecord) -> None:
        # The commit waits while the store refuses: a step that may have acted already must not
        # fail because the disk is full for a while.
        (stale,) = await self.commit([Batch(dag_id, None, (LogAppended(line),))])
        if stale is not None:
            raise stale
        self._events.publish(LineLogged(dag_id, line))

    def find_unconfirmed(self, target: str | None) -> UnconfirmedRecord | None:
        return self._projections.unconfirmed.find(target)

    async def mark_confirmed(self, dag_id: int, marker: UnconfirmedRecord) -> None:
        batch = Batch(dag_id, None, (TargetConfirmed(marker),))
        (refusal,) = await self.commit([batch])
        if refusal is None:  # otherwise the marker was cleared or replaced concurrently
            self._projections.apply(batch)

    async def request_lock(self, dag_id: int, force_pass: Sequence[str]) -> LockResult:
        reply: asyncio.Future[LockResult] = asyncio.get_running_loop().create_future()
        force_pass_ids = frozenset(filter(None, map(self._ids.find_row_id, force_pass)))
        # The force pass is attributed to the user of the DAG's last START or operator.
        audit = await self._store.list_audit(dag_id, limit=1) if force_pass_ids else ()
        by = audit[0].by if audit else ""
        self.post(dag_id, LockRequested(reply, force_pass_ids, by))
        return await reply

    def describe_holder(self, holder: LockRecord) -> str:
        return describe_holder(holder, self.active.get(holder.dag_id or 0), self._ids)

    # --- passes ------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._work_count += 1
            try:
                await self.run_pass()
            except OwnershipLost as exc:
                # Nothing may be decided or reported any more; the owner of the engine drops it.
                _log.error("ownership_lost", error=str(exc))
                self._started = False
                return
            finally:
                self._work_count -= 1

    async def run_pass(self) -> None:
        """Decide all queued messages, write the decisions in one commit, then run side effects."""
        self._wake.clear()
        due, self._due = list(self._due.values()), {}
        decisions = [self._decider.decide(active_dag) for active_dag in due]
        await self._write(decisions)
        written_decisions = [decision for decision in decisions if decision.failure is None]
        self._publish(d.batch for d in written_decisions if d.batch is not None)
        # Apply before the first await: a subscriber notified of a DAG's end checks `live`.
        for decision in written_decisions:
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
        to_write = [d for d in decisions if d.batch is not None and d.failure is None]
        try:
            results = await self.commit([d.batch for d in to_write if d.batch is not None])
        except OwnershipLost:
            raise
        except Exception as exc:  # noqa: BLE001  # a bug: memory must not differ from the store
            defect: BatchRefused = NotSerializable(f"{type(exc).__name__}: {exc}")
            defect.__cause__ = exc  # with its traceback, for the log
            results = [defect for _ in to_write]
        for decision, refusal in zip(to_write, results, strict=True):
            decision.failure = refusal

    async def commit(self, batches: list[Batch]) -> list[BatchRefused | None]:
        """Write batches; retry while the store is unavailable, which suspends the scheduler."""
        if not batches:
            return []
        self._work_count += 1
        try:
            return await self._commit_with_retry(lambda: self._store.commit(batches))
        finally:
            self._work_count -= 1

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
        """Discard a failed decision: reload the DAG; queue its messages again if it was stale."""
        active_dag, messages = decision.active_dag, decision.messages
        dag_id = active_dag.snapshot.dag.dag_id
        is_stale = isinstance(failure, StaleWrite)
        if is_stale:
            _log.warning("decision_was_stale", dag_id=dag_id, error=str(failure))
        else:
            _log.error("decision_failed", dag_id=dag_id, exc_info=failure)
            self._refuse_all(dag_id, messages, failure)
            messages = []
        self._projections.locks.load(await self._commit_with_retry(self._store.load_locks))
        await self._reload(active_dag, messages, is_spoilt=not is_stale)
        if decision.lock_successor is not None:
            await self._reload(decision.lock_successor, [])

    def _refuse_all(self, dag_id: int, messages: Iterable[DagMessage], failure: Exception) -> None:
        """Report a failure to the callers of messages that cannot be decided or written."""
        error = failure if isinstance(failure, DagengineError) else NotSerializable(str(failure))
        for message in messages:
            if isinstance(message, ForcePassRequested):
                self._drop(dag_id, message)
            else:
                refuse(message, error)

    async def _reload(
        self, active_dag: ActiveDag, messages: list[DagMessage], *, is_spoilt: bool = False
    ) -> None:
        dag_id = active_dag.snapshot.dag.dag_id
        rows = await self._commit_with_retry(lambda: self._store.load_dag(dag_id))
        # Requeue ahead of newer messages; lost attempts are detected again below.
        waiting = [*messages, *active_dag.inbox]
        active_dag.inbox = [message for message in waiting if not isinstance(message, AttemptsLost)]
        if rows is not None:
            dag = rows.dag
            self._events.publish(DagUpdated(dag_id, dag.state, dag.operator, dag.stage))
        if rows is None or rows.dag.state.is_final:
            # Operators on a finished DAG lost a race; outcomes of its attempts are irrelevant.
            self._untrack(active_dag)
            return
        active_dag.snapshot = Snapshot(rows.dag, rows.nodes, rows.sub_tasks)
        active_dag.inbox += self._detect_lost_attempts(active_dag, is_spoilt)
        active_dag.last_decision_failed = is_spoilt
        if active_dag.inbox:
            self._due[dag_id] = active_dag
            self._wake.set()

    def _detect_lost_attempts(self, active_dag: ActiveDag, is_spoilt: bool) -> list[DagMessage]:
        """Return messages for sub-tasks that are RUNNING in the store but have no attempt here."""
        if any(isinstance(message, DagRecovered) for message in active_dag.inbox):
            return []  # the recovery message covers all attempts
        ended = {
            (message.sub_task_id, message.attempt_no)
            for message in active_dag.inbox
            if isinstance(message, AttemptEnded)
        }
        lost = [
            task
            for task in active_dag.snapshot.running
            if not self._runner.has(task.sub_task_id)
            and (task.sub_task_id, task.attempt_no) not in ended
        ]
        if not lost:
            return []
        if not is_spoilt:
            return [AttemptsLost(frozenset(task.sub_task_id for task in lost))]
        if active_dag.last_decision_failed:
            # Ending the attempts as Failed was not possible either.
            _log.error("dag_stuck", dag_id=active_dag.snapshot.dag.dag_id)
            return []
        return [AttemptEnded(task.sub_task_id, task.attempt_no, Failed(_SPOILT)) for task in lost]

    # --- side effects ------------------------------------------------------------------------

    def _run_effects(self, decision: Decision) -> None:
        active_dag, snapshot = decision.active_dag, decision.active_dag.snapshot
        active_dag.last_decision_failed = False
        if decision.batch is not None:
            self._projections.apply(decision.batch)
        if snapshot.dag.state.is_final:
            self._untrack(active_dag)
        for start in decision.starts:
            if snapshot.sub_tasks[start.sub_task_id].state is State.RUNNING:
                self._runner.start(active_dag, start, self)
        for sub_task_id in decision.cancels:  # may include attempts started in the same pass
            self._runner.cancel(sub_task_id)
        for post in decision.posts:
            self.post(*post)
        for reply in decision.replies:
            reply.send()
        if decision.lock_successor is not None:
            self._decider.notify_lock_successor(decision.lock_successor)

    def _untrack(self, active_dag: ActiveDag) -> None:
        """Make a DAG inactive because it has ended, and discard its queued messages."""
        dag_id = active_dag.snapshot.dag.dag_id
        if self.active.get(dag_id) is active_dag:  # otherwise an operator has reopened the DAG
            del self.active[dag_id]
        self._decider.discard(dag_id)
        late, active_dag.inbox = active_dag.inbox, []
        for message in late:
            self._drop(dag_id, message)

    def _publish(self, batches: Iterable[Batch]) -> None:
        log = _log.bind()  # bound once per call: binding is most of the cost of a log line
        for batch in batches:
            for event in events_of(batch):
                if (line := log_fields(event)) is not None:
                    log.info(line[0], **line[1])
                self._events.publish(event)


def engine_stopped_error() -> EngineStopped:
    """Return the error of a call to an engine that is not running."""
    return EngineStopped(messages.ENGINE_NOT_RUNNING(), remedy=messages.REPEAT_WHEN_RUNNING())
