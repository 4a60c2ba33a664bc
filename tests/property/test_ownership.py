"""Ownership under the faults that hypothesis generates, in simulated time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dagengine.store.membership import ControllerState
from tests.property.simulated_service import TIMINGS, Controller, Service

CLUSTERS = 4
NAMES = frozenset(f"k{number}" for number in range(CLUSTERS))
OFFSETS_S = st.floats(0, 1e6)
LATENCIES_S = st.floats(0.001, 1.0)
SERVED = st.just(NAMES) | st.frozensets(st.sampled_from(sorted(NAMES)))


class SharedService(RuleBasedStateMachine):
    """Controllers that freeze, die, join and lose the database."""

    def __init__(self) -> None:
        super().__init__()
        self.service = Service(CLUSTERS)

    @property
    def running(self) -> list[Controller]:
        return [each for each in self.service.controllers if not each.is_killed]

    @precondition(lambda self: len(self.running) < 5)
    @rule(offset_s=OFFSETS_S, latency_s=LATENCIES_S, clusters=SERVED)
    def join(self, offset_s: float, latency_s: float, clusters: frozenset[str]) -> None:
        self.service.add(Controller(offset_s, clusters, latency_s))

    @rule(duration_s=st.floats(0, 6))
    def wait(self, duration_s: float) -> None:
        self.service.run(duration_s)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def freeze_or_thaw(self, data: st.DataObject) -> None:
        controller = data.draw(st.sampled_from(self.running))
        if controller.is_frozen:
            self.service.thaw(controller)
        else:
            controller.is_frozen = True

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.running)).is_killed = True

    @rule()
    def break_or_restore_database(self) -> None:
        self.service.database.is_up = not self.service.database.is_up

    @precondition(lambda self: self.running)
    @rule(data=st.data(), latency_s=LATENCIES_S)
    def change_latency(self, data: st.DataObject, latency_s: float) -> None:
        data.draw(st.sampled_from(self.running)).latency_s = latency_s

    @invariant()
    def only_last_owner_acts(self) -> None:
        self.service.check()

    def teardown(self) -> None:
        """Without faults, every servable cluster gets an owner that lives and acts."""
        service = self.service
        service.database.is_up = True
        for controller in self.running:
            controller.latency_s = 0.01
            if controller.is_frozen:
                service.thaw(controller)
        service.run(4 * TIMINGS.lease_s)
        fleet = service.database.read()
        owners = {name: record.owner for name, record in fleet.clusters.items()}
        for name in frozenset().union(*(each.clusters for each in self.running)):
            assert fleet.is_live(owners[name]), owners


TestSharedService = SharedService.TestCase
TestSharedService.settings = settings(max_examples=60, stateful_step_count=25)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(OFFSETS_S, st.floats(0.001, 0.3)), min_size=1, max_size=4),
    st.lists(st.tuples(st.floats(0.1, 8), st.floats(0, 30)), max_size=4),
)
def test_observe_after_outages_declares_none_dead(
    controllers: list[tuple[float, float]], outages: list[tuple[float, float]]
) -> None:
    service = Service(CLUSTERS)
    for offset_s, latency_s in controllers:
        service.add(Controller(offset_s, NAMES, latency_s))
    for before_s, outage_s in outages:
        service.run(before_s)
        service.database.is_up = False
        service.run(outage_s)
        service.database.is_up = True
    service.run(10)
    states = {record.state for record in service.database.controllers.values()}
    assert states == {ControllerState.LIVE}


@settings(max_examples=40)
@given(st.integers(1, 5), st.integers(0, 4))
def test_hand_over_evens_out_shares(first: int, more: int) -> None:
    service = Service(CLUSTERS)
    for number in range(first + more):
        if number == first:
            service.run(5)  # the later ones find all clusters taken
        service.add(Controller(1000.0 * number, NAMES))
    service.run(60)
    fleet = service.database.read()
    sizes = [len(fleet.owned_by(id_)) for id_ in fleet.live()]
    assert sum(sizes) == CLUSTERS
    assert max(sizes) - min(sizes) <= 1
