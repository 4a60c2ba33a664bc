"""Prometheus metrics: counters of the process, and the current content of the store."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dagengine.api.extension import GaugeMetric, MetricSource, Sample
from dagengine.engine.engine import Engine
from dagengine.engine.events import EngineEvent, NodeUpdated
from dagengine.model.records import LockRecord
from dagengine.model.states import State
from dagengine.runtime.clock import Clock

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

API_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_STAGE_S = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
# Metrics of the process, not of a cluster; also the SSH pool, which all clusters share.
_OF_PROCESS = ("process_", "dagengine_ssh_", "dagengine_build_")
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
        cluster: the label `cluster` of all metrics that are not those of the process; empty for
            metrics without it.
        version: version of this program.
        sources: the metrics of extensions.

    Attributes:
        exported: the metrics as they are exported.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        figures: CounterSource,
        cluster: str = "",
        version: str = "",
        sources: Sequence[MetricSource] = (),
    ) -> None:
        self.registry = CollectorRegistry()
        self.exported = ClusterMetrics(self.registry, cluster) if cluster else self.registry
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
            buckets=API_BUCKETS_S,
            registry=self.registry,
        )
        self._by_route: dict[tuple[str, str, int], Histogram] = {}
        build = Gauge(
            "dagengine_build_info",
            "1; the labels have the versions of the program and of Python.",
            ["version", "python"],
            registry=self.registry,
        )
        build.labels(version, platform.python_version()).set(1)
        self._sources = tuple(sources)
        self._gauges = _GaugeCollector()
        self.registry.register(self._gauges)
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
        """Update the number of DAGs from the store, the locks, and the metrics of extensions."""
        counts = await self._engine.count_dags()
        for state in _STATES:
            self._dags.labels(state).set(counts.get(state, 0))
        metrics = [measure_locks(self._engine.list_locks(), self._clock.now())]
        for source in self._sources:
            metrics += await source(self._engine)
        self._gauges.metrics = tuple(metrics)


def measure_locks(locks: Iterable[LockRecord], now: datetime) -> GaugeMetric:
    """Return how long each lock has been held; 0 for a free one."""
    samples = tuple(
        Sample(
            (now - lock.since_at).total_seconds() if lock.dag_id is not None else 0.0, (lock.key,)
        )
        for lock in locks
    )
    about = "Time for which a DAG has held the lock; 0 while it is free."
    return GaugeMetric("dagengine_lock_held_seconds", about, samples, ("key",))


class _GaugeCollector(Collector):
    """Collector that exports the metrics of the last refresh."""

    def __init__(self) -> None:
        self.metrics: tuple[GaugeMetric, ...] = ()

    def collect(self) -> Iterable[Metric]:
        for metric in self.metrics:
            if not metric.samples:
                continue
            family = GaugeMetricFamily(metric.name, metric.about, labels=metric.labels)
            for sample in metric.samples:
                family.add_metric(sample.labels, sample.value)
            yield family


class ClusterMetrics(CollectorRegistry):
    """The metrics of a registry with the label `cluster`, except those of the whole process."""

    def __init__(self, registry: CollectorRegistry, cluster: str) -> None:
        super().__init__()
        self._registry = registry
        self._label = {"cluster": cluster}

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        for family in self._registry.collect():
            if not family.name.startswith(_OF_PROCESS):
                family.samples = [
                    each._replace(labels={**self._label, **each.labels}) for each in family.samples
                ]
            yield family


class JoinedMetrics(CollectorRegistry):
    """The metrics of several registries as one; equal samples occur once."""

    def __init__(self, registries: Sequence[CollectorRegistry]) -> None:
        super().__init__()
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        by_name: dict[str, tuple[Metric, set[tuple[str, frozenset[tuple[str, str]]]]]] = {}
        for registry in self._registries:
            for family in registry.collect():
                joined, known = by_name.setdefault(
                    family.name, (Metric(family.name, family.documentation, family.type), set())
                )
                for sample in family.samples:
                    identity = sample.name, frozenset(sample.labels.items())
                    if identity not in known:
                        known.add(identity)
                        joined.samples.append(sample)
        yield from (family for family, _ in by_name.values())


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
