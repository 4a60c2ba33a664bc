"""The watch's decision: which controllers are dead. Pure.

Only instants of the observer's own CLOCK_BOOTTIME are compared, never those of two machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagengine.ownership.timings import Timings
from dagengine.store.membership import Fleet


@dataclass(frozen=True, slots=True)
class SeenBeat:
    """A beat of a controller.

    Attributes:
        since_s: when the response arrived that first showed this beat.
    """

    beat: int
    since_s: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What one observer has seen without a gap.

    Attributes:
        sent_s: when the last read was sent; None before the first one. After a read
            that failed, the observation begins again: with an empty one.
        sightings: by id of a LIVE controller.
    """

    sent_s: float | None = None
    sightings: Mapping[int, SeenBeat] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Silent:
    """A controller whose beat has not changed for the whole lease."""

    controller_id: int
    beat: int


def observe(
    before: Observation,
    fleet: Fleet,
    me: int,
    *,
    sent_s: float,
    received_s: float,
    timings: Timings,
) -> tuple[Observation, tuple[Silent, ...]]:
    """Add a read to an observation.

    A beat has stood still at least from the arrival of the first response that showed it until the
    last request was sent.

    The observation restarts after a gap, and also when the observer's own beat has not changed for
    as long: then the database accepts no writes, or none of this controller, and the other
    controllers may be as silent for the same reason.

    Args:
        before: the observation so far.
        fleet: the result of the read.
        me: id of the observer.
        sent_s: when the read was sent.
        received_s: when its result arrived.
        timings: the lease.

    Returns:
        The new observation, and the controllers to declare dead.
    """
    if not fleet.is_live(me):
        return Observation(), ()
    beats = {id_: fleet.controllers[id_].beat for id_ in fleet.live()}
    has_gap = before.sent_s is None or received_s - before.sent_s > timings.max_gap_s
    if not has_gap and _has_stood(before, beats, me, sent_s, timings.max_gap_s):
        own = before.sightings[me]  # kept: it restarts the observation until it changes
        return Observation(sent_s, {**_fresh(beats, received_s), me: own}), ()
    known = {} if has_gap else before.sightings
    sightings = {
        id_: seen
        if (seen := known.get(id_)) is not None and seen.beat == beat
        else SeenBeat(beat, received_s)
        for id_, beat in beats.items()
    }
    silent = tuple(
        Silent(id_, seen.beat)
        for id_, seen in sightings.items()
        if id_ != me and sent_s - seen.since_s >= timings.lease_s
    )
    return Observation(sent_s, sightings), silent


def _has_stood(
    before: Observation, beats: Mapping[int, int], me: int, sent_s: float, limit_s: float
) -> bool:
    seen = before.sightings.get(me)
    return seen is not None and seen.beat == beats.get(me) and sent_s - seen.since_s > limit_s


def _fresh(beats: Mapping[int, int], at_s: float) -> dict[int, SeenBeat]:
    return {id_: SeenBeat(beat, at_s) for id_, beat in beats.items()}
