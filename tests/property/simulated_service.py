"""Controllers of a service in simulated time, which decide with the functions of ownership.

Each controller has its own CLOCK_BOOTTIME with its own start. Requests take time in both
directions, and a frozen controller handles a response only after it continues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from heapq import heappop, heappush
from itertools import count

from dagengine.model.fencing import Ownership
from dagengine.ownership.observation import Observation, Silent, observe
from dagengine.ownership.standing import may_act
from dagengine.ownership.take_over import (
    Vacancy,
    find_vacancies,
    plan_hand_over,
    plan_take_overs,
)
from dagengine.ownership.timings import Timings
from dagengine.store.membership import (
    ClusterPins,
    ClusterRecord,
    ControllerRecord,
    ControllerState,
    Fleet,
    ServedCluster,
)

T0 = datetime(2024, 1, 1, tzinfo=UTC)
TIMINGS = Timings(hand_over_s=5.0)


@dataclass
class Database:
    """The tables, with the guards of membership.sql."""

    controllers: dict[int, ControllerRecord] = field(default_factory=dict)
    clusters: dict[str, ClusterRecord] = field(default_factory=dict)
    served: dict[int, tuple[ServedCluster, ...]] = field(default_factory=dict)
    is_up: bool = True
    owners: dict[tuple[str, int], int] = field(default_factory=dict)
    """The owner in each epoch of each cluster."""

    def read(self) -> Fleet:
        return Fleet(dict(self.controllers), dict(self.clusters), dict(self.served))

    def join(self, clusters: frozenset[str]) -> int:
        id_ = len(self.controllers) + 1
        record = ControllerRecord(id_, f"c{id_}", "1", ControllerState.LIVE, 0, T0, T0)
        self.controllers[id_] = record
        self.served[id_] = tuple(ServedCluster(name, "", "", True) for name in sorted(clusters))
        return id_

    def beat(self, id_: int) -> bool:
        record = self.controllers[id_]
        if record.state is not ControllerState.LIVE:
            return False
        self.controllers[id_] = replace(record, beat=record.beat + 1)
        return True

    def declare_dead(self, silent: Silent) -> None:
        record = self.controllers[silent.controller_id]
        if (record.state, record.beat) == (ControllerState.LIVE, silent.beat):
            self.controllers[record.controller_id] = replace(record, state=ControllerState.DEAD)

    def take_over(self, seen: ClusterRecord, id_: int) -> Ownership | None:
        record = self.clusters[seen.name]
        if (record.owner, record.epoch) != (seen.owner, seen.epoch):
            return None
        record = replace(record, owner=id_, epoch=record.epoch + 1, reserved_for=None)
        self.clusters[seen.name] = record
        assert self.owners.setdefault((seen.name, record.epoch), id_) == id_
        return Ownership(seen.name, id_, record.epoch, record.commit_no)

    def give_away(self, ownership: Ownership, to: int) -> None:
        record = self.clusters[ownership.cluster]
        if (record.owner, record.epoch) == (ownership.owner, ownership.epoch):
            self.clusters[record.name] = replace(record, owner=None, reserved_for=to)


@dataclass
class Controller:
    """One simulated process."""

    offset_s: float
    clusters: frozenset[str]
    latency_s: float = 0.01
    is_frozen: bool = False
    is_killed: bool = False
    id_: int | None = None
    held_since_s: float | None = None
    observation: Observation = field(default_factory=Observation)
    vacancies: dict[str, Vacancy] = field(default_factory=dict)
    held: dict[str, Ownership] = field(default_factory=dict)
    last_hand_over_s: float | None = None
    waiting: list[Callable[[], None]] = field(default_factory=list)


class Service:
    """The simulation. Its clock moves with `run`; between two calls anything may be changed."""

    def __init__(self, clusters: int) -> None:
        self.database = Database()
        for number in range(clusters):
            pins = ClusterPins(f"k{number}", number, "seekdb", "")
            self.database.clusters[pins.name] = ClusterRecord(pins, "", None, None, 0, 0)
        self.controllers: list[Controller] = []
        self.now_s = 0.0
        self._numbers = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def add(self, controller: Controller) -> None:
        self.controllers.append(controller)
        self._join(controller)
        self._call(0.0, lambda: self._beat(controller))
        self._call(0.1, lambda: self._watch(controller))

    def run(self, duration_s: float) -> None:
        end_s = self.now_s + duration_s
        while self._events and self._events[0][0] <= end_s:
            self.now_s, _, function = heappop(self._events)
            function()
            self.check()
        self.now_s = end_s

    def thaw(self, controller: Controller) -> None:
        controller.is_frozen = False
        waiting, controller.waiting = controller.waiting, []
        for function in waiting:
            function()

    def check(self) -> None:
        """No controller may act for a cluster that has a newer owner."""
        for controller in self.controllers:
            now_s = self.now_s + controller.offset_s
            if controller.is_killed or not may_act(controller.held_since_s, now_s, TIMINGS):
                continue
            for ownership in controller.held.values():
                record = self.database.clusters[ownership.cluster]
                assert record.epoch == ownership.epoch, (controller, record)

    def _call(self, delay_s: float, function: Callable[[], None]) -> None:
        heappush(self._events, (self.now_s + delay_s, next(self._numbers), function))

    def _later(self, controller: Controller, delay_s: float, function: Callable[[], None]) -> None:
        """Call a function of a process, which it executes only while it is not frozen."""

        def execute() -> None:
            if controller.is_killed:
                return
            if controller.is_frozen:
                controller.waiting.append(execute)
            else:
                function()

        self._call(delay_s, execute)

    def _join(self, controller: Controller) -> None:
        controller.id_ = self.database.join(controller.clusters)
        controller.held_since_s = None
        controller.observation, controller.vacancies = Observation(), {}
        controller.held, controller.last_hand_over_s = {}, None

    def _beat(self, controller: Controller) -> None:
        self._later(controller, TIMINGS.beat_s, lambda: self._beat(controller))
        sent_s, id_ = self.now_s + controller.offset_s, controller.id_

        def arrive() -> None:
            if id_ is not None and self.database.is_up:
                is_live = self.database.beat(id_)
                self._later(controller, controller.latency_s / 2, lambda: respond(is_live))

        def respond(is_live: bool) -> None:
            if controller.id_ != id_:
                return
            if is_live:
                controller.held_since_s = max(sent_s, controller.held_since_s or sent_s)
            else:
                self._join(controller)

        if not controller.is_frozen and not controller.is_killed:
            self._call(controller.latency_s / 2, arrive)

    def _watch(self, controller: Controller) -> None:
        self._later(controller, TIMINGS.watch_s, lambda: self._watch(controller))
        if not self.database.is_up:
            controller.observation = Observation()
            return
        sent_s, id_, fleet = self.now_s + controller.offset_s, controller.id_, self.database.read()
        self._later(controller, controller.latency_s, lambda: decide())  # noqa: PLW0108

        def decide() -> None:
            if controller.id_ == id_ and id_ is not None:
                self._decide(controller, id_, fleet, sent_s)

    def _decide(self, controller: Controller, me: int, fleet: Fleet, sent_s: float) -> None:
        now_s = self.now_s + controller.offset_s
        if not self.database.is_up:
            controller.observation = Observation()
            return
        controller.observation, silent = observe(
            controller.observation, fleet, me, sent_s=sent_s, received_s=now_s, timings=TIMINGS
        )
        for each in silent:
            self.database.declare_dead(each)
        vacancies = find_vacancies(controller.vacancies, fleet, now_s)
        controller.vacancies = dict(vacancies)
        planned = plan_take_overs(
            fleet, me, vacancies, excluded=controller.held.keys(), now_s=now_s, timings=TIMINGS
        )
        for seen in planned:
            if not may_act(controller.held_since_s, now_s, TIMINGS):
                break
            if (ownership := self.database.take_over(seen, me)) is not None:
                controller.held[seen.name] = ownership
        hand_over = plan_hand_over(
            fleet,
            me,
            controller.held.keys(),
            last_at_s=controller.last_hand_over_s,
            now_s=now_s,
            timings=TIMINGS,
        )
        if hand_over is not None:
            controller.last_hand_over_s = now_s
            self.database.give_away(controller.held.pop(hand_over.cluster), hand_over.to)
