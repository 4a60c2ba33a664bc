"""Queries that add to stored rows what the active DAGs know."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

from dagengine.engine import messages
from dagengine.engine.active_dag import ActiveDag
from dagengine.errors import IdempotencyKeyReused
from dagengine.model.ids import OwnIds
from dagengine.model.operation import IdempotencyKey
from dagengine.model.records import DagDetail, DagRecord, NodeDetail, SubTaskDetail
from dagengine.model.stage_kinds import Wait
from dagengine.model.states import State
from dagengine.store.contract import Store

PAGE = 50
"""DAGs with details that are read at once; other tasks run between two pages."""


class EngineQueries:
    """Reads stored rows, with the waits of active sub-tasks; see Engine for each method.

    Args:
        store: the durable state.
        active: the active DAGs, by id.
        ids: renders the ids that messages contain.
    """

    def __init__(self, store: Store, active: Mapping[int, ActiveDag], ids: OwnIds) -> None:
        self._store = store
        self._active = active
        self._ids = ids

    async def find_dag(self, dag_id: int, *, details: bool) -> DagDetail | None:
        detail = await self._store.find_dag(dag_id, details=details)
        return None if detail is None else self._with_all_waits(detail)

    async def find_node(self, node_id: int, *, details: bool) -> NodeDetail | None:
        node = await self._store.find_node(node_id, details=details)
        return None if node is None else self._with_waits(node)

    async def find_sub_task(self, sub_task_id: int) -> SubTaskDetail | None:
        sub_task = await self._store.find_sub_task(sub_task_id)
        return None if sub_task is None else self._with_wait(sub_task)

    async def list_dags(
        self, *, limit: int = sys.maxsize, unfinished: bool = False, details: bool
    ) -> tuple[DagDetail, ...]:
        dags = await self._store.list_dags(limit=limit, unfinished=unfinished)
        if not details:
            return _without_details(dags)
        ids = [dag.dag_id for dag in dags]
        detailed: list[DagDetail] = []
        for first in range(0, len(ids), PAGE):
            page = await self._store.find_dags(ids[first : first + PAGE])
            detailed += [self._with_all_waits(detail) for detail in page]
        if unfinished:  # a DAG may have ended between the two queries
            detailed = [detail for detail in detailed if not detail.dag.state.is_final]
        return tuple(detailed)

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> tuple[DagDetail, ...]:
        return _without_details(
            await self._store.search_dags(before=before, state=state, name=name, limit=limit)
        )

    async def find_submitted(self, key: IdempotencyKey) -> DagDetail | None:
        used = await self._store.find_key(key.text)
        if used is None:
            return None
        digest, dag_id = used
        if digest != key.digest:
            raise IdempotencyKeyReused(
                messages.IDEMPOTENCY_KEY_REUSED(key=key.text, dag_id=self._ids.render(dag_id)),
                remedy=messages.REPEAT_OR_CHANGE_KEY(),
            )
        return await self._store.find_dag(dag_id, details=False)

    def explain_wait(self, dag_id: int, sub_task_id: int) -> Wait | None:
        active_dag = self._active.get(dag_id)
        return None if active_dag is None else active_dag.explain_wait(sub_task_id)

    def _with_all_waits(self, detail: DagDetail) -> DagDetail:
        if detail.nodes is None or detail.dag.dag_id not in self._active:
            return detail
        return replace(detail, nodes=tuple(self._with_waits(node) for node in detail.nodes))

    def _with_waits(self, node: NodeDetail) -> NodeDetail:
        return replace(node, sub_tasks=tuple(self._with_wait(task) for task in node.sub_tasks))

    def _with_wait(self, detail: SubTaskDetail) -> SubTaskDetail:
        task = detail.sub_task
        wait = None if task.state.is_final else self.explain_wait(task.dag_id, task.sub_task_id)
        return detail if wait is None else replace(detail, wait=wait)


def _without_details(dags: tuple[DagRecord, ...]) -> tuple[DagDetail, ...]:
    return tuple(DagDetail(dag, None) for dag in dags)
