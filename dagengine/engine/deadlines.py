"""How long an attempt may take: its own time, its node's and its DAG's, whichever ends first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from dagengine.model.operation import Operation
from dagengine.rules.snapshot import Snapshot
from dagengine.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Deadline:
    """A bound on an attempt.

    Attributes:
        left_s: seconds that are left, at least 0.
        whole_s: seconds that there were.
        whose: `attempt`, `node` or `DAG`.
        at: when it ends, by the wall clock; for people.
    """

    left_s: float
    whole_s: float
    whose: str
    at: datetime


StartTimes: TypeAlias = dict[tuple[int, datetime], float]
"""When the nodes (and, as 0, the DAG) of a live DAG began, on the monotonic clock, by their stage
and the instant that is stored: so that a jump of the wall clock ends nothing."""


def find_limit(
    clock: Clock, begun_s: StartTimes, snapshot: Snapshot, stage: int, operation: Operation
) -> Deadline:
    """The bound on an attempt of that stage that begins now."""
    dag, node, spec = snapshot.dag, snapshot.nodes[stage], operation.stages[stage - 1]
    limits = [_limit(clock, spec.timeout_s, spec.timeout_s, "attempt")]
    for whole_s, whose, number, start_at in (
        (spec.node_timeout_s, "node", stage, node.start_at),
        (operation.timeout_s, "DAG", 0, dag.start_at),
    ):
        if whole_s is not None:
            since_s = _begun(clock, begun_s, number, start_at)
            limits.append(_limit(clock, whole_s - (clock.monotonic_s() - since_s), whole_s, whose))
    return min(limits, key=lambda limit: limit.left_s)


def _begun(clock: Clock, begun_s: StartTimes, number: int, start_at: datetime) -> float:
    if (number, start_at) not in begun_s:
        # What an earlier process began has only its wall clock to go by.
        gone_s = max((clock.now() - start_at).total_seconds(), 0.0)
        begun_s[number, start_at] = clock.monotonic_s() - gone_s
    return begun_s[number, start_at]


def _limit(clock: Clock, left_s: float, whole_s: float, whose: str) -> Deadline:
    left_s = max(left_s, 0.0)
    return Deadline(left_s, whole_s, whose, clock.now() + timedelta(seconds=left_s))
