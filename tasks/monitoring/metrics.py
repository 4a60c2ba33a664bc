"""The metrics of a cluster's servers, for /metrics. Labels contain no name of a host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dagengine import DagDetail, Engine, Operator, State
from dagengine.extension import GaugeMetric, MetricSource, Sample
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.observation import AVAILABLE
from tasks.operations.names import START_OB

_STARTS = 100  # of the newest successful starts, whose ends are compared


def metric_source(cluster: ClusterFile) -> MetricSource:
    """Return the source of the metrics of the servers in a cluster file."""

    async def measure(engine: Engine) -> Sequence[GaugeMetric]:
        starts = await engine.search_dags(
            before=None, state=State.SUCCEED, name=START_OB, limit=_STARTS
        )
        return measure_servers(cluster), measure_last_start(starts)

    return measure


def measure_servers(cluster: ClusterFile) -> GaugeMetric:
    """Return which servers are up; a server of unknown state counts as not up.

    If it had no sample, an alert on it would end as soon as its host is lost.
    """
    samples = []
    for number, server in enumerate(cluster.servers, 1):
        observation = cluster.observation(server.name)
        is_up = (
            observation is not None and observation.is_known and observation.ob_state == AVAILABLE
        )
        samples.append(Sample(float(is_up), (server.zone, str(number))))
    about = "1 if the server answers SQL, 0 if not or if its state is not known."
    return GaugeMetric("dagengine_server_up", about, tuple(samples), ("zone", "server"))


def measure_last_start(starts: Iterable[DagDetail]) -> GaugeMetric:
    """Return when the last start succeeded, of these starts, which all are SUCCEED.

    A start that was passed or rolled back does not count.
    """
    ends = [
        start.dag.end_at.timestamp()
        for start in starts
        if start.dag.operator in (Operator.RUN, Operator.RETRY)
    ]
    name = "dagengine_last_start_success_timestamp_seconds"
    about = "When a start of servers last succeeded, in seconds since 1970."
    return GaugeMetric(name, about, (Sample(max(ends)),) if ends else ())
