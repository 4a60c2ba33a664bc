"""Queries of an engine: stored rows, and the waits of active sub-tasks."""

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
from dagengine.model.operation import IdempotencyKey
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
from dagengine.model.states import State
from dagengine.rules.waits import explain_wait
from dagengine.store.contract import DagRows, Store


class EngineQueries:
    """The query methods of an engine.

    Attributes:
        agent: the address in generic ids; pinned in the store.
    """

    def __init__(self, store: Store, agent: AgentAddress) -> None:
        self.agent = agent
        self._store = store
        self._locks = LockTable()
        self._live: dict[int, ActiveDag] = {}
        self._attempts: dict[int, Attempt] = {}

    async def find_dag(self, dag_id: int, *, details: bool = True) -> DagDetail | None:
        """Return a DAG, with `details` also its nodes, sub-tasks and log lines; None if unknown."""
        found = await self._store.find_dag(dag_id, details=details)
        if found is None or found.nodes is None or dag_id not in self._live:
            return found
        return replace(found, nodes=tuple(self._with_waits(node) for node in found.nodes))

    async def find_rows(self, dag_id: int) -> DagRows | None:
        """Return a DAG's rows without log lines; None for an unknown DAG."""
        return await self._store.load_dag(dag_id)

    async def last_event(self, dag_id: int) -> int:
        """Return the number of a DAG's last event; 0 when it has none."""
        return await self._store.last_event(dag_id)

    async def list_events(
        self, dag_id: int, *, after: int = 0, limit: int = 1000
    ) -> tuple[EventRecord, ...]:
        """Return a DAG's events after number `after` (states and log lines), without a gap."""
        return await self._store.list_events(dag_id, after=after, limit=limit)

    async def count_dags(self) -> Mapping[State, int]:
        """Return the number of DAGs in each state; a state without DAGs may be absent."""
        return await self._store.count_dags()

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> tuple[DagDetail, ...]:
        """Return DAGs without details, newest first; see Store.search_dags."""
        found = await self._store.search_dags(before=before, state=state, name=name, limit=limit)
        return tuple(DagDetail(dag, None) for dag in found)

    def name_of(self, dag_id: int) -> str:
        """Return the operation's name of an active DAG; empty for any other DAG."""
        live = self._live.get(dag_id)
        return "" if live is None else live.snapshot.dag.name

    async def find_submitted(self, key: IdempotencyKey) -> DagDetail | None:
        """Return the DAG that an idempotency key created, in its current state.

        Returns:
            The DAG; None when the key was not used.

        Raises:
            IdempotencyKeyReused: the key was used for a different request.
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
        """Return every lock that was ever taken, including free ones."""
        return self._locks.all()

    def holder(self, key: str) -> LockRecord | None:
        """Return a lock with its holder; None when it is free."""
        return self._locks.holder(key)

    def holders(self) -> tuple[LockRecord, ...]:
        """Return every lock that is held, in the order of the keys."""
        return self._locks.holders()

    async def probe_store(self, now: datetime) -> None:
        """Check the store with a durable write.

        Raises:
            StoreUnavailable: the store cannot be written.
        """
        await self._store.probe(now)

    async def find_node(self, node_id: int, *, details: bool = True) -> NodeDetail | None:
        """Return a node, with `details` also its sub-tasks and log lines; None if unknown."""
        found = await self._store.find_node(node_id, details=details)
        return None if found is None else self._with_waits(found)

    async def find_sub_task(self, sub_task_id: int) -> SubTaskDetail | None:
        """Return a sub-task with its log lines; None if unknown."""
        found = await self._store.find_sub_task(sub_task_id)
        return None if found is None else self._with_wait(found)

    async def find_logs(self, sub_task_id: int) -> tuple[LogRecord, ...]:
        """Return the log lines of all attempts of a sub-task, oldest first."""
        return await self._store.find_logs(sub_task_id)

    async def find_attempts(self, sub_task_id: int) -> tuple[AttemptRecord, ...]:
        """Return a sub-task's attempts, oldest first."""
        return await self._store.find_attempts(sub_task_id)

    async def list_audit(
        self, dag_id: int | None = None, *, limit: int = 1000, before: int | None = None
    ) -> tuple[AuditRecord, ...]:
        """Return the audit of one DAG or of all DAGs, newest first; only rows before `before`."""
        return await self._store.list_audit(dag_id, limit=limit, before=before)

    async def list_unfinished(self, *, details: bool) -> tuple[DagDetail, ...]:
        """Return every READY or RUNNING DAG, newest first."""
        found = await self._store.list_dags(limit=sys.maxsize, unfinished=True)
        return await self._detailed(found, details)

    async def list_dags(self, *, limit: int, details: bool) -> tuple[DagDetail, ...]:
        """Return the newest DAGs, newest first."""
        return await self._detailed(await self._store.list_dags(limit=limit), details)

    def explain_wait(self, dag_id: int, sub_task_id: int) -> Wait | None:
        """Return what an unfinished sub-task of an active DAG waits for; None for any other."""
        live = self._live.get(dag_id)
        sub_task = live.snapshot.sub_tasks.get(sub_task_id) if live is not None else None
        if live is None or sub_task is None:
            return None
        attempt = self._attempts.get(sub_task_id)
        return explain_wait(live.snapshot, sub_task, attempt.context.wait if attempt else None)

    def generic_id(self, row_id: int) -> str:
        """Return the generic id of a row of this controller."""
        return encode_id(IdKind.LOCAL, self.agent, row_id)

    async def describe_holder(self, holder: LockRecord) -> str:
        """Describe the holder of a lock in one sentence: DAG, stage, waits, start of the hold."""
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

    # --- internal methods ------------------------------------------------------------------

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
