"""The engine, which embedders, the API and the command line call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from types import TracebackType

from dagengine.act_guard import ActGuard
from dagengine.engine import messages
from dagengine.engine.active_dag import DagRecovered
from dagengine.engine.attempt_runner import AttemptRunner
from dagengine.engine.events import Events, Subscription
from dagengine.engine.operator_requests import OperatorRequests
from dagengine.engine.projections import Projections, release_orphans
from dagengine.engine.pruner import Pruner
from dagengine.engine.queries import EngineQueries
from dagengine.engine.registry import Registry, check_arguments
from dagengine.engine.scheduler import Scheduler
from dagengine.engine.submission import SubmissionService
from dagengine.errors import StaleWrite, TaskNotFound
from dagengine.model.declarations import check_key, check_submission
from dagengine.model.events import EventRecord
from dagengine.model.fencing import FencingToken
from dagengine.model.ids import AgentAddress, OwnIds
from dagengine.model.json_values import normalize_text
from dagengine.model.operation import IdempotencyKey, Operation, Submission
from dagengine.model.outcome import Problem
from dagengine.model.records import (
    AttemptRecord,
    AuditRecord,
    DagDetail,
    DagRecord,
    LockRecord,
    LogRecord,
    NodeDetail,
    SubTaskDetail,
)
from dagengine.model.stage_kinds import Wait
from dagengine.model.states import Operator, State
from dagengine.rules.operators import refuse_operator
from dagengine.rules.snapshot import Snapshot
from dagengine.runtime.cancellation import run_phase, wait_out
from dagengine.runtime.clock import PROCESS_TIME, Clock, SystemClock
from dagengine.store.contract import CLOSE_LIMIT_S, DagRows, Retention, Store


class Engine:
    """Runs DAGs durably. Use it as an async context manager.

    Args:
        store: the durable state; opened and closed by the engine.
        operations: the operations that the engine can run.
        advertise: this controller's address in generic ids; pinned when the store is created, so
            that a later change does not invalidate existing ids (see `agent`).
        clock: source of time.
        confirm_timeout_s: limit for the confirmation that a cancelled step has ended, in seconds.
        retention: how long finished DAGs are kept.
        controller_name: name of this controller in fencing tokens; empty for its address.
        act_guard: decides when steps may send commands to hosts; None: always.

    Raises:
        ConfigError: an argument or the declaration of an operation is invalid.

    Attributes:
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
        controller_name: str = "",
        act_guard: ActGuard | None = None,
    ) -> None:
        clock = SystemClock() if clock is None else clock
        check_arguments(store, advertise, clock, confirm_timeout_s, retention)
        self._store = store
        self._controller_name = controller_name or str(advertise)
        self._clock = clock
        self._ids = OwnIds(advertise)
        self.events = Events()
        self.started_at = self._clock.now()
        self._registry = Registry(operations)
        self._projections = Projections()
        self._runner = AttemptRunner(self._registry, self._clock, self._ids, confirm_timeout_s)
        self._runner.act_guard = act_guard
        self._scheduler = Scheduler(
            store, self._clock, self.events, self._projections, self._runner, self._ids
        )
        self._submissions = SubmissionService(store, self._clock, self._registry, self._scheduler)
        self._operators = OperatorRequests(store, self._registry, self._scheduler)
        self._queries = EngineQueries(store, self._scheduler.active, self._ids)
        self._pruner = Pruner(store, self._clock, retention)
        self._watching = ExitStack()

    async def __aenter__(self) -> Engine:
        await self._store.open()
        try:
            await self._restore()
        except BaseException:
            await run_phase(self._store.close(), limit_s=CLOSE_LIMIT_S, phase="store")
            raise
        self.started_at = self._clock.now()
        self._watching.enter_context(PROCESS_TIME.watching())
        self._runner.open()
        self._scheduler.start()
        self._pruner.start()
        return self

    async def _restore(self) -> None:
        """Read what the last process has left, and make its unfinished DAGs active."""
        pinned = await self._store.pin("advertise", f"{self.agent.port} {self.agent.ip}")
        port, ip = pinned.split(" ", 1)
        self._ids.agent = AgentAddress(ip, int(port))
        name, identity = self._controller_name, await self._store.load_identity()
        self._runner.fencing = FencingToken(identity.store_id, identity.epoch, 0, name)
        self._submissions.last_ids = await self._store.last_ids()
        await self._projections.load(self._store)
        for rows in await self._store.load_unfinished():
            refusal = self._registry.refuse(rows.dag)
            snapshot = Snapshot(rows.dag, rows.nodes, rows.sub_tasks)
            self._scheduler.track(snapshot, DagRecovered(refusal))
        locks, active = self._projections.locks, self._scheduler.active
        await release_orphans(self._store, locks, active, self._clock.now())

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
            await self._submissions.stop()
            await self._scheduler.stop()
            await self._runner.stop()
        finally:
            self._watching.close()
            self._operators.close()
            self.events.close()
            await run_phase(self._store.close(), limit_s=CLOSE_LIMIT_S, phase="store")

    @property
    def agent(self) -> AgentAddress:
        """The address in generic ids, as pinned in the store."""
        return self._ids.agent

    @property
    def is_scheduling(self) -> bool:
        """True while the scheduler accepts messages."""
        return self._scheduler.is_running

    @property
    def has_active_dags(self) -> bool:
        """True while a DAG is unfinished or being created."""
        return bool(self._scheduler.active) or not self._submissions.is_idle

    async def submit(
        self,
        submission: Submission,
        *,
        by: str = "",
        reason: str = "",
        dedupe_window_s: float = 0.0,
        key: IdempotencyKey | None = None,
        condition: Callable[[], None] | None = None,
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
            condition: called in the very step that creates the DAG; raises to create nothing.

        Raises:
            IdempotencyKeyReused: the key was used for a different request.
            UnknownOperation: the operation is not registered.
            IllegalArgument: an operation with lanes was submitted without targets, or an argument
                has the wrong type.
            NotSerializable: the parameters are not JSON.
            StoreUnavailable: the DAG was not created.
            EngineStopped: the engine was stopped; the next start shows whether the DAG exists.
        """
        self._scheduler.ensure_running()
        create, requester = self._submissions.create, (by, reason)
        if key is None:
            return await create(submission, requester, dedupe_window_s, None, condition)
        check_key(key)
        check_submission(submission)
        while (submitted := await self.find_submitted(key)) is None:
            with suppress(StaleWrite):  # a concurrent call used the key first: return its DAG
                if not await self._submissions.wait_for_key(key):
                    return await create(submission, requester, 0.0, key, condition)
        return submitted

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
            EngineStopped: the engine was stopped; the next start shows whether it was applied.
        """
        if operator not in Operator.__members__ or operator is Operator.RUN:
            raise refuse_operator(operator)
        await self._operate(dag_id, operator, None, None, by, reason)

    async def pass_node(self, node_id: int, *, by: str = "", reason: str = "") -> None:
        """PASS a FAILED node: its DAG continues after it. Raises the errors of `operate_dag`."""
        detail = await self._store.find_node(node_id, details=False)
        if detail is None:
            raise TaskNotFound(messages.NODE_NOT_FOUND(node_id=node_id))
        node = detail.node
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
        self._scheduler.ensure_running()
        by, reason = normalize_text(by), normalize_text(reason)
        audit = AuditRecord(0, self._clock.now(), dag_id, node_id, operator, by, reason)
        await self._operators.apply(operator, audit, stage)

    async def wait(self, dag_id: int) -> DagDetail:
        """Wait until the DAG is SUCCEED or FAILED, without polling.

        Raises:
            TaskNotFound: the DAG does not exist.
            EngineStopped: the engine was stopped before the DAG ended.
        """
        self._scheduler.ensure_running()
        with self.events.subscribe(dag_id) as subscription:
            while True:
                if dag_id not in self._scheduler.active:
                    detail = await self.find_dag(dag_id)
                    if detail is None:
                        raise TaskNotFound(messages.DAG_NOT_FOUND(dag_id=dag_id))
                    if detail.dag.state.is_final:
                        return detail
                await subscription.next_end()

    def subscribe(self, dag_id: int | None = None) -> AbstractContextManager[Subscription]:
        """Subscribe to the events of one DAG, or of all DAGs, from now on."""
        return self.events.subscribe(dag_id)

    async def find_dag(self, dag_id: int, *, details: bool = True) -> DagDetail | None:
        """Return a DAG, with `details` also its nodes, sub-tasks and log lines; None if unknown."""
        return await self._queries.find_dag(dag_id, details=details)

    async def find_rows(self, dag_id: int) -> DagRows | None:
        """Return a DAG's rows without log lines; None for an unknown DAG."""
        return await self._store.load_dag(dag_id)

    async def find_node(self, node_id: int, *, details: bool = True) -> NodeDetail | None:
        """Return a node, with `details` also its sub-tasks and log lines; None if unknown."""
        return await self._queries.find_node(node_id, details=details)

    async def find_sub_task(self, sub_task_id: int) -> SubTaskDetail | None:
        """Return a sub-task with its log lines; None if unknown."""
        return await self._queries.find_sub_task(sub_task_id)

    async def find_logs(self, sub_task_id: int) -> tuple[LogRecord, ...]:
        """Return the log lines of all attempts of a sub-task, oldest first."""
        return await self._store.find_logs(sub_task_id)

    async def find_attempts(self, sub_task_id: int) -> tuple[AttemptRecord, ...]:
        """Return a sub-task's attempts, oldest first."""
        return await self._store.find_attempts(sub_task_id)

    async def list_dag_attempts(self, dag_id: int) -> tuple[AttemptRecord, ...]:
        """Return the attempts of all sub-tasks of a DAG, by sub-task, oldest first."""
        return await self._store.list_dag_attempts(dag_id)

    async def find_submitted(self, key: IdempotencyKey) -> DagDetail | None:
        """Return the DAG that an idempotency key created, in its current state; None if unused.

        Raises:
            IdempotencyKeyReused: the key was used for a different request.
        """
        return await self._queries.find_submitted(key)

    async def list_dags(self, *, limit: int, details: bool) -> tuple[DagDetail, ...]:
        """Return the newest DAGs, newest first."""
        return await self._queries.list_dags(limit=limit, details=details)

    async def list_unfinished(self, *, details: bool) -> tuple[DagDetail, ...]:
        """Return every READY or RUNNING DAG, newest first."""
        return await self._queries.list_dags(unfinished=True, details=details)

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> tuple[DagDetail, ...]:
        """Return DAGs without details, newest first; see Store.search_dags."""
        return await self._queries.search_dags(before=before, state=state, name=name, limit=limit)

    async def count_dags(self) -> Mapping[State, int]:
        """Return the number of DAGs in each state; a state without DAGs may be absent."""
        return await self._store.count_dags()

    async def last_event(self, dag_id: int) -> int:
        """Return the number of a DAG's last event; 0 when it has none."""
        return await self._store.last_event(dag_id)

    async def list_events(
        self, dag_id: int, *, after: int = 0, limit: int = 1000
    ) -> tuple[EventRecord, ...]:
        """Return a DAG's events after number `after` (states and log lines), without a gap."""
        return await self._store.list_events(dag_id, after=after, limit=limit)

    async def list_audit(
        self, dag_id: int | None = None, *, limit: int = 1000, before: int | None = None
    ) -> tuple[AuditRecord, ...]:
        """Return the audit of one DAG or of all DAGs, newest first; only rows before `before`."""
        return await self._store.list_audit(dag_id, limit=limit, before=before)

    async def probe_store(self, now: datetime) -> None:
        """Check the store with a durable write; raises StoreUnavailable if it is not writable."""
        await self._store.probe(now)

    def name_of(self, dag_id: int) -> str:
        """Return the operation's name of an active DAG; empty for any other DAG."""
        active_dag = self._scheduler.active.get(dag_id)
        return "" if active_dag is None else active_dag.snapshot.dag.name

    def explain_refusal(self, dag: DagRecord) -> Problem | None:
        """Return why no step of a stored DAG can run in this engine; None when steps can."""
        return self._registry.refuse(dag)

    def explain_wait(self, dag_id: int, sub_task_id: int) -> Wait | None:
        """Return what an unfinished sub-task of an active DAG waits for; None for any other."""
        return self._queries.explain_wait(dag_id, sub_task_id)

    def list_locks(self) -> Sequence[LockRecord]:
        """Return every lock that was ever taken, including free ones."""
        return self._projections.locks.all()

    def holder(self, key: str) -> LockRecord | None:
        """Return a lock with its holder; None when it is free."""
        return self._projections.locks.holder(key)

    def next_fencing_token(self, key: str) -> FencingToken:
        """Return the token of the next DAG that takes a lock, as far as can be known now."""
        token = lock.token if (lock := self._projections.locks.find(key)) else 0
        return replace(self._runner.fencing, lock_token=token + 1)

    def list_claims(self, key: str) -> tuple[int, ...]:
        """Return the ids of the unfinished DAGs that hold a lock, have requested it or will."""
        return self._submissions.list_claims(key)

    def holders(self) -> tuple[LockRecord, ...]:
        """Return every lock that is held, in the order of the keys."""
        return self._projections.locks.holders()

    async def describe_holder(self, holder: LockRecord) -> str:
        """Describe the holder of a lock in a sentence: DAG, stage, waits, start of the hold."""
        return self._scheduler.describe_holder(holder)

    def generic_id(self, row_id: int) -> str:
        """Return the generic id of a row of this controller."""
        return self._ids.render(row_id)
