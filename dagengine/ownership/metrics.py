"""The figures of ownership, and their collector for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dagengine.store.membership import ControllerState


@dataclass(frozen=True, slots=True)
class OwnershipStatus:
    """The state of one controller and of the service, as it sees it.

    Attributes:
        is_member: False while the controller is fenced or has not joined.
        controllers: number of controllers in each state.
        owned_clusters: clusters whose engine runs here.
        unserved_clusters: clusters that no LIVE controller can serve.
        take_overs: since the start of the process.
        fencings: how often this controller was declared dead, since the start of the process.
        heartbeat_delay_s: time since the last successful heartbeat was sent, in seconds; None
            without one.
    """

    is_member: bool
    controllers: Mapping[ControllerState, int]
    owned_clusters: int
    unserved_clusters: int
    take_overs: int
    fencings: int
    heartbeat_delay_s: float | None


class OwnershipCollector(Collector):
    """Exports `OwnershipStatus` at every scrape."""

    def __init__(self, status: Callable[[], OwnershipStatus]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status()
        controllers = GaugeMetricFamily(
            "dagengine_controllers", "Controllers of the service.", labels=["state"]
        )
        for state, number in status.controllers.items():
            controllers.add_metric([state], number)
        yield controllers
        for name, about, value in (
            ("controller_live", "1 if this controller is a member.", int(status.is_member)),
            ("owned_clusters", "Clusters that this controller runs.", status.owned_clusters),
            (
                "unserved_clusters",
                "Clusters that no running controller can serve.",
                status.unserved_clusters,
            ),
        ):
            yield GaugeMetricFamily(f"dagengine_{name}", about, value)
        if status.heartbeat_delay_s is not None:
            yield GaugeMetricFamily(
                "dagengine_heartbeat_delay_seconds",
                "Time since the last successful heartbeat was sent.",
                status.heartbeat_delay_s,
            )
        yield CounterMetricFamily(
            "dagengine_take_overs", "Clusters taken over by this controller.", status.take_overs
        )
        yield CounterMetricFamily(
            "dagengine_fencings", "Times this controller was declared dead.", status.fencings
        )
