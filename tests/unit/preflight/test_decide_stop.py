"""Decisions about the process of a home that is to be stopped."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine import FencingToken
from tasks.hosts.facts import HostFacts, parse_facts
from tasks.hosts.identity import ProcessIdentity
from tasks.preflight.decide import Blocked
from tasks.preflight.decide_stop import NothingRuns, Stop, block_rejected, decide_stop
from tests.support.factories import make_server


def facts_of(**lines: Any) -> HostFacts:
    values = {"uid": 1000, "boot": "b", "home": "directory", "end": "yes"} | lines
    return parse_facts("".join(f"{name}={value}\n" for name, value in values.items()))


def test_decide_stop_stops_own_unmanaged_process_only() -> None:
    runs = {"pid": 7, "started": 8, "owner": 1000}
    assert decide_stop(facts_of(), home="/h") == NothingRuns()
    assert decide_stop(facts_of(**runs), home="/h") == Stop(ProcessIdentity("b", 7, 8, 1000, ""))
    foreign = decide_stop(facts_of(**runs | {"owner": 0}), home="/h")
    assert isinstance(foreign, Blocked)
    assert "uid 0, pid 7" in foreign.message
    for managed in ({"obshell": 9}, {"unit": "db.service"}, {"group": "0::/a/db.service"}):
        decision = decide_stop(facts_of(**runs | managed), home="/h")
        assert isinstance(decision, Blocked)
        assert decision.remedy
        assert decide_stop(facts_of(**managed), home="/h") == NothingRuns()
    truncated = decide_stop(facts_of(end="no"), home="/h")
    assert isinstance(truncated, Blocked)
    assert "was truncated" in truncated.message


@pytest.mark.parametrize(
    ("recorded", "part"),
    [
        (None, None),
        (f"{'a' * 32} 1 5 ctl-a 2026-01-02T03:04:05Z", None),
        (f"{'a' * 32} 1 6 ctl-a 2026-01-02T03:04:05Z", "newer token (epoch 1, lock token 6)"),
        (f"{'b' * 32} 1 1 ctl-a 2026-01-02T03:04:05Z", "store bbbbbbbb…, controller ctl-a"),
        ("damaged", "is damaged or cannot be read"),
    ],
)
def test_block_rejected_blocks_stop_of_rejected_token(
    recorded: str | None, part: str | None
) -> None:
    lines = {} if recorded is None else {"fence": recorded}
    token, server = FencingToken("a" * 32, 1, 5, "ctl-b"), make_server()
    decision = block_rejected(facts_of(**lines), server, token)
    assert (decision is None) is (part is None)
    if decision is not None and part is not None:
        assert part in decision.message
        assert "dagengine " in decision.remedy
    assert block_rejected(facts_of(end="no", **lines), server, token) is None
