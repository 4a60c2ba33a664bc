"""What a stop must not do: the table of the checks; what it does with a process, as data."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine.errors import ApiError
from tasks.cluster.scope import ScopeKind
from tasks.flavours.stop_safety import ClusterSnapshot, check_plain_stop
from tasks.hosts.facts import HostFacts, StopOutcome, parse_facts, parse_stop
from tasks.hosts.identity import ProcessIdentity
from tasks.preflight.decide import Blocked
from tasks.preflight.decide_stop import NothingRuns, Stop, decide_stop
from tasks.sql.cluster import (
    LogStream,
    ServerRow,
    parse_checkpoints,
    parse_streams,
    render_minor_freeze,
)

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


def test_parse_streams_uses_row_of_leader() -> None:
    rows = [
        (1002, 1, "FOLLOWER", "10.0.0.1:2882:1", 1),
        (1002, 1, "LEADER", "10.0.0.1:2882:1,[fe80::1]:2883:1", 3),
        (1002, 1, "FOLLOWER", "10.0.0.9:2882:1", 1),
        (1, 1, "FOLLOWER", "", 1),
    ]
    led_stream, leaderless_stream = parse_streams(rows)
    assert led_stream == LogStream(1002, 1, frozenset({("10.0.0.1", 2882), ("fe80::1", 2883)}), 3)
    assert leaderless_stream.members == frozenset()


def test_parse_checkpoints_maps_address_to_checkpoint() -> None:
    assert parse_checkpoints([("10.0.0.1", 2882, 17)]) == {("10.0.0.1", 2882): 17}
    assert render_minor_freeze([]) == "ALTER SYSTEM MINOR FREEZE SERVER = ()"


def facts_of(**lines: Any) -> HostFacts:
    values = {"uid": 1000, "boot": "b", "home": "directory", "end": "yes"} | lines
    return parse_facts("".join(f"{name}={value}\n" for name, value in values.items()))


def test_decide_stop_stops_own_unmanaged_process_only() -> None:
    runs = {"pid": 7, "started": 8, "owner": 1000}
    assert decide_stop(facts_of(), home="/h") == NothingRuns()
    assert decide_stop(facts_of(**runs), home="/h") == Stop(ProcessIdentity("b", 7, 8, 1000, ""))
    other = decide_stop(facts_of(**runs | {"owner": 0}), home="/h")
    assert isinstance(other, Blocked)
    assert "uid 0, pid 7" in other.message
    for managed in ({"obshell": 9}, {"unit": "db.service"}, {"group": "0::/a/db.service"}):
        decision = decide_stop(facts_of(**runs | managed), home="/h")
        assert isinstance(decision, Blocked)
        assert decision.remedy
        assert decide_stop(facts_of(**managed), home="/h") == NothingRuns()
    broken = decide_stop(facts_of(end="no"), home="/h")
    assert isinstance(broken, Blocked)
    assert "was truncated" in broken.message


@pytest.mark.parametrize("outcome", list(StopOutcome))
def test_parse_stop_each_outcome_is_read(outcome: StopOutcome) -> None:
    assert parse_stop(f"pid=7\nstarted=8\noutcome={outcome}\n").outcome is outcome


def test_parse_stop_undefined_outcome_is_unknown() -> None:
    assert parse_stop("outcome=splendid\n").outcome is StopOutcome.UNKNOWN
    assert parse_stop("").process is None
