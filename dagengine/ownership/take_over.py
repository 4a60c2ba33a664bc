"""Which clusters a controller takes over and which it hands over. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from dagengine.ownership.timings import Timings
from dagengine.store.membership import ClusterRecord, Fleet


@dataclass(frozen=True, slots=True)
class Vacancy:
    """A cluster without a live owner.

    Attributes:
        epoch: the cluster's epoch, so that a later vacancy is another one.
        reserved_for: see ClusterRecord.
        since_s: when the observer first saw it, on its CLOCK_BOOTTIME.
    """

    epoch: int
    reserved_for: int | None
    since_s: float


def find_vacancies(
    before: Mapping[str, Vacancy], fleet: Fleet, now_s: float
) -> Mapping[str, Vacancy]:
    """Return the clusters without a live owner; known vacancies keep their instant."""
    vacant = {
        name: Vacancy(record.epoch, record.reserved_for, now_s)
        for name, record in fleet.clusters.items()
        if fleet.is_vacant(record)
    }
    return {
        name: old
        if (old := before.get(name)) is not None
        and (old.epoch, old.reserved_for) == (new.epoch, new.reserved_for)
        else new
        for name, new in vacant.items()
    }


def fair_share(fleet: Fleet) -> int:
    """Return how many clusters a controller takes without delay."""
    return -(-len(fleet.servable()) // max(len(fleet.live()), 1))


def plan_take_overs(
    fleet: Fleet,
    me: int,
    vacancies: Mapping[str, Vacancy],
    *,
    excluded: AbstractSet[str],
    now_s: float,
    timings: Timings,
) -> tuple[ClusterRecord, ...]:
    """Return the clusters to take over now, in this order.

    Controllers begin at different places of the same order, so that they seldom try the same
    cluster. If they do, the guard of the statement decides.

    Args:
        fleet: the last read.
        me: the controller that decides.
        vacancies: clusters without a live owner.
        excluded: clusters that this process cannot open now.
        now_s: the current time, on the clock of the vacancies.
        timings: `reserved_s` and `surplus_s`.
    """
    if not fleet.is_live(me):
        return ()
    candidates = sorted((fleet.ready_for(me) & vacancies.keys()) - excluded)
    candidates = [
        name
        for name in candidates
        if not _is_reserved_for_other(fleet, vacancies[name], me, now_s, timings)
    ]
    share = fair_share(fleet)
    live = fleet.live()
    first = live.index(me) * len(candidates) // len(live)
    room = share - len(fleet.owned_by(me))
    taken: list[ClusterRecord] = []
    for name in [*candidates[first:], *candidates[:first]]:
        vacancy = vacancies[name]
        is_due = now_s - vacancy.since_s >= timings.surplus_s
        if room > len(taken) or vacancy.reserved_for == me or is_due:
            taken.append(fleet.clusters[name])
    return tuple(taken)


def _is_reserved_for_other(
    fleet: Fleet, vacancy: Vacancy, me: int, now_s: float, timings: Timings
) -> bool:
    return (
        vacancy.reserved_for not in (None, me)
        and fleet.is_live(vacancy.reserved_for)
        and now_s - vacancy.since_s < timings.reserved_s
    )


@dataclass(frozen=True, slots=True)
class HandOver:
    """A cluster that its owner gives away, and the controller that is to take it."""

    cluster: str
    to: int


def plan_hand_over(
    fleet: Fleet,
    me: int,
    idle: Collection[str],
    *,
    last_at_s: float | None,
    now_s: float,
    timings: Timings,
) -> HandOver | None:
    """Return the cluster to hand over now, if any.

    Args:
        fleet: the last read.
        me: the owner that decides.
        idle: clusters of this owner without an unfinished DAG and without a recent stream.
        last_at_s: when this controller last handed a cluster over; None for never.
        now_s: the current time, on the same clock.
        timings: `hand_over_s`.
    """
    if last_at_s is not None and now_s - last_at_s < timings.hand_over_s:
        return None
    own = fleet.owned_by(me)
    # Clusters on their way count: otherwise several owners, or one that is faster than the other
    # opens them, would give away too many.
    sizes = {
        id_: len(fleet.owned_by(id_)) + len(fleet.reserved_for(id_))
        for id_ in fleet.live()
        if id_ != me
    }
    for to in sorted(sizes, key=lambda id_: (sizes[id_], id_)):
        if len(own) - sizes[to] < 2:  # otherwise it would come back
            return None
        if fit := sorted(own & fleet.ready_for(to) & set(idle)):
            return HandOver(fit[0], to)
    return None
