"""Checks that a stop does not harm the cluster, made before the DAG exists (protocol 3.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from dagengine.errors import DagengineError
from tasks.cluster.access import ClusterAccess
from tasks.cluster.scope import ScopeKind
from tasks.cluster.servers import Server
from tasks.errors import ForceStopRequired, ReplicaInvalid, StoppedInMultiZone
from tasks.flavours import messages
from tasks.sql.access import SqlPeerRefused
from tasks.sql.cluster import (
    SERVERS,
    STREAMS,
    TENANTS,
    ZONES,
    Address,
    LogStream,
    ServerRow,
    open_cluster_sql,
    parse_servers,
    parse_streams,
    parse_tenants,
    parse_zones,
)


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """State of a cluster at one moment, as the cluster reports it."""

    servers: dict[Address, ServerRow]
    zones: dict[str, str]
    streams: list[LogStream]
    tenants: dict[int, str]


def check_plain_stop(snapshot: ClusterSnapshot, scope: ScopeKind, zones: Collection[str]) -> None:
    """Check whether a zone, or servers of a zone, may be taken out of service.

    Args:
        snapshot: the cluster.
        scope: ZONE or SERVER.
        zones: of the targets.

    Raises:
        StoppedInMultiZone: servers would be stopped in more than one zone.
        ReplicaInvalid: a log stream would lose its majority.
    """
    if len(zones) > 1:
        raise StoppedInMultiZone(
            messages.SEVERAL_ZONES(zones=", ".join(sorted(zones))),
            remedy=messages.STOP_ONE_ZONE(),
        )
    elsewhere = sorted(_stopped_zones(snapshot) - set(zones))
    if elsewhere:
        raise StoppedInMultiZone(
            messages.OTHER_ZONE_STOPPED(zones=", ".join(elsewhere)),
            remedy=messages.START_OTHER_ZONE(),
        )
    if scope is ScopeKind.ZONE:
        _check_majority(snapshot, next(iter(zones)))


def _stopped_zones(snapshot: ClusterSnapshot) -> set[str]:
    inactive = {zone for zone, status in snapshot.zones.items() if status == "INACTIVE"}
    return inactive | {row.zone for row in snapshot.servers.values() if row.stopped}


def _check_majority(snapshot: ClusterSnapshot, zone: str) -> None:
    lost: dict[str, list[int]] = {}
    for stream in snapshot.streams:
        stay = [
            member
            for member in stream.members
            if (row := snapshot.servers.get(member)) is not None
            and row.status == "ACTIVE"
            and row.zone != zone
        ]
        if len(stay) * 2 <= stream.needed:
            unnamed = messages.TENANT_NUMBER(number=stream.tenant_id)
            name = snapshot.tenants.get(stream.tenant_id, unnamed)
            lost.setdefault(name, []).append(stream.stream_id)
    if lost:
        tenants = _join(
            messages.TENANT_STREAMS(tenant=name, streams=", ".join(map(str, numbers)))
            for name, numbers in lost.items()
        )
        raise ReplicaInvalid(
            messages.MAJORITY_LOST(zone=zone, tenants=tenants),
            remedy=messages.START_OTHER_ZONES(),
        )


def force_required_error(
    reason: str, remedy: str, refused: Sequence[SqlPeerRefused]
) -> ForceStopRequired:
    """Build the error; also names processes on SQL ports that are not the expected server."""
    reasons, remedies = [reason], [remedy]
    for error in refused:
        reasons.append(error.message)
        remedies.insert(0, error.remedy)
    return ForceStopRequired(_join(reasons), remedy=_join(dict.fromkeys(remedies)))


def _join(texts: Iterable[str]) -> str:
    """Join at least one text by semicolons; each keeps its message, for translations."""
    return reduce(lambda first, second: messages.REMEDIES(first=first, second=second), texts)


async def read_snapshot(
    access: ClusterAccess,
    servers: Sequence[Server],
    limit_s: float,
    refused: list[SqlPeerRefused],
) -> ClusterSnapshot | None:
    """Read the cluster's state through the first server that answers; None if none does.

    Args:
        access: to the cluster.
        servers: the servers to query, all at the same time.
        limit_s: time for a server to answer, in seconds.
        refused: receives an error for each server whose port belongs to another process.

    Raises:
        ConfigError: the password of root cannot be read.
    """
    access.cluster.root_password()  # an unreadable password is not a server without an answer
    answers: asyncio.Queue[ClusterSnapshot | None] = asyncio.Queue()

    async def run_query(server: Server) -> None:
        snapshot = None
        try:
            async with asyncio.timeout(limit_s):
                async with open_cluster_sql(access, [server], 0) as sql:
                    snapshot = ClusterSnapshot(
                        await sql.query(SERVERS, parse_servers),
                        await sql.query(ZONES, parse_zones),
                        await sql.query(STREAMS, parse_streams),
                        await sql.query(TENANTS, parse_tenants),
                    )
        except SqlPeerRefused as exc:
            refused.append(exc)
        except (DagengineError, TimeoutError):
            pass  # this server does not answer; another one may
        finally:
            answers.put_nowait(snapshot)

    async with asyncio.TaskGroup() as group:
        queries = [
            group.create_task(run_query(server), name=f"query the cluster through {server.name}")
            for server in servers
        ]
        snapshot = None
        for _ in servers:
            if (snapshot := await answers.get()) is not None:
                break
        for task in queries:
            task.cancel()
    return snapshot
