"""Liveness, readiness and metrics of the whole service; without a login, as for a cluster."""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from dagengine.api.envelope import render_json
from dagengine.api.fleet.view import ClusterCondition, FleetView
from dagengine.api.metrics import API_BUCKETS_S, CONTENT_TYPE, JoinedMetrics
from dagengine.runtime.clock import Clock


class FleetMonitoring:
    """The three routes for monitoring, and the service's own metrics.

    Args:
        fleet: the clusters.
        clock: source of time.
    """

    def __init__(self, fleet: FleetView, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self._registry = CollectorRegistry()
        self._served = Gauge(
            "dagengine_cluster_served",
            "1 if a configured cluster is served, 0 if it is refused.",
            ["cluster"],
            registry=self._registry,
        )
        self._requests = Histogram(
            "dagengine_service_api_seconds",
            "From a request's arrival at the service to its answer.",
            ["method", "route", "status"],
            buckets=API_BUCKETS_S,
            registry=self._registry,
        )

    def time_request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Record the duration of a request; `route` is the pattern of its path."""
        self._requests.labels(method, route, status).observe(took_s)

    async def get_health(self, _request: web.Request) -> web.StreamResponse:
        """Respond with 200; this only shows that the process is alive."""
        return web.Response(text="ok\n")

    async def get_readiness(self, _request: web.Request) -> web.StreamResponse:
        """Report whether every configured cluster is served; 503 if not."""
        clusters = {
            cluster.name: cluster.condition.value
            for cluster in self._fleet.list_clusters()
            if cluster.condition is not ClusterCondition.NOT_CONFIGURED
        }
        is_ready = all(condition == ClusterCondition.SERVED for condition in clusters.values())
        body = render_json({"ready": is_ready, "clusters": clusters})
        status = 200 if is_ready else 503
        return web.Response(status=status, body=body, content_type="application/json")

    async def get_metrics(self, _request: web.Request) -> web.StreamResponse:
        """Return the metrics of the service and of all clusters in the text format of Prometheus.

        A cluster whose store cannot be read keeps its last numbers.
        """
        self._served.clear()
        for cluster in self._fleet.list_clusters():
            if cluster.condition is not ClusterCondition.NOT_CONFIGURED:
                is_served = cluster.condition is ClusterCondition.SERVED
                self._served.labels(cluster.name).set(int(is_served))
        registries = await self._fleet.refresh_metrics()
        joined = JoinedMetrics([self._registry, *registries])
        body = await asyncio.to_thread(generate_latest, joined)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
