"""Mapping of observed server states to the states on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tasks.cluster.observation import (
    Observation,
    ServerActivity,
    TableRow,
    cut_build,
    read_cluster_status,
    read_inner_status,
    read_server_status,
    read_zone_status,
    summarize,
)

AT = datetime(2024, 1, 10, tzinfo=UTC)
DOWN, PROCESS, RESTRICTED, UP = (Observation(AT, state) for state in range(4))
UNREACHABLE = Observation(AT, 0, is_known=False)
ACTIVE, INACTIVE = TableRow("ACTIVE"), TableRow("INACTIVE")
STOPPED = TableRow("ACTIVE", is_stopped=True)
DELETING = TableRow("DELETING")
NO_TABLE = TableRow("UNKNOWN")  # no server answers SQL


@pytest.mark.parametrize(
    ("observed", "row", "expected"),
    [
        (None, None, ("UNKNOWN", "UNAVAILABLE")),
        (UNREACHABLE, None, ("UNKNOWN", "UNAVAILABLE")),
        (DOWN, None, ("INACTIVE", "PROCESS_STOPPED")),
        (PROCESS, None, ("INACTIVE", "UNAVAILABLE")),
        (RESTRICTED, None, ("INACTIVE", "UNAVAILABLE")),
        (UP, None, ("ACTIVE", "RUNNING")),
        (UP, ACTIVE, ("ACTIVE", "RUNNING")),
        (UP, INACTIVE, ("INACTIVE", "UNAVAILABLE")),
        (UP, STOPPED, ("ACTIVE", "SERVICE_STOPPED")),
        (DOWN, STOPPED, ("INACTIVE", "PROCESS_STOPPED")),
        (DOWN, INACTIVE, ("INACTIVE", "PROCESS_STOPPED")),
        (UP, DELETING, ("DELETING", "DELETING")),
        (UNREACHABLE, ACTIVE, ("ACTIVE", "RUNNING")),  # other servers reach it
        (DOWN, ACTIVE, ("INACTIVE", "PROCESS_STOPPED")),  # before its lease ends
        (UNREACHABLE, NO_TABLE, ("UNKNOWN", "UNAVAILABLE")),
        (RESTRICTED, NO_TABLE, ("INACTIVE", "UNAVAILABLE")),
    ],
)
def test_read_server_status_combines_observation_and_table(
    observed: Observation | None, row: TableRow | None, expected: tuple[str, str]
) -> None:
    assert (read_inner_status(observed, row), read_server_status(observed, row)) == expected


@pytest.mark.parametrize("activity", list(ServerActivity))
def test_read_server_status_activity_overrides_observation(activity: ServerActivity) -> None:
    for observed in (None, DOWN, UP, UNREACHABLE):
        assert read_server_status(observed, ACTIVE, activity) == activity


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        (["RUNNING"], "RUNNING"),
        (["RUNNING", "PROCESS_STOPPED"], "RUNNING"),
        (["PROCESS_STOPPED", "SERVICE_STOPPED"], "STOPPED"),
        (["PROCESS_STOPPED", "UNAVAILABLE"], "UNKNOWN"),
        (["UNAVAILABLE"], "UNKNOWN"),
        (["RUNNING", "STARTING"], "STARTING"),
        (["SERVICE_STOPPING", "RUNNING"], "STOPPING"),
        (["PROCESS_STOPPING"], "STOPPING"),
    ],
)
def test_read_zone_status_derives_from_servers(servers: list[str], expected: str) -> None:
    assert read_zone_status(servers) == expected


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        (["RUNNING"], "AVAILABLE"),
        (["RUNNING", "RUNNING", "STOPPED"], "AVAILABLE"),
        (["RUNNING", "STOPPED"], "UNAVAILABLE"),
        (["RUNNING", "UNKNOWN", "STARTING"], "UNAVAILABLE"),
        (["STOPPED"], "UNAVAILABLE"),
    ],
)
def test_read_cluster_status_needs_majority_of_zones(zones: list[str], expected: str) -> None:
    assert read_cluster_status(zones) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [("4.3.1.0-102024el7", "4.3.1.0"), ("4.3.1.0", "4.3.1.0"), ("", ""), ("4-1-2", "4")],
)
def test_cut_build_ends_version_at_first_dash(version: str, expected: str) -> None:
    assert cut_build(version) == expected


@pytest.mark.parametrize(
    ("observations", "is_complete", "expected"),
    [
        ([], False, (0, False)),
        ([DOWN], True, (0, True)),
        ([DOWN], False, (0, False)),  # another server was never observed
        ([DOWN, UNREACHABLE], True, (0, False)),
        ([PROCESS, UNREACHABLE], True, (1, True)),  # at least
        ([UP, UNREACHABLE], True, (3, True)),
        ([UP, DOWN], True, (3, True)),
    ],
)
def test_summarize_unknown_server_hides_only_stopped_cluster(
    observations: list[Observation], is_complete: bool, expected: tuple[int, bool]
) -> None:
    summary = summarize(observations, is_complete=is_complete)
    assert (summary.state.ob_state, summary.state.is_known) == expected
