"""The engine: what embedders, the API and the command line call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType

import structlog

from dagengine.clock import Clock, SystemClock
from dagengine.engine.attempt import Attempt, AttemptContext, Ports
from dagengine.engine.events import DagMoved, Events, LineLogged, Subscription
from dagengine.engine.locks import Locks
from dagengine.engine.registry import Registry
from dagengine.engine.scheduler import (
    AttemptEnded,
    Begun,
    Found,
    LockWanted,
    OperatorAsked,
    Scheduler,
)
from dagengine.engine.service import Service
from dagengine.errors import TaskNotFound, UnknownOperation
from dagengine.model.ids import AgentAddress, IdKind, encode_id
from dagengine.model.records import (
    DagDetail,
    DagRecord,
    LockRecord,
    LogRecord,
    NodeDetail,
    SubTaskDetail,
)
from dagengine.model.spec import Operation, Submission
from dagengine.model.states import Operator
from dagengine.model.transition import Batch, DagCreated, LogAppended
from dagengine.rules import plan
from dagengine.rules.operators import refuse_operator
from dagengine.rules.snapshot import Snapshot
from dagengine.store.base import LastIds, Store

_log = structlog.get_logger("dagengine.engine")


class Engine(Service):
    """Runs DAGs durably. Use it as an async context manager.

    Args:
        store: where everything durable is; opened and closed by the engine.
        operations: what it can run.
        advertise: this controller's address in generic ids; fixed in the store when it is
            made, so a later change does not orphan ids (see `agent`).
        clock: where time comes from.
        cancel_proof_s: bound on proving that a cancelled step has ended, in seconds.

    Attributes:
        agent: the address that is fixed in the store.
        events: what happened, for readers within the process.
        started_at: when it was entered.
    """

    name = "engine"

    def __init__(
        self,
        *,
        store: Store,
        operations: Iterable[Operation],
        advertise: AgentAddress = AgentAddress("127.0.0.1", 2886),  # noqa: B008  # frozen
        clock: Clock | None = None,
        cancel_proof_s: float = 60.0,
    ) -> None:
        super().__init__()
        self.agent = advertise
        self.events = Events()
        self._store = store
        self._clock = clock or SystemClock()
        self.started_at = self._clock.now()
        self._registry = Registry(operations)
        self._cancel_proof_s = cancel_proof_s
        self._locks = Locks()
        self._attempts: dict[int, Attempt] = {}
        self._last_ids = LastIds(0, 0, 0)
        self._submitting = asyncio.Lock()
        self._scheduler = Scheduler(
            store, self._clock, self.events, self._locks, self._start_attempt, self._cancel_attempt
        )
        self._ports = Ports(
            self._append_line, self._take_lock, self.describe_holder, self.generic_id
        )

    async def __aenter__(self) -> Engine:
        await self._store.open()
        try:
            pinned = await self._store.pin("advertise", f"{self.agent.port} {self.agent.ip}")
            port, ip = pinned.split(" ", 1)
            self.agent = AgentAddress(ip, int(port))
            self._last_ids = await self._store.last_ids()
            self._locks.load(await self._store.load_locks())
            for rows in await self._store.load_unfinished():
                refusal = self._registry.refuse(rows.dag)
                snapshot = Snapshot(rows.dag, rows.nodes, rows.sub_tasks)
                self._scheduler.adopt(snapshot, Found(refusal))
        except BaseException:
            await self._store.close()
            raise
        self.started_at = self._clock.now()
        self._scheduler.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Attempts that end from here on stay open in the store: the next start resumes them.
        await self._scheduler.stop()
        await self.stop()
        await self._store.close()

    # --- acting ----------------------------------------------------------------------------

    async def submit(
        self, submission: Submission, *, by: str = "", dedupe_window_s: float = 0.0
    ) -> DagDetail:
        """Create a DAG; it is durable and READY on return, and begins at once.

        Args:
            submission: what to run.
            by: who asks, for the log.
            dedupe_window_s: an unfinished DAG of the same submission that is younger than
                this, in seconds, is answered instead of a new one. 0: never.

        Raises:
            UnknownOperation: no such operation.
            StoreUnusable: nothing was created.
        """
        async with self._submitting:
            now = self._clock.now()
            if (same := self._find_same(submission, dedupe_window_s)) is not None:
                return DagDetail(same, None)
            created = self._registry.instantiate(submission, self._last_ids, now)
            dag = created.dag
            await self._store.commit([Batch(dag.dag_id, None, (created,))])
            self._last_ids = _ids_after(created)
        _log.info("dag_submitted", dag_id=dag.dag_id, operation=dag.name, by=by)
        self._scheduler.adopt(Snapshot(dag, created.nodes, created.sub_tasks), Begun())
        return DagDetail(dag, None)

    async def operate_dag(self, dag_id: int, operator: Operator, *, by: str = "") -> None:
        """CANCEL, RETRY or PASS a DAG; returns when the request is durable.

        Raises:
            TaskNotFound: no such DAG.
            OperatorRefused: not in this state, or not for this operation.
            LockHeld: another DAG holds the lock that a retry needs.
            Conflict: somebody else was faster.
        """
        if operator in (Operator.RUN, Operator.ROLLBACK):
            raise refuse_operator(operator)
        reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        event = OperatorAsked(operator, reply)
        at_rest = None
        if dag_id not in self._scheduler.live:
            at_rest = await self._load_at_rest(dag_id, operator)
        if at_rest is None or dag_id in self._scheduler.live:
            self._scheduler.post(dag_id, event)
        else:
            self._scheduler.adopt(at_rest, event)
        _log.info("operator_asked", dag_id=dag_id, operator=operator, by=by)
        await reply

    # --- reading ---------------------------------------------------------------------------

    async def find_dag(self, dag_id: int, *, details: bool = True) -> DagDetail | None:
        """A DAG; with nodes, sub-tasks and lines when `details`. None: no such DAG."""
        return await self._store.find_dag(dag_id, details=details)

    async def find_node(self, node_id: int, *, details: bool = True) -> NodeDetail | None:
        """A node; with sub-tasks and lines when `details`. None: no such node."""
        return await self._store.find_node(node_id, details=details)

    async def find_sub_task(self, sub_task_id: int) -> SubTaskDetail | None:
        """A sub-task with its lines. None: no such sub-task."""
        return await self._store.find_sub_task(sub_task_id)

    async def find_logs(self, sub_task_id: int) -> tuple[LogRecord, ...]:
        """A sub-task's lines of all attempts, oldest first."""
        return await self._store.find_logs(sub_task_id)

    async def list_unfinished(self, *, details: bool) -> tuple[DagDetail, ...]:
        """Every READY or RUNNING DAG, newest first."""
        return await self._detailed(await self._store.list_dags(limit=-1, unfinished=True), details)

    async def list_dags(self, *, limit: int, details: bool) -> tuple[DagDetail, ...]:
        """The newest DAGs, newest first."""
        return await self._detailed(await self._store.list_dags(limit=limit), details)

    async def wait(self, dag_id: int) -> DagDetail:
        """Wait until the DAG is SUCCEED or FAILED; no polling.

        Raises:
            TaskNotFound: no such DAG.
        """
        with self.events.subscribe(dag_id) as subscription:
            while True:
                found = await self.find_dag(dag_id)
                if found is None:
                    raise TaskNotFound(f"there is no DAG {dag_id}")
                if found.dag.state.is_final:
                    return found
                await _next_end(subscription)

    def subscribe(self, dag_id: int | None = None) -> AbstractContextManager[Subscription]:
        """Follow what happens to one DAG, or to all, from now on."""
        return self.events.subscribe(dag_id)

    def generic_id(self, row_id: int) -> str:
        """How a row of this controller is named on the wire."""
        return encode_id(IdKind.LOCAL, self.agent, row_id)

    def holder(self, key: str) -> LockRecord | None:
        """Who holds a lock; None when it is free."""
        return self._locks.holder(key)

    async def describe_holder(self, holder: LockRecord) -> str:
        """One sentence: which DAG holds the lock, where it is, since when."""
        dag_id = holder.dag_id or 0
        since = holder.since_at.astimezone().isoformat(timespec="seconds")
        live = self._scheduler.live.get(dag_id)
        where = ""
        if live is not None:
            dag = live.snapshot.dag
            node = live.snapshot.nodes[dag.stage]
            where = f", at stage {dag.stage} of {dag.max_stage} '{node.name}'"
        return f"'{holder.reason}' {self.generic_id(dag_id)}{where}, since {since}"

    # --- below: the parts ------------------------------------------------------------------

    async def _load_at_rest(self, dag_id: int, operator: Operator) -> Snapshot:
        """A DAG that the scheduler does not work on, because it has ended."""
        rows = await self._store.load_dag(dag_id)
        if rows is None:
            raise TaskNotFound(f"there is no DAG {dag_id}")
        refusal = self._registry.refuse(rows.dag)
        if refusal is not None and operator is Operator.RETRY:
            raise UnknownOperation(refusal.message, remedy=refusal.remedy)
        return Snapshot(rows.dag, rows.nodes, rows.sub_tasks)

    def _find_same(self, submission: Submission, window_s: float) -> DagRecord | None:
        now = self._clock.now()
        for live in self._scheduler.live.values():
            dag = live.snapshot.dag
            if (
                0 <= (now - dag.created_at).total_seconds() < window_s
                and dag.name == submission.operation
                and dag.targets == tuple(submission.targets)
                and dag.params == submission.params
            ):
                return dag
        return None

    async def _detailed(self, dags: tuple[DagRecord, ...], details: bool) -> tuple[DagDetail, ...]:
        if not details:
            return tuple(DagDetail(dag, None) for dag in dags)
        found = [await self._store.find_dag(dag.dag_id, details=True) for dag in dags]
        return tuple(detail for detail in found if detail is not None)

    def _start_attempt(self, snapshot: Snapshot, start: plan.Start) -> None:
        sub_task = snapshot.sub_tasks[start.sub_task_id]
        attempt = Attempt(
            self._registry.stage_of(snapshot.dag, sub_task.stage),
            AttemptContext(snapshot, sub_task, self._ports, self._clock, start.resumed),
            cancel_proof_s=self._cancel_proof_s,
            settle_only=start.settle_only,
        )
        self._attempts[sub_task.sub_task_id] = attempt
        name = f"attempt {sub_task.attempt_no} of sub-task {sub_task.sub_task_id}"
        self.spawn(self._run_attempt(sub_task.dag_id, start.sub_task_id, attempt), name=name)

    async def _run_attempt(self, dag_id: int, sub_task_id: int, attempt: Attempt) -> None:
        try:
            outcome = await attempt.run()
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
        (stale,) = await self._store.commit([Batch(dag_id, None, (LogAppended(line),))])
        if stale is not None:
            raise stale
        self.events.publish(LineLogged(dag_id, line))

    async def _take_lock(self, dag_id: int) -> LockRecord | None:
        reply: asyncio.Future[LockRecord | None] = asyncio.get_running_loop().create_future()
        self._scheduler.post(dag_id, LockWanted(reply))
        return await reply


def _ids_after(created: DagCreated) -> LastIds:
    return LastIds(created.dag.dag_id, created.nodes[-1].node_id, created.sub_tasks[-1].sub_task_id)


async def _next_end(subscription: Subscription) -> None:
    """Wait for an event after which the DAG may have ended."""
    while not subscription.missed:
        event = await subscription.next()
        if isinstance(event, DagMoved) and event.state.is_final:
            return
    subscription.missed = 0
