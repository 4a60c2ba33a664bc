"""What can be read of an engine: the store's rows, and what live sub-tasks wait for."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from dagengine.engine.attempt import Attempt
from dagengine.engine.lock_table import LockTable
from dagengine.engine.messages import ActiveDag
from dagengine.errors import IdempotencyKeyReused
from dagengine.model.events import EventRecord
from dagengine.model.ids import AgentAddress, IdKind, encode_id
from dagengine.model.operation import IdempotencyKey, Wait
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
from dagengine.model.states import State
from dagengine.rules.waits import explain_wait
from dagengine.store.contract import DagRows, Store


class EngineQueries:
    """The reading half of an engine.

    Attributes:
        agent: the address in generic ids; fixed in the store.
    """

    def __init__(self, store: Store, agent: AgentAddress) -> None:
        self.agent = agent
        self._store = store
        self._locks = LockTable()
        self._live: dict[int, ActiveDag] = {}
        self._attempts: dict[int, Attempt] = {}

    async def find_dag(self, dag_id: int, *, details: bool = True) -> DagDetail | None:
        """A DAG; with nodes, sub-tasks and lines when `details`. None: no such DAG."""
        found = await self._store.find_dag(dag_id, details=details)
        if found is None or found.nodes is None or dag_id not in self._live:
            return found
        return replace(found, nodes=tuple(self._with_waits(node) for node in found.nodes))

    async def find_rows(self, dag_id: int) -> DagRows | None:
        """A DAG's rows, without lines. None: no such DAG."""
        return await self._store.load_dag(dag_id)

    async def last_event(self, dag_id: int) -> int:
        """Number of a DAG's last event; 0 when there is none."""
        return await self._store.last_event(dag_id)

    async def list_events(
        self, dag_id: int, *, after: int = 0, limit: int = 1000
    ) -> tuple[EventRecord, ...]:
        """A DAG's events that follow number `after`: states and lines, in order, without a gap."""
        return await self._store.list_events(dag_id, after=after, limit=limit)

    async def count_dags(self) -> Mapping[State, int]:
        """How many DAGs there are in each state; none of a state may be left out."""
        return await self._store.count_dags()

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> tuple[DagDetail, ...]:
        """DAGs without details, newest first; see Store.search_dags."""
        found = await self._store.search_dags(before=before, state=state, name=name, limit=limit)
        return tuple(DagDetail(dag, None) for dag in found)

    def name_of(self, dag_id: int) -> str:
        """The operation of a live DAG; empty for any other."""
        live = self._live.get(dag_id)
        return "" if live is None else live.snapshot.dag.name

    async def find_submitted(self, key: IdempotencyKey) -> DagDetail | None:
        """The DAG that an idempotency key has made, as it is now. None: the key was not used.

        Raises:
            IdempotencyKeyReused: it was used for something else.
        """
        found = await self._store.find_key(key.text)
        if found is None:
            return None
        digest, dag_id = found
        if digest != key.digest:
            raise IdempotencyKeyReused(
                f"the idempotency key {key.text!r} was used for another request, which made the "
                f"task {self.generic_id(dag_id)}",
                remedy="send that request again to get its task, or choose a new key",
            )
        return await self._store.find_dag(dag_id, details=False)

    def list_locks(self) -> Sequence[LockRecord]:
        """Every lock that was ever taken, free ones included."""
        return self._locks.all()

    def holder(self, key: str) -> LockRecord | None:
        """Who holds a lock; None when it is free."""
        return self._locks.holder(key)

    def holders(self) -> tuple[LockRecord, ...]:
        """Every lock that is held, by key."""
        return self._locks.holders()

    async def probe_store(self, now: datetime) -> None:
        """Write something durably.

        Raises:
            StoreUnavailable: it cannot be written.
        """
        await self._store.probe(now)

    async def find_node(self, node_id: int, *, details: bool = True) -> NodeDetail | None:
        """A node; with sub-tasks and lines when `details`. None: no such node."""
        found = await self._store.find_node(node_id, details=details)
        return None if found is None else self._with_waits(found)

    async def find_sub_task(self, sub_task_id: int) -> SubTaskDetail | None:
        """A sub-task with its lines. None: no such sub-task."""
        found = await self._store.find_sub_task(sub_task_id)
        return None if found is None else self._with_wait(found)

    async def find_logs(self, sub_task_id: int) -> tuple[LogRecord, ...]:
        """A sub-task's lines of all attempts, oldest first."""
        return await self._store.find_logs(sub_task_id)

    async def find_attempts(self, sub_task_id: int) -> tuple[AttemptRecord, ...]:
        """A sub-task's attempts, oldest first."""
        return await self._store.find_attempts(sub_task_id)

    async def list_audit(
        self, dag_id: int | None = None, *, limit: int = 1000, before: int | None = None
    ) -> tuple[AuditRecord, ...]:
        """What was done to one DAG, or to all of them, newest first; older than row `before`."""
        return await self._store.list_audit(dag_id, limit=limit, before=before)

    async def list_unfinished(self, *, details: bool) -> tuple[DagDetail, ...]:
        """Every READY or RUNNING DAG, newest first."""
        found = await self._store.list_dags(limit=sys.maxsize, unfinished=True)
        return await self._detailed(found, details)

    async def list_dags(self, *, limit: int, details: bool) -> tuple[DagDetail, ...]:
        """The newest DAGs, newest first."""
        return await self._detailed(await self._store.list_dags(limit=limit), details)

    def explain_wait(self, dag_id: int, sub_task_id: int) -> Wait | None:
        """What an unfinished sub-task of a live DAG waits for; None for any other."""
        live = self._live.get(dag_id)
        sub_task = live.snapshot.sub_tasks.get(sub_task_id) if live is not None else None
        if live is None or sub_task is None:
            return None
        attempt = self._attempts.get(sub_task_id)
        return explain_wait(live.snapshot, sub_task, attempt.context.wait if attempt else None)

    def generic_id(self, row_id: int) -> str:
        """How a row of this controller is named on the wire."""
        return encode_id(IdKind.LOCAL, self.agent, row_id)

    async def describe_holder(self, holder: LockRecord) -> str:
        """One sentence: which DAG holds the lock, where it is, since when, what it waits for."""
        dag_id = holder.dag_id or 0
        since = holder.since_at.astimezone().isoformat(timespec="seconds")
        live = self._live.get(dag_id)
        where = ""
        if live is not None:
            dag = live.snapshot.dag
            node = live.snapshot.nodes[dag.stage]
            where = f", at stage {dag.stage} of {dag.max_stage} '{node.name}'"
            waits = [self.explain_wait(dag_id, task.sub_task_id) for task in live.snapshot.running]
            on = sorted({f"{wait.kind} {wait.on}" for wait in waits if wait is not None})
            where += f" (waits for {', '.join(on[:3])})" if on else ""
        return f"'{holder.reason}' {self.generic_id(dag_id)}{where}, since {since}"

    # --- below: the parts ------------------------------------------------------------------

    async def _detailed(self, dags: tuple[DagRecord, ...], details: bool) -> tuple[DagDetail, ...]:
        if not details:
            return tuple(DagDetail(dag, None) for dag in dags)
        found = [await self.find_dag(dag.dag_id, details=True) for dag in dags]
        return tuple(detail for detail in found if detail is not None)

    def _with_waits(self, node: NodeDetail) -> NodeDetail:
        return replace(node, sub_tasks=tuple(self._with_wait(task) for task in node.sub_tasks))

    def _with_wait(self, detail: SubTaskDetail) -> SubTaskDetail:
        task = detail.sub_task
        wait = None if task.state.is_final else self.explain_wait(task.dag_id, task.sub_task_id)
        return detail if wait is None else replace(detail, wait=wait)
