"""Events of the watch of a host, and the hosts that cannot be watched."""

from __future__ import annotations

import pytest

from dagengine.remote import HostAddress
from tasks.hosts.watch import (
    ProcessChanged,
    ProcessState,
    SignOfLife,
    WatchEvent,
    parse_event,
    refuse_watch,
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("life=yes", SignOfLife()),
        ("server=0 4711 123456", ProcessChanged(0, ProcessState.RUNNING)),
        ("server=1 none", ProcessChanged(1, ProcessState.MISSING)),
        ("server=1 unknown", ProcessChanged(1, ProcessState.UNKNOWN)),
        ("server=2 none", None),  # there are two servers
        ("server= none", None),
        ("server=-1 none", None),
        ("server=9999999999999999999999 none", None),
        ("Welcome to this host", None),
        ("", None),
    ],
)
def test_parse_event_returns_event_of_line(line: str, expected: WatchEvent | None) -> None:
    assert parse_event(line, 2) == expected


@pytest.mark.parametrize(
    ("max_sessions", "sessions", "is_refused"),
    [(1, 1, True), (2, 1, True), (3, 1, True), (4, 2, False), (10, 8, False)],
)
def test_refuse_watch_leaves_a_session_for_commands(
    max_sessions: int, sessions: int, is_refused: bool
) -> None:
    address = HostAddress("h", max_sessions=max_sessions)
    assert (address.command_sessions, refuse_watch(address) is not None) == (sessions, is_refused)
