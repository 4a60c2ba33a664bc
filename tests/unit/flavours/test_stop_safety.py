"""Safety checks of a plain stop, as a table."""

from __future__ import annotations

import pytest

from dagengine.errors import ApiError
from tasks.cluster.scope import ScopeKind
from tasks.flavours.stop_safety import ClusterSnapshot, check_plain_stop
from tasks.sql.cluster import LogStream, ServerRow

ZONES = ("z1", "z2", "z3")


def snapshot(
    *,
    dead: tuple[str, ...] = (),
    stopped: tuple[str, ...] = (),
    inactive: tuple[str, ...] = (),
    members: tuple[str, ...] = ZONES,
) -> ClusterSnapshot:
    """Return one server per zone, and one log stream of the tenant `shop`."""
    servers = {
        (zone, 1): ServerRow(
            (zone, 1), zone, "INACTIVE" if zone in dead else "ACTIVE", True, zone in stopped
        )
        for zone in ZONES
    }
    zones = {zone: "INACTIVE" if zone in inactive else "ACTIVE" for zone in ZONES}
    stream = LogStream(1002, 1001, frozenset((zone, 1) for zone in members), len(members))
    return ClusterSnapshot(servers, zones, [stream], {1002: "shop"})


MULTI, REPLICA = "OB.Server.StoppedInMultiZone", "OB.Cluster.Tenant.Replica.Invalid"


@pytest.mark.parametrize(
    ("cluster_snapshot", "scope", "zones", "code", "message_part"),
    [
        (snapshot(), "ZONE", ["z1"], "", ""),
        (snapshot(), "SERVER", ["z1"], "", ""),
        (snapshot(), "ZONE", ["z1", "z2"], MULTI, "z1, z2"),
        (snapshot(), "SERVER", ["z2", "z1"], MULTI, "z1, z2"),
        (snapshot(stopped=("z2",)), "ZONE", ["z1"], MULTI, "z2"),
        (snapshot(inactive=("z2",)), "SERVER", ["z1"], MULTI, "z2"),
        (snapshot(inactive=("z1",)), "ZONE", ["z1"], "", ""),
        (snapshot(stopped=("z1",)), "SERVER", ["z1"], "", ""),
        (snapshot(dead=("z2",)), "ZONE", ["z1"], REPLICA, "shop (log stream 1001)"),
        (snapshot(dead=("z2",)), "ZONE", ["z2"], "", ""),
        (snapshot(dead=("z2",)), "SERVER", ["z1"], "", ""),
        (snapshot(members=("z1",)), "ZONE", ["z1"], REPLICA, "shop"),
        (snapshot(members=("z1",)), "ZONE", ["z2"], "", ""),
        (snapshot(stopped=("z2",), dead=("z2",)), "ZONE", ["z1"], MULTI, "z2"),
    ],
)
def test_check_plain_stop_refuses_unsafe_stops_only(
    cluster_snapshot: ClusterSnapshot, scope: str, zones: list[str], code: str, message_part: str
) -> None:
    if not code:
        check_plain_stop(cluster_snapshot, ScopeKind(scope), zones)
        return
    with pytest.raises(ApiError) as caught:
        check_plain_stop(cluster_snapshot, ScopeKind(scope), zones)
    assert (caught.value.err_code, caught.value.http_status) == (code, 400)
    assert message_part in caught.value.message
    assert caught.value.remedy
