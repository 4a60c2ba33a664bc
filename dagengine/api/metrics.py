"""Prometheus metrics: counters of the process, and the current content of the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from dagengine.engine.engine import Engine
from dagengine.engine.events import EngineEvent, NodeUpdated
from dagengine.model.states import State
from dagengine.runtime.clock import Clock

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_API_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_STAGE_S = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_STATES = (State.READY, State.RUNNING, State.FAILED, State.SUCCEED)


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of other parts of the process since its start."""

    commits: int = 0
    batches: int = 0  #: several batches may share a commit
    ssh_connects: int = 0
    ssh_failures: int = 0


class CounterSource(Protocol):
    """Source of the counters, called at every scrape."""

    def __call__(self) -> Counters: ...


class Metrics:
    """The metrics of one controller, in a separate registry.

    Args:
        engine: the engine whose DAGs are counted and whose stages are timed.
        clock: source of time for the duration of stages.
        figures: counters of other parts of the process.
    """

    def __init__(self, engine: Engine, clock: Clock, figures: CounterSource) -> None:
        self.registry = CollectorRegistry()
        self._engine = engine
        self._clock = clock
        self._started_s: dict[int, float] = {}  # start time by node id
        self._dags = Gauge(
            "dagengine_dags", "DAGs in the store.", ["state"], registry=self.registry
        )
        self._stages = Histogram(
            "dagengine_stage_seconds",
            "From the start of a stage to its end.",
            ["operation", "stage", "state"],
            buckets=_STAGE_S,
            registry=self.registry,
        )
        self._requests = Histogram(
            "dagengine_api_seconds",
            "From a request's arrival to its answer; streams are left out.",
            ["method", "route", "status"],
            buckets=_API_S,
            registry=self.registry,
        )
        self._by_route: dict[tuple[str, str, int], Histogram] = {}
        ProcessCollector(registry=self.registry)
        self.registry.register(_CounterCollector(figures))
        engine.events.attach(self)

    def offer(self, event: EngineEvent) -> None:
        """Measure the duration of a stage; the engine calls this after each commit."""
        if not isinstance(event, NodeUpdated):
            return
        now_s = self._clock.monotonic_s()
        if not event.state.is_final:
            self._started_s[event.node_id] = now_s
        elif (started_s := self._started_s.pop(event.node_id, None)) is not None:
            operation = self._engine.name_of(event.dag_id)
            self._stages.labels(operation, event.name, event.state).observe(now_s - started_s)

    def time_request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Record the duration of a request; `route` is the pattern of its path."""
        histogram = self._by_route.get((method, route, status))
        if histogram is None:
            histogram = self._requests.labels(method, route, status)
            self._by_route[method, route, status] = histogram
        histogram.observe(took_s)

    async def refresh(self) -> None:
        """Update the number of DAGs from the store."""
        counts = await self._engine.count_dags()
        for state in _STATES:
            self._dags.labels(state).set(counts.get(state, 0))


class _CounterCollector(Collector):
    """Collector that exports `Counters`."""

    def __init__(self, figures: CounterSource) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        counters = self._figures()
        for name, about, value in (
            ("dagengine_commits", "Commits of the store.", counters.commits),
            ("dagengine_batches", "Batches written; a commit has one or more.", counters.batches),
            ("dagengine_ssh_connects", "SSH logins that were begun.", counters.ssh_connects),
            ("dagengine_ssh_failures", "SSH logins that failed.", counters.ssh_failures),
        ):
            yield CounterMetricFamily(name, about, value)
