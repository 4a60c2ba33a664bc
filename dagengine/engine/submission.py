"""Creation of DAGs. A new DAG and the start of its first stage are written in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

import structlog

from dagengine.engine import messages
from dagengine.engine.registry import Registry
from dagengine.engine.scheduler import Scheduler
from dagengine.errors import EngineStopped
from dagengine.model.changes import AuditAppended, Batch, DagCreated, IdempotencyKeyUsed
from dagengine.model.json_values import normalize_text
from dagengine.model.operation import IdempotencyKey, Submission
from dagengine.model.records import AuditRecord, DagDetail, DagRecord
from dagengine.rules import planning as plan
from dagengine.rules.snapshot import Snapshot
from dagengine.runtime.clock import Clock
from dagengine.runtime.service import Service
from dagengine.store.contract import LastIds, Store

_log = structlog.get_logger("dagengine.engine")
Requester: TypeAlias = tuple[str, str]  # the user and the user's reason, for the audit


class _Creation(NamedTuple):
    """A DAG that is being written, its idempotency key, and the end of the write."""

    dag: DagRecord
    key: IdempotencyKey | None
    completion: asyncio.Future[None]


class SubmissionService(Service):
    """Creates DAGs, each in a separate task.

    Attributes:
        last_ids: the highest ids in use.
    """

    def __init__(
        self, store: Store, clock: Clock, registry: Registry, scheduler: Scheduler
    ) -> None:
        super().__init__("creator")
        self.last_ids = LastIds(0, 0, 0)
        self._store = store
        self._clock = clock
        self._registry = registry
        self._scheduler = scheduler
        self._being_written: dict[int, _Creation] = {}

    @property
    def is_idle(self) -> bool:
        """True if no DAG is being written."""
        return not self._being_written

    async def create(
        self,
        submission: Submission,
        requester: Requester,
        window_s: float,
        key: IdempotencyKey | None,
        condition: Callable[[], None] | None = None,
    ) -> DagDetail:
        """Create a DAG; see Engine.submit. Raises StaleWrite when the key was just used."""
        created = self._registry.instantiate(submission, self.last_ids, self._clock.now())
        dag = created.dag
        if window_s and (same := self._find_same(dag, window_s)) is not None:
            if (pending := self._being_written.get(same.dag_id)) is not None:
                await asyncio.shield(pending.completion)
            return DagDetail(same, None)
        if condition is not None:
            condition()
        self.last_ids = _ids_after(created)
        # A separate task: if the caller is cancelled, the DAG is still written and started.
        completion: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._being_written[dag.dag_id] = _Creation(dag, key, completion)
        writing = self._write(created, requester, key)
        task = self.spawn(writing, name=f"creation of dag {dag.dag_id}")
        task.add_done_callback(partial(self._settle, dag.dag_id, completion))
        await asyncio.shield(completion)
        return DagDetail(dag, None)

    async def wait_for_key(self, key: IdempotencyKey) -> bool:
        """Wait for the end of a creation with this key; return False at once if none runs."""
        running = [c.completion for c in self._being_written.values() if c.key == key]
        if running:
            await asyncio.wait(running)
        return bool(running)

    def list_claims(self, lock_key: str) -> tuple[int, ...]:
        """Return the ids of the unfinished DAGs whose operation takes this lock."""
        return tuple(dag.dag_id for dag in self._list_unfinished() if dag.lock_key == lock_key)

    def _list_unfinished(self) -> Iterator[DagRecord]:
        yield from (active_dag.snapshot.dag for active_dag in self._scheduler.active.values())
        yield from (creation.dag for creation in self._being_written.values())

    def _find_same(self, new_dag: DagRecord, window_s: float) -> DagRecord | None:
        """Return an unfinished DAG of the same submission that is younger than the window."""
        for dag in self._list_unfinished():
            is_young = 0 <= (new_dag.created_at - dag.created_at).total_seconds() < window_s
            same = (dag.name, dag.targets, dag.params)
            if is_young and same == (new_dag.name, new_dag.targets, new_dag.params):
                return dag
        return None

    async def _write(
        self, created: DagCreated, requester: Requester, key: IdempotencyKey | None
    ) -> None:
        """Write the DAG and the start of its first stage in one commit."""
        dag = created.dag
        by, reason = map(normalize_text, requester)
        audit = AuditAppended(AuditRecord(0, dag.created_at, dag.dag_id, None, "START", by, reason))
        snapshot = Snapshot(dag, created.nodes, created.sub_tasks)
        starts = plan.begin(snapshot.at(dag.created_at))
        start_batch = snapshot.drain_batch()
        used = (IdempotencyKeyUsed(key, dag.dag_id),) if key is not None else ()
        changes = (created, *used, audit, *(start_batch.changes if start_batch else ()))
        batch = Batch(dag.dag_id, None, changes)
        (refusal,) = await self._store.commit([batch])
        if refusal is not None:
            raise refusal
        _log.info("dag_submitted", dag_id=dag.dag_id, operation=dag.name, by=by)
        self._scheduler.track_started(snapshot, batch, starts)

    def _settle(
        self, dag_id: int, completion: asyncio.Future[None], task: asyncio.Task[None]
    ) -> None:
        """Report the end of the creation to its callers; its task may never have run."""
        del self._being_written[dag_id]
        if task.cancelled():
            completion.set_exception(EngineStopped(messages.STOPPED_DURING_CREATION()))
        elif (error := task.exception()) is not None:
            completion.set_exception(error)
        else:
            completion.set_result(None)
        completion.exception()  # marks it as retrieved, as there may be no caller left


def _ids_after(created: DagCreated) -> LastIds:
    return LastIds(created.dag.dag_id, created.nodes[-1].node_id, created.sub_tasks[-1].sub_task_id)
