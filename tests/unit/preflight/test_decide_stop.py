"""Decisions about the process of a home that is to be stopped."""

from __future__ import annotations

from typing import Any

from tasks.hosts.facts import HostFacts, parse_facts
from tasks.hosts.identity import ProcessIdentity
from tasks.preflight.decide import Blocked
from tasks.preflight.decide_stop import NothingRuns, Stop, decide_stop


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
