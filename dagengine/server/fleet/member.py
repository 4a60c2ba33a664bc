"""A cluster of this controller, as the service sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel

from dagengine.api.binding import bind, parse_key
from dagengine.api.caller import Caller
from dagengine.api.extension import Call, Route
from dagengine.api.fleet.view import ClusterSummary
from dagengine.api.render.records import RecordRenderer
from dagengine.api.schemas.tasks import DagDetailDto
from dagengine.errors import ClusterNotServed, EngineStopped, RouteNotFound, TaskNotFound
from dagengine.model.operation import IdempotencyKey
from dagengine.model.records import DagDetail
from dagengine.model.states import State
from dagengine.server.cluster_service import ClusterService, LocalEngine
from dagengine.server.fleet import messages


class LocalMember:
    """A cluster whose DAGs this controller runs.

    Args:
        service: the cluster.

    Raises:
        ClusterNotServed: by each method, while the engine is closed.
    """

    def __init__(self, service: ClusterService) -> None:
        self._service = service

    @property
    def name(self) -> str:
        return self._service.name

    @property
    def servers(self) -> int:
        return len(self._service.cluster.servers)

    async def summarize(self) -> ClusterSummary:
        local, cluster = self._local(), self._service.cluster
        engine = local.engine
        holders = [await engine.describe_holder(holder) for holder in engine.holders()]
        newest = await engine.list_dags(limit=1, details=False)
        wire = RecordRenderer(engine.agent)
        return ClusterSummary(
            cluster_id=cluster.cluster_id,
            servers=self.servers,
            ob_state=cluster.ob_state,
            dags=await engine.count_dags(),
            lock="; ".join(holders),
            last=wire.dag(newest[0]) if newest else None,
            notices=tuple(cluster.find_notices()),
        )

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> Sequence[DagDetailDto]:
        engine = self._local().engine
        dags = await engine.search_dags(before=before, state=state, name=name, limit=limit)
        wire = RecordRenderer(engine.agent)
        return [wire.dag(dag) for dag in dags]

    async def act(
        self, action: str, request: Mapping[str, Any], caller: Caller, key: str
    ) -> DagDetailDto:
        engine = self._local().engine
        route, body, identity = self._bind(action, request, key)
        if (repeated := await self.find_repeated(action, request, key)) is not None:
            return repeated
        with self._service.log_scope.entered():
            dag = await route.handler(Call(engine, body, caller, None, key=identity))
        assert isinstance(dag, DagDetail)
        return RecordRenderer(engine.agent).dag(dag)

    async def find_repeated(
        self, action: str, request: Mapping[str, Any], key: str
    ) -> DagDetailDto | None:
        engine = self._local().engine
        identity = self._bind(action, request, key)[2]
        dag = None if identity is None else await engine.find_submitted(identity)
        return None if dag is None else RecordRenderer(engine.agent).dag(dag)

    async def wait(self, dag_id: int) -> None:
        with suppress(ClusterNotServed, EngineStopped, TaskNotFound):
            await self._local().engine.wait(dag_id)

    def _bind(
        self, action: str, request: Mapping[str, Any], key: str
    ) -> tuple[Route[Any], BaseModel, IdempotencyKey | None]:
        """Return the route of an action, the validated body, and the idempotency key."""
        route = self._route(action)
        body: BaseModel = bind(json.dumps(request).encode("utf-8", "surrogatepass"), route.model)
        return route, body, parse_key(key or None, route=f"fleet {action}", body=body)

    def _local(self) -> LocalEngine:
        if self._service.local is None:
            raise ClusterNotServed(self.name)
        return self._service.local

    def _route(self, action: str) -> Route[Any]:
        for route in self._service.routes:
            if route.fleet_action == action:
                return route
        raise RouteNotFound(messages.ACTION_UNKNOWN(action=action, cluster=self.name))
