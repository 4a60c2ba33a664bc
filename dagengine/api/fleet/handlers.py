"""The routes of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aiohttp import web

from dagengine.api import messages
from dagengine.api.binding import IDEMPOTENCY_KEY, parse_key
from dagengine.api.caller import Caller
from dagengine.api.endpoint import BoundRequest
from dagengine.api.envelope import render_error, render_time
from dagengine.api.extension import NoBody
from dagengine.api.fleet.bulk import BulkActions, BulkRequest, BulkResult
from dagengine.api.fleet.pages import DagFilter, read_page
from dagengine.api.fleet.schemas import (
    BulkBody,
    BulkResultDto,
    ClusterDto,
    ControllerDto,
    FleetDagDto,
    FleetSearch,
)
from dagengine.api.fleet.view import (
    ClusterMember,
    ClusterSummary,
    FleetCluster,
    FleetView,
)
from dagengine.api.login.token_manager import TokenManager
from dagengine.api.middleware import ANSWER
from dagengine.api.schemas.base import Contents, Page
from dagengine.errors import ClusterUnknown, DagengineError
from dagengine.model.states import State
from dagengine.runtime.clock import Clock

START = "start"
_SUMMARY_S = 5.0  # for the state of one cluster


@dataclass(frozen=True, slots=True)
class FleetContext:
    """The objects that the handlers share.

    Attributes:
        fleet: the clusters and controllers.
        bulk: creates the DAGs of bulk actions.
        tokens: creates and revokes tokens of the service.
        clock: source of time.
        has_root_password: see TokenContext; the service accepts no passwords.
    """

    fleet: FleetView
    bulk: BulkActions
    tokens: TokenManager
    clock: Clock
    has_root_password: Callable[[], bool] = lambda: True


async def list_clusters(ctx: FleetContext, bound: BoundRequest) -> Contents[ClusterDto]:
    """Every cluster, with its state and its newest task."""
    return {"contents": await describe_clusters(ctx, bound.caller)}


async def describe_clusters(ctx: FleetContext, caller: Caller) -> list[ClusterDto]:
    """Return the clusters that a caller may use, with their current states."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_describe(ctx, cluster), name=f"describe {cluster.name}")
            for cluster in visible_clusters(ctx.fleet, caller)
        ]
    return [task.result() for task in tasks]


async def list_controllers(ctx: FleetContext, bound: BoundRequest) -> Contents[ControllerDto]:
    """Every controller, with the clusters that it owns."""
    return {
        "contents": [
            {
                "id": each.controller_id,
                "name": each.name,
                "version": each.version,
                "state": each.state.value,
                "started_at": render_time(each.started_at),
                "seen_at": render_time(each.seen_at),
                "clusters": [name for name in each.clusters if may_use(bound.caller, name)],
            }
            for each in ctx.fleet.list_controllers()
        ]
    }


async def search_dags(
    ctx: FleetContext, bound: BoundRequest[NoBody, FleetSearch]
) -> Page[FleetDagDto]:
    """Tasks of all clusters without details, newest first, in pages.

    New tasks do not change the content of the pages that follow. Clusters that are not served are
    left out.
    """
    query = bound.query
    names = [cluster.name for cluster in visible_clusters(ctx.fleet, bound.caller)]
    _ensure_known(query.cluster, names)
    wanted = DagFilter(State(query.state) if query.state else None, query.name)
    members = find_members(ctx.fleet, query.cluster or names)
    page = await read_page(members, wanted, limit=query.limit, cursor=query.cursor)
    contents: list[FleetDagDto] = [{"cluster": name, "dag": dag} for name, dag in page.dags]
    return {"contents": contents, "next_cursor": page.cursor or None}


async def start(ctx: FleetContext, bound: BoundRequest[BulkBody]) -> Contents[BulkResultDto]:
    """Start servers of several clusters.

    The answer comes once every cluster has accepted or refused the request. A cluster waits while
    the limits on clusters and servers at once are reached.
    """
    return await _act(ctx, bound, START)


async def forget(ctx: FleetContext, bound: BoundRequest) -> None:
    """Delete everything that is stored about a cluster that is not configured."""
    name = bound.request.match_info["name"]
    if not may_use(bound.caller, name):
        raise ClusterUnknown(name)
    await ctx.fleet.forget(name)


def visible_clusters(fleet: FleetView, caller: Caller) -> list[FleetCluster]:
    """Return the clusters that a caller may use."""
    return [each for each in fleet.list_clusters() if may_use(caller, each.name)]


def choose_clusters(fleet: FleetView, caller: Caller, names: Iterable[str]) -> list[str]:
    """Return each name once.

    Raises:
        ClusterUnknown: the caller may not use one of these clusters, or it does not exist.
    """
    chosen = list(dict.fromkeys(names))
    _ensure_known(chosen, [cluster.name for cluster in visible_clusters(fleet, caller)])
    return chosen


def may_use(caller: Caller, cluster: str) -> bool:
    """Return True unless the caller's token is for other clusters only."""
    return caller.clusters is None or cluster in caller.clusters


def find_members(fleet: FleetView, names: Iterable[str]) -> list[ClusterMember]:
    """Return those of the clusters that are served."""
    members = [fleet.find_member(name) for name in dict.fromkeys(names)]
    return [member for member in members if member is not None]


async def _act(
    ctx: FleetContext, bound: BoundRequest[BulkBody], action: str
) -> Contents[BulkResultDto]:
    names = choose_clusters(ctx.fleet, bound.caller, bound.body.clusters)
    key = bound.request.headers.get(IDEMPOTENCY_KEY, "")
    parse_key(key or None, route=action, body=bound.body)  # refuse an invalid one at once
    request = BulkRequest(action, bound.body.request, bound.caller, key)
    results = await ctx.bulk.run_action(names, request)
    return {"contents": [_render_result(bound.request, result) for result in results]}


def _render_result(request: web.Request, result: BulkResult) -> BulkResultDto:
    error = None
    if result.error is not None:
        error = render_error(result.error, request[ANSWER].describe)
    return {"cluster": result.cluster, "dag": result.dag, "error": error}  # type: ignore[typeddict-item]


def _ensure_known(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ClusterUnknown(name)


async def _describe(ctx: FleetContext, cluster: FleetCluster) -> ClusterDto:
    described: ClusterDto = {
        "name": cluster.name,
        "condition": cluster.condition.value,
        "reason": cluster.reason,
        "url": cluster.url,
        "socket": None if cluster.socket is None else str(cluster.socket),
        "owner": cluster.owner,
        "cluster_id": None,
        "servers": None,
        "ob_state": None,
        "running": None,
        "failed": None,
        "lock": None,
        "last": None,
        "notices": [],
    }
    member = ctx.fleet.find_member(cluster.name)
    if member is None:
        return described
    try:
        async with asyncio.timeout(_SUMMARY_S):
            summary = await member.summarize()
    except DagengineError as exc:  # of this cluster's store; the others are still listed
        return {**described, "reason": str(exc)}
    except TimeoutError:
        return {**described, "reason": messages.CLUSTER_SILENT(limit_s=_SUMMARY_S)}
    return {**described, **_render_summary(summary)}  # type: ignore[typeddict-item]


def _render_summary(summary: ClusterSummary) -> dict[str, object]:
    return {
        "cluster_id": summary.cluster_id,
        "servers": summary.servers,
        "ob_state": summary.ob_state,
        "running": sum(summary.dags.get(state, 0) for state in (State.READY, State.RUNNING)),
        "failed": summary.dags.get(State.FAILED, 0),
        "lock": summary.lock,
        "last": summary.last,
        "notices": [*summary.notices],
    }
