"""Operators that users apply to DAGs, active or ended."""

from __future__ import annotations

import asyncio

import structlog

from dagengine.engine import messages
from dagengine.engine.active_dag import OperatorRequested
from dagengine.engine.registry import Registry
from dagengine.engine.scheduler import Scheduler, engine_stopped_error
from dagengine.errors import TaskNotFound, UnknownOperation
from dagengine.model.records import AuditRecord
from dagengine.model.states import Operator
from dagengine.rules.operators import goes_on
from dagengine.rules.snapshot import Snapshot
from dagengine.store.contract import Store

_log = structlog.get_logger("dagengine.engine")


class OperatorRequests:
    """Posts operators to the scheduler and waits until they are durable."""

    def __init__(self, store: Store, registry: Registry, scheduler: Scheduler) -> None:
        self._store = store
        self._registry = registry
        self._scheduler = scheduler
        self._unanswered: set[asyncio.Future[None]] = set()

    async def apply(self, operator: Operator, audit: AuditRecord, stage: int | None) -> None:
        """Apply an operator to a DAG or, with a stage, to one of its nodes; durable on return."""
        dag_id = audit.dag_id
        reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        message = OperatorRequested(operator, reply, audit, stage)
        ended = None
        if dag_id not in self._scheduler.active:
            ended = await self._load_ended(dag_id, needs_steps=goes_on(operator, stage))
        if ended is None or dag_id in self._scheduler.active:
            self._scheduler.post(dag_id, message)
        else:
            self._scheduler.track(ended, message)
        _log.info("operator_asked", dag_id=dag_id, operator=operator, by=audit.by)
        self._unanswered.add(reply)
        try:
            await reply
        finally:
            self._unanswered.discard(reply)

    def close(self) -> None:
        """Report to the waiting callers that the engine has stopped."""
        for reply in self._unanswered:
            if not reply.done():
                reply.set_exception(engine_stopped_error())

    async def _load_ended(self, dag_id: int, *, needs_steps: bool) -> Snapshot:
        """Load a DAG that the scheduler does not work on because it has ended."""
        rows = await self._store.load_dag(dag_id)
        if rows is None:
            raise TaskNotFound(messages.DAG_NOT_FOUND(dag_id=dag_id))
        refusal = self._registry.refuse(rows.dag)
        if refusal is not None and needs_steps:
            raise UnknownOperation(refusal.message, remedy=refusal.remedy)
        return Snapshot(rows.dag, rows.nodes, rows.sub_tasks)
