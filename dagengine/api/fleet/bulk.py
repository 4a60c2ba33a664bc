"""Bulk actions: one request creates a DAG in each of several clusters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagengine.api import messages
from dagengine.api.caller import Caller
from dagengine.api.fleet.admission import Admission, AdmissionLimits
from dagengine.api.fleet.view import ClusterMember, FleetView
from dagengine.api.schemas.tasks import DagDetailDto
from dagengine.errors import ClusterNotServed, DagengineError, EngineStopped
from dagengine.runtime.service import Service


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """What to do in each cluster.

    Attributes:
        action: the action, such as `start`.
        body: the body for the route of each cluster.
        caller: the caller.
        key: idempotency key; empty for none.
    """

    action: str
    body: Mapping[str, Any]
    caller: Caller
    key: str


@dataclass(frozen=True, slots=True)
class BulkResult:
    """The result for one cluster: the DAG, or the error.

    Attributes:
        cluster: name of the cluster.
        dag: the created DAG; None after an error.
        error: why there is none; None otherwise.
    """

    cluster: str
    dag: DagDetailDto | None = None
    error: DagengineError | None = None


class BulkActions(Service):
    """Creates the DAGs of bulk actions; a cluster keeps its place until its DAG has ended.

    Args:
        fleet: the clusters.
        limits: how many clusters and servers may be in progress, over all requests.
    """

    name = "bulk actions"

    def __init__(self, fleet: FleetView, limits: AdmissionLimits) -> None:
        super().__init__()
        self._fleet = fleet
        self._admission = Admission(limits)

    async def run_action(self, clusters: Sequence[str], request: BulkRequest) -> list[BulkResult]:
        """Create the DAGs; return once each cluster has accepted or refused the request.

        This continues if the caller is cancelled: a repetition with the same key gets the same
        DAGs.
        """
        results = [self._begin(cluster, request) for cluster in clusters]
        await asyncio.wait(results)
        return [result.result() for result in results]

    def _begin(self, cluster: str, request: BulkRequest) -> asyncio.Future[BulkResult]:
        result: asyncio.Future[BulkResult] = asyncio.get_running_loop().create_future()
        task = self.spawn(self._act(cluster, request, result), name=f"bulk action {cluster}")

        def end(_task: asyncio.Task[None]) -> None:
            if not result.done():  # cancelled at the end of the controller
                result.set_result(BulkResult(cluster, error=_stopped()))

        task.add_done_callback(end)
        return result

    async def _act(
        self, cluster: str, request: BulkRequest, result: asyncio.Future[BulkResult]
    ) -> None:
        try:
            member = self._find(cluster)
            # A repetition must not wait for a place that its first request holds.
            dag = await member.find_repeated(request.action, request.body, request.key)
            if dag is not None:
                result.set_result(BulkResult(cluster, dag))
                return
            async with self._admission.admit(member.servers):
                member = self._find(cluster)  # it may have been closed since
                dag = await member.act(request.action, request.body, request.caller, request.key)
                result.set_result(BulkResult(cluster, dag))
                await member.wait(dag["dag_id"])
        except DagengineError as exc:
            if not result.done():
                result.set_result(BulkResult(cluster, error=exc))

    def _find(self, cluster: str) -> ClusterMember:
        member = self._fleet.find_member(cluster)
        if member is None:
            raise ClusterNotServed(cluster)
        return member


def _stopped() -> EngineStopped:
    return EngineStopped(messages.FLEET_STOPPED(), remedy=messages.REPEAT_WITH_KEY())
