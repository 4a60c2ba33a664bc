"""The outcome of an attempt names a pause of the process."""

from __future__ import annotations

import pytest

from dagengine import (
    Cancelled,
    Failed,
    Interrupted,
    Outcome,
    Problem,
    ResultUnknown,
    Succeeded,
    TimedOut,
)
from dagengine.engine.deadlines import name_pause

PROBLEM = Problem("Agent.RPC.RequestError", "the connection to host1 was lost", "check host1")


@pytest.mark.parametrize("kind", [Failed, TimedOut, ResultUnknown])
def test_name_pause_of_failure_keeps_code_and_remedy(
    kind: type[Failed | TimedOut | ResultUnknown],
) -> None:
    outcome = name_pause(kind(PROBLEM, {"a": 1}), 45.2)
    assert isinstance(outcome, kind)
    assert outcome.problem.message.startswith("after the controller was suspended for 45 s")
    assert outcome.problem.message.endswith(PROBLEM.message)
    assert (outcome.problem.code, outcome.problem.remedy) == (PROBLEM.code, PROBLEM.remedy)
    assert outcome.evidence == {"a": 1}


@pytest.mark.parametrize("outcome", [Succeeded(), Cancelled(), Interrupted()])
def test_name_pause_keeps_other_outcomes(outcome: Outcome) -> None:
    assert name_pause(outcome, 45.0) is outcome


def test_name_pause_without_pause_keeps_failure() -> None:
    failed = Failed(PROBLEM)
    assert name_pause(failed, 0) is failed
