"""The engine, which embedders, the API and the command line call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType

import structlog

from dagengine.engine.attempt import Attempt, AttemptContext, AttemptServices
from dagengine.engine.deadlines import find_limit
from dagengine.engine.events import DagUpdated, Events, LineLogged, Subscription
from dagengine.engine.messages import (
    ActiveDag,
    AttemptEnded,
    DagRecovered,
    LockRequested,
    OperatorRequested,
)
from dagengine.engine.pruner import Pruner
from dagengine.engine.queries import EngineQueries
from dagengine.engine.recovery import release_orphans
from dagengine.engine.registry import Registry
from dagengine.engine.scheduler import Scheduler
from dagengine.engine.submission import SubmissionService
from dagengine.engine.unconfirmed import UnconfirmedTargets
from dagengine.errors import EngineStopped, InvalidId, StaleWrite, TaskNotFound, UnknownOperation
from dagengine.model.changes import (
    Batch,
    LogAppended,
    TargetConfirmed,
)
from dagengine.model.ids import AgentAddress, decode_id_at
from dagengine.model.json_values import normalize_text
from dagengine.model.operation import IdempotencyKey, Operation, Submission
from dagengine.model.records import AuditRecord, DagDetail, LogRecord, UnconfirmedRecord
from dagengine.model.states import Operator
from dagengine.model.step import LockResult
from dagengine.rules import planning as plan
from dagengine.rules.operators import goes_on, refuse_operator
from dagengine.rules.snapshot import Snapshot
from dagengine.runtime.cancellation import wait_out
from dagengine.runtime.clock import Clock, SystemClock
from dagengine.runtime.service import Service
from dagengine.store.contract import Retention, Store

_log = structlog.get_logger("dagengine.engine")


class Engine(EngineQueries):
    """Runs DAGs durably. Use it as an async context manager.

    Args:
        store: the durable state; opened and closed by the engine.
        operations: the operations that the engine can run.
        advertise: this controller's address in generic ids. It is pinned when the store is
            created, so a later change does not invalidate existing ids (see `agent`).
        clock: source of time.
        confirm_timeout_s: time limit for the confirmation that a cancelled step has ended, in
            seconds.
        retention: how long finished DAGs are kept.

    Attributes:
        agent: the address that is pinned in the store.
        events: event stream for subscribers in this process.
        started_at: when the engine was started.
    """

    def __init__(
        self,
        *,
        store: Store,
        operations: Iterable[Operation],
        advertise: AgentAddress = AgentAddress("127.0.0.1", 2886),  # noqa: B008  # frozen
        clock: Clock | None = None,
        confirm_timeout_s: float = 60.0,
        retention: Retention = Retention(),  # noqa: B008  # frozen
    ) -> None:
        super().__init__(store, advertise)
        self.events = Events()
        self._clock = clock or SystemClock()
        self.started_at = self._clock.now()
        self._registry = Registry(operations)
        self._confirm_timeout_s = confirm_timeout_s
        self._unconfirmed_targets = UnconfirmedTargets()
        self._asking: set[asyncio.Future[None]] = set()
        self._work = Service("attempts")
        self._pruner = Pruner(store, self._clock, retention)
        self._scheduler = Scheduler(
            store,
            self._clock,
            self.events,
            self._locks,
            self._unconfirmed_targets,
            self._start_attempt,
            self._cancel_attempt,
            self._attempts.__contains__,
            self.generic_id,
        )
        self._creator = SubmissionService(store, self._clock, self._registry, self._scheduler)
        self._live = self._scheduler.live
        self._ports = AttemptServices(
            self._append_line,
            self._take_lock,
            self.describe_holder,
            self._unconfirmed_targets.find,
            self._mark_confirmed,
            self.generic_id,
        )

    async def __aenter__(self) -> Engine:
        await self._store.open()
        try:
            pinned = await self._store.pin("advertise", f"{self.agent.port} {self.agent.ip}")
            port, ip = pinned.split(" ", 1)
            self.agent = AgentAddress(ip, int(port))
            self._creator.last_ids = await self._store.last_ids()
            self._locks.load(await self._store.load_locks())
            self._unconfirmed_targets.load(await self._store.load_unconfirmed())
            for rows in await self._store.load_unfinished():
                refusal = self._registry.refuse(rows.dag)
                snapshot = Snapshot(rows.dag, rows.nodes, rows.sub_tasks)
                self._scheduler.track(snapshot, DagRecovered(refusal))
            await release_orphans(self._store, self._locks, self._live, self._clock.now())
        except BaseException:
            await self._store.close()
            raise
        self.started_at = self._clock.now()
        self._scheduler.start()
        self._pruner.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task = asyncio.create_task(self._leave(), name="leaving the engine")
        if (cancelled := await wait_out(task)) is not None:
            raise cancelled
        task.result()

    async def _leave(self) -> None:
        # Attempts that end from here on stay open in the store; the next start resumes them.
        try:
            await self._pruner.stop()
            await self._creator.stop()
            await self._scheduler.stop()
            await self._work.stop()
        finally:
            for reply in self._asking:
                if not reply.done():
                    reply.set_exception(_stopped())
            self.events.close()
            await self._store.close()

    def _refuse_stopped(self) -> None:
        if not self._scheduler.is_running:
            raise _stopped()

    # --- commands --------------------------------------------------------------------------

    async def submit(
        self,
        submission: Submission,
        *,
        by: str = "",
        reason: str = "",
        dedupe_window_s: float = 0.0,
        key: IdempotencyKey | None = None,
    ) -> DagDetail:
        """Create and start a DAG. It is durable on return; the returned record shows it as READY.

        Args:
            submission: the operation to run.
            by: the user, for the log and the audit.
            reason: the user's reason, for the audit.
            dedupe_window_s: in seconds. If an unfinished DAG of the same submission is younger,
                it is returned and no DAG is created. 0: always create a DAG.
            key: if it was used before, the DAG that it created is returned in its current
                state. With a key, `dedupe_window_s` is ignored.

        Raises:
            IdempotencyKeyReused: the key was used for a different request.
            UnknownOperation: the operation is not registered.
            IllegalArgument: an operation with lanes was submitted without targets.
            NotSerializable: the parameters are not JSON.
            StoreUnavailable: the DAG was not created.
            EngineStopped: the engine was stopped. The next start shows whether the DAG was
                created.
        """
        self._refuse_stopped()
        if key is None:
            return await self._creator.create(submission, (by, reason), dedupe_window_s, None)
        while (found := await self.find_submitted(key)) is None:
            with suppress(StaleWrite):  # a concurrent call used the key first: return its DAG
                return await self._creator.create(submission, (by, reason), 0.0, key)
        return found

    async def operate_dag(
        self, dag_id: int, operator: Operator, *, by: str = "", reason: str = ""
    ) -> None:
        """CANCEL, RETRY, ROLLBACK or PASS a DAG; the request is durable on return.

        Args:
            dag_id: the DAG.
            operator: the operator to apply.
            by: the user and the origin of the request; for the audit.
            reason: the user's reason; for the audit.

        Raises:
            TaskNotFound: the DAG does not exist.
            OperatorRefused: the DAG's state or its operation does not allow the operator.
            LockHeld: another DAG holds the lock that this DAG needs.
            Conflict: the DAG was changed concurrently.
            EngineStopped: the engine was stopped. The next start shows whether the operator was
                applied.
        """
        if operator is Operator.RUN:
            raise refuse_operator(operator)
        await self._operate(dag_id, operator, None, None, by, reason)

    async def pass_node(self, node_id: int, *, by: str = "", reason: str = "") -> None:
        """PASS a FAILED node: its DAG continues after it. Raises the errors of `operate_dag`."""
        found = await self._store.find_node(node_id, details=False)
        if found is None:
            raise TaskNotFound(f"there is no node {node_id}")
        node = found.node
        await self._operate(node.dag_id, Operator.PASS, node.stage, node_id, by, reason)

    async def _operate(
        self,
        dag_id: int,
        operator: Operator,
        stage: int | None,
        node_id: int | None,
        by: str,
        reason: str,
    ) -> None:
        self._refuse_stopped()
        reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        by, reason = normalize_text(by), normalize_text(reason)
        audit = AuditRecord(0, self._clock.now(), dag_id, node_id, operator, by, reason)
        event = OperatorRequested(operator, reply, audit, stage)
        at_rest = None
        if dag_id not in self._scheduler.live:
            at_rest = await self._load_at_rest(dag_id, needs_steps=goes_on(operator, stage))
        if at_rest is None or dag_id in self._scheduler.live:
            self._scheduler.post(dag_id, event)
        else:
            self._scheduler.track(at_rest, event)
        _log.info("operator_asked", dag_id=dag_id, operator=operator, by=by)
        self._asking.add(reply)
        try:
            await reply
        finally:
            self._asking.discard(reply)

    # --- subscriptions ---------------------------------------------------------------------

    async def wait(self, dag_id: int) -> DagDetail:
        """Wait until the DAG is SUCCEED or FAILED, without polling.

        Raises:
            TaskNotFound: the DAG does not exist.
            EngineStopped: the engine was stopped before the DAG ended.
        """
        self._refuse_stopped()
        with self.events.subscribe(dag_id) as subscription:
            while True:
                if dag_id not in self._live:
                    found = await self.find_dag(dag_id)
                    if found is None:
                        raise TaskNotFound(f"there is no DAG {dag_id}")
                    if found.dag.state.is_final:
                        return found
                await _next_end(subscription)

    def subscribe(self, dag_id: int | None = None) -> AbstractContextManager[Subscription]:
        """Subscribe to the events of one DAG, or of all DAGs, from now on."""
        return self.events.subscribe(dag_id)

    @property
    def is_scheduling(self) -> bool:
        """True while the scheduler accepts events."""
        return self._scheduler.is_running

    # --- internal methods ------------------------------------------------------------------

    async def _load_at_rest(self, dag_id: int, *, needs_steps: bool) -> Snapshot:
        """Load a DAG that the scheduler does not work on because it has ended."""
        rows = await self._store.load_dag(dag_id)
        if rows is None:
            raise TaskNotFound(f"there is no DAG {dag_id}")
        refusal = self._registry.refuse(rows.dag)
        if refusal is not None and needs_steps:
            raise UnknownOperation(refusal.message, remedy=refusal.remedy)
        return Snapshot(rows.dag, rows.nodes, rows.sub_tasks)

    def _start_attempt(self, live: ActiveDag, start: plan.Start) -> None:
        snapshot = live.snapshot
        sub_task = snapshot.sub_tasks[start.sub_task_id]
        operation = self._registry.find(snapshot.dag.name)
        attempt = Attempt(
            operation.stages[sub_task.stage - 1],
            AttemptContext(live, sub_task, self._ports, self._clock, start.resumed),
            find_limit(self._clock, live.begun_s, snapshot, sub_task.stage, operation),
            confirm_timeout_s=self._confirm_timeout_s,
            confirm_only=start.confirm_only,
            undo=start.undo,
        )
        self._attempts[sub_task.sub_task_id] = attempt
        name = f"attempt {sub_task.attempt_no} of sub-task {sub_task.sub_task_id}"
        running = self._run_attempt(sub_task.dag_id, start.sub_task_id, attempt)
        self._work.spawn(running, name=name)

    async def _run_attempt(self, dag_id: int, sub_task_id: int, attempt: Attempt) -> None:
        try:
            outcome = await attempt.run()
        except asyncio.CancelledError:
            if not self._scheduler.is_running:
                raise  # the engine is stopping
            outcome = attempt.end_by_itself()
        finally:
            if self._attempts.get(sub_task_id) is attempt:
                del self._attempts[sub_task_id]
        if outcome is not None:
            event = AttemptEnded(sub_task_id, attempt.attempt_no, outcome)
            self._scheduler.post(dag_id, event)

    def _cancel_attempt(self, sub_task_id: int) -> None:
        if (attempt := self._attempts.get(sub_task_id)) is not None:
            attempt.cancel()

    async def _append_line(self, dag_id: int, line: LogRecord) -> None:
        # The scheduler's commit waits while the store refuses: a step that may have acted already
        # must not fail because the disk is full for a while.
        (stale,) = await self._scheduler.commit([Batch(dag_id, None, (LogAppended(line),))])
        if stale is not None:
            raise stale
        self.events.publish(LineLogged(dag_id, line))

    async def _mark_confirmed(self, dag_id: int, mark: UnconfirmedRecord) -> None:
        batch = Batch(dag_id, None, (TargetConfirmed(mark),))
        (refused,) = await self._scheduler.commit([batch])
        if refused is None:  # otherwise the marker was cleared or replaced concurrently
            self._unconfirmed_targets.apply(batch)

    async def _take_lock(self, dag_id: int, force_pass: Sequence[str]) -> LockResult:
        reply: asyncio.Future[LockResult] = asyncio.get_running_loop().create_future()
        force_pass_ids = frozenset(filter(None, map(self._own_row_id, force_pass)))
        # The force pass is attributed to the user of the DAG's last START or operator.
        asked = await self._store.list_audit(dag_id, limit=1) if force_pass_ids else ()
        by = asked[0].by if asked else ""
        self._scheduler.post(dag_id, LockRequested(reply, force_pass_ids, by))
        return await reply

    def _own_row_id(self, generic_id: str) -> int | None:
        try:
            decoded = decode_id_at(generic_id, self.agent)
        except InvalidId:
            return None
        return decoded.row_id if decoded.agent == self.agent else None


def _stopped() -> EngineStopped:
    return EngineStopped("the engine is not running", remedy="ask again once it has been entered")


async def _next_end(subscription: Subscription) -> None:
    """Wait for an event after which the DAG may have ended, or for a loss of events."""
    while not subscription.missed:
        event = await subscription.next()
        if isinstance(event, DagUpdated) and event.state.is_final:
            return
    subscription.missed = 0
