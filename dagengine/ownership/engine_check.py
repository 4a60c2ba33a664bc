"""The comparison of the clusters that a controller owns with the engines that it runs. Pure.

A controller that dies is replaced by others. One that lives and beats, but owns a cluster without
running its engine, would block that cluster for good; the engine check finds this.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from dagengine.model.fencing import Ownership
from dagengine.store.membership import Fleet


@dataclass(frozen=True, slots=True)
class EngineCheck:
    """What a controller does about differences.

    Attributes:
        lost: clusters with an engine here that has another owner or a later epoch now: drop it.
        reopen: clusters that this controller owns without an engine: open it.
        give_away: such clusters that another controller can serve, after a failure here.
        release: clusters whose engine runs here, but that this controller refuses now: close it
            and give it away, even if no other controller can serve it.
    """

    lost: frozenset[str]
    reopen: tuple[Ownership, ...]
    give_away: tuple[Ownership, ...]
    release: frozenset[str] = frozenset()


def check_engines(
    fleet: Fleet,
    me: int,
    held: Mapping[str, Ownership],
    *,
    running: AbstractSet[str],
    busy: AbstractSet[str],
    failed: AbstractSet[str],
) -> EngineCheck:
    """Compare the owned clusters with the engines.

    Args:
        fleet: a read that was sent after the last change of `held`.
        me: this controller.
        held: the ownership that each engine here was opened, or is being opened, with.
        running: clusters whose engine runs.
        busy: clusters whose engine is being opened or closed: left alone.
        failed: clusters whose engine recently failed to open.
    """
    lost = frozenset(
        name
        for name, ownership in held.items()
        if name not in busy
        and (
            (record := fleet.clusters.get(name)) is None
            or (record.owner, record.epoch) != (ownership.owner, ownership.epoch)
        )
    )
    reopen, give_away = [], []
    for name in sorted(fleet.owned_by(me) - running - busy - lost):
        record = fleet.clusters[name]
        ownership = Ownership(name, me, record.epoch, record.commit_no)
        is_ready = name in fleet.ready_for(me)
        others = any(name in fleet.ready_for(each) for each in fleet.live() if each != me)
        if others and (name in failed or not is_ready):
            give_away.append(ownership)
        elif is_ready and name not in failed:
            reopen.append(ownership)
    announced = {each.cluster for each in fleet.served.get(me, ())}
    refused = announced - fleet.ready_for(me)
    release = fleet.owned_by(me) & running & refused - busy - lost
    return EngineCheck(lost, tuple(reopen), tuple(give_away), release)


def find_unserved(fleet: Fleet) -> frozenset[str]:
    """Return the clusters that no LIVE controller can serve: a health problem of the service."""
    return frozenset(fleet.clusters) - fleet.servable()
