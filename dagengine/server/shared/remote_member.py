"""A cluster that another controller owns, as the service sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from dagengine.api.auth import API_ROOT
from dagengine.api.caller import ALL_RIGHTS, Caller, CallerKind
from dagengine.api.fleet.view import ClusterSummary
from dagengine.api.forwarding.forwarder import Forwarder, OutgoingRequest
from dagengine.api.schemas.tasks import DagDetailDto
from dagengine.errors import ApiError, DagengineError, RouteNotFound
from dagengine.model.ids import AgentAddress, OwnIds
from dagengine.model.states import State
from dagengine.server.cluster_service import ClusterService
from dagengine.server.fleet import messages

_POLL_S = 1.0
_OK = 200


class RemoteMember:
    """A cluster whose DAGs another controller runs.

    Args:
        service: the cluster's listener and files on this controller.
        forwarder: sends requests to the owner.

    Raises:
        OwnerUnavailable, OwnerLost: by each method; see Forwarder.
        OwnerRefused: the owner refuses the request.
    """

    def __init__(self, service: ClusterService, forwarder: Forwarder) -> None:
        self._service = service
        self._forwarder = forwarder
        # Reads for callers that the service has admitted.
        self._reader = Caller(CallerKind.LOCAL_USER, "the service", ALL_RIGHTS, "the service")

    @property
    def name(self) -> str:
        return self._service.name

    @property
    def servers(self) -> int:
        return len(self._service.cluster.servers)

    async def summarize(self) -> ClusterSummary:
        data = await self._get("/summary")
        return ClusterSummary(
            cluster_id=data["cluster_id"],
            servers=data["servers"],
            ob_state=data["ob_state"],
            dags={State(state): number for state, number in data["dags"].items()},
            lock=data["lock"],
            last=data["last"],
            notices=tuple(data["notices"]),
        )

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> Sequence[DagDetailDto]:
        query = {"limit": limit, "state": state or "", "name": name or ""}
        if before is not None:
            query["cursor"] = OwnIds(self._address).render(before)
        page = await self._get(f"/task/dags?{urlencode(query)}")
        dags: Sequence[DagDetailDto] = page["contents"]
        return dags

    async def act(
        self, action: str, request: Mapping[str, Any], caller: Caller, key: str
    ) -> DagDetailDto:
        for route in self._service.routes:
            if route.fleet_action == action:
                headers = {"Idempotency-Key": key} if key else {}
                body = json.dumps(request).encode()
                outgoing = OutgoingRequest(route.method, API_ROOT + route.path, body, headers)
                dag: DagDetailDto = await self._send(outgoing, caller)
                return dag
        raise RouteNotFound(messages.ACTION_UNKNOWN(action=action, cluster=self.name))

    async def find_repeated(
        self, action: str, request: Mapping[str, Any], key: str
    ) -> DagDetailDto | None:
        return None  # the owner recognises the key when the request reaches it

    async def wait(self, dag_id: int) -> None:
        path = f"/task/dag/{OwnIds(self._address).render(dag_id)}"
        while True:
            try:
                dag = await self._get(path)
            except DagengineError:
                return
            if State(dag["state"]).is_final:
                return
            await asyncio.sleep(_POLL_S)

    @property
    def _address(self) -> AgentAddress:
        return AgentAddress(*self._service.config.api.advertised)

    async def _get(self, path: str) -> Any:
        return await self._send(OutgoingRequest("GET", API_ROOT + path), self._reader)

    async def _send(self, request: OutgoingRequest, caller: Caller) -> Any:
        response = await self._forwarder.send(request, caller)
        envelope = json.loads(response.body)
        if response.status != _OK:
            raise OwnerRefused(response.status, envelope.get("error") or {})
        return envelope.get("data")


class OwnerRefused(ApiError):
    """Raised when the owner refuses a request; it has the owner's status, code and message."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.http_status = status  # type: ignore[misc]  # the owner's
        self.err_code = str(error.get("errCode", self.err_code))  # type: ignore[misc]
