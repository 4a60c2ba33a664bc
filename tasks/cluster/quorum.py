"""Explanation of a missing majority, from the servers that one task has seen. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from tasks.cluster import messages


class ZonedServer(Protocol):
    """The part of a server that a majority depends on."""

    @property
    def name(self) -> str: ...

    @property
    def zone(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Majority:
    """Explanation of a missing majority.

    Attributes:
        message: the servers that are missing.
        remedy: the next step for the operator.
    """

    message: str
    remedy: str


def explain_majority(
    servers: Sequence[ZonedServer], healthy: Collection[str], targets: Collection[str]
) -> Majority:
    """Explain why a cluster may have no majority, assuming one replica per zone.

    Args:
        servers: all servers of the cluster.
        healthy: names of the servers that this task saw answer SQL.
        targets: names of the servers in this task's scope; it did not contact the others.
    """
    zones = list(dict.fromkeys(server.zone for server in servers))
    needed = len(zones) // 2 + 1
    reached = [zone for zone in zones if any(s.zone == zone and s.name in healthy for s in servers)]
    missing = [_tell_zone(zone, servers, healthy, targets) for zone in zones]
    details = "; ".join(text for text in missing if text)
    having = ", ".join(reached) or "none"
    message = messages.MAJORITY_MISSING(
        needed=needed, zones=len(zones), count=len(reached), reached=having
    )
    if details:
        message = messages.MAJORITY_MISSING_SERVERS(majority=message, servers=details)
    lacking = needed - len(reached)
    if lacking > 0:
        if lacking == 1:
            return Majority(message, messages.START_MORE_ZONE())
        return Majority(message, messages.START_MORE_ZONES(count=lacking))
    return Majority(message, messages.START_REST())


def _tell_zone(
    zone: str,
    servers: Sequence[ZonedServer],
    healthy: Collection[str],
    targets: Collection[str],
) -> str:
    inside = [s.name for s in servers if s.zone == zone and s.name not in healthy]
    failed = [name for name in inside if name in targets]
    others = [name for name in inside if name not in targets]
    parts = []
    if failed:
        parts.append(messages.SERVERS_DOWN(servers=", ".join(failed)))
    if others:
        parts.append(messages.SERVERS_OUT_OF_SCOPE(servers=", ".join(others)))
    return f"{zone}: {', '.join(parts)}" if parts else ""
