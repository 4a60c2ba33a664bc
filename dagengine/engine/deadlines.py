"""The deadline of an attempt: the earliest of its own, its node's and its DAG's; and pauses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from dagengine.engine import messages
from dagengine.model.operation import Operation
from dagengine.model.outcome import Failed, Outcome, ResultUnknown, TimedOut
from dagengine.rules.snapshot import Snapshot
from dagengine.runtime.clock import Clock

AFTERMATH_S = 60.0
"""Time after a pause of the process in which it may cause failures, in seconds: connections that a
host closed during it are noticed when they are next used."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The time limit of an attempt.

    Attributes:
        left_s: remaining seconds, at least 0.
        whole_s: seconds of the whole limit.
        scope: the owner of the limit: `attempt`, `node` or `DAG`.
        at: the deadline by the wall clock; for display.
    """

    left_s: float
    whole_s: float
    scope: str
    at: datetime


StartTimes: TypeAlias = dict[tuple[int, datetime], float]
"""Start times of an active DAG's nodes on the monotonic clock, so that a jump of the wall clock
does not cause a time-out. The key is the stage (0 for the DAG) and the stored start instant."""


def find_limit(
    clock: Clock, begun_s: StartTimes, snapshot: Snapshot, stage: int, operation: Operation
) -> Deadline:
    """Return the deadline of an attempt of a stage that starts now."""
    dag, node, spec = snapshot.dag, snapshot.nodes[stage], operation.stages[stage - 1]
    limits = [_limit(clock, spec.timeout_s, spec.timeout_s, "attempt")]
    for whole_s, scope, number, start_at in (
        (spec.node_timeout_s, "node", stage, node.start_at),
        (operation.timeout_s, "DAG", 0, dag.start_at),
    ):
        if whole_s is not None:
            since_s = _begun(clock, begun_s, number, start_at)
            limits.append(_limit(clock, whole_s - (clock.monotonic_s() - since_s), whole_s, scope))
    return min(limits, key=lambda limit: limit.left_s)


def _begun(clock: Clock, begun_s: StartTimes, number: int, start_at: datetime) -> float:
    if (number, start_at) not in begun_s:
        # If an earlier process started it, only the wall clock time of the start is known.
        gone_s = max((clock.now() - start_at).total_seconds(), 0.0)
        begun_s[number, start_at] = clock.monotonic_s() - gone_s
    return begun_s[number, start_at]


def _limit(clock: Clock, left_s: float, whole_s: float, scope: str) -> Deadline:
    left_s = max(left_s, 0.0)
    return Deadline(left_s, whole_s, scope, clock.now() + timedelta(seconds=left_s))


def name_pause(outcome: Outcome, paused_s: float) -> Outcome:
    """Return the outcome of an attempt, with the pause of the process during or before it.

    Args:
        outcome: the outcome.
        paused_s: time in which the process did not run, in seconds.
    """
    if not paused_s or not isinstance(outcome, Failed | TimedOut | ResultUnknown):
        return outcome
    problem = outcome.problem
    message = messages.AFTER_PAUSE(problem=problem.message, paused_s=round(paused_s))
    return replace(outcome, problem=replace(problem, message=message))
