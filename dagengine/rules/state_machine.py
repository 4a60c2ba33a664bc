"""The table of state transitions. This file defines every permitted change of a state.

Each rule has a letter, which is used in docs/reference/state_machine.md; `make docs` generates that page
from this table. The state of a record changes only through the functions at the end of this
file. A transition that the table does not have raises IllegalTransition, which names entity,
state and event.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dagengine.errors import DagengineError
from dagengine.model.outcome import Json
from dagengine.model.records import DagRecord, NodeRecord, SubTaskRecord
from dagengine.model.states import Entity, Operator, State
from dagengine.rules import messages


class Event(StrEnum):
    """An event that changes the state of a DAG, node or sub-task."""

    START = "start"
    RESUME = "resume"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"
    UNDO = "undo"
    PASS = "pass"  # noqa: S105


class IllegalTransition(DagengineError):
    """Raised when the table has no such transition: a bug in the caller, not a user error."""

    def __init__(self, entity: Entity, state: State, operator: Operator, event: Event) -> None:
        super().__init__(
            messages.ILLEGAL_TRANSITION(entity=entity, state=state, operator=operator, event=event)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. If `to_operator` is None, the operator is kept."""

    letter: str
    entity: Entity
    states: tuple[State, ...]
    operators: tuple[Operator, ...]
    event: Event
    to_state: State | None  #: if None, the state is kept
    to_operator: Operator | None
    meaning: str


_D, _N, _S = Entity.DAG, Entity.NODE, Entity.SUB_TASK
_PENDING, _READY, _RUNNING = State.PENDING, State.READY, State.RUNNING
_FAILED, _SUCCEED = State.FAILED, State.SUCCEED
_RUN, _RETRY, _CANCEL, _PASS = Operator.RUN, Operator.RETRY, Operator.CANCEL, Operator.PASS
_BACK = Operator.ROLLBACK
ANY = tuple(Operator)

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("a", _D, (_READY,), (_RUN, _BACK), Event.START, _RUNNING, None, "its first stage begins; of a rollback, its last"),
    Rule("b", _D, (_RUNNING,), (_RUN, _BACK), Event.SUCCEED, _SUCCEED, None, "nothing is left to do and no node failed"),
    Rule("c", _D, (_RUNNING,), (_RUN, _BACK), Event.FAIL, _FAILED, None, "no part of it can continue and a node failed"),
    Rule("d", _D, (_READY, _RUNNING), (_RUN, _BACK), Event.CANCEL, None, _CANCEL, "a person cancelled it; its attempts are being ended"),
    Rule("e", _D, (_READY, _RUNNING), (_CANCEL,), Event.FAIL, _FAILED, None, "every attempt of the cancelled DAG has ended"),
    Rule("f", _D, (_RUNNING,), (_CANCEL,), Event.SUCCEED, _SUCCEED, _RUN, "the cancel came too late: its last stage had ended well"),
    Rule("g", _D, (_FAILED,), ANY, Event.RETRY, _READY, _RUN, "a person retried it, or passed a node of it"),
    Rule("h", _D, (_FAILED,), ANY, Event.UNDO, _READY, _BACK, "a person rolls it back"),
    Rule("i", _D, (_FAILED,), ANY, Event.PASS, _SUCCEED, _PASS, "a person called it done"),
    Rule("j", _N, (_PENDING,), (_RUN, _RETRY, _BACK), Event.START, _RUNNING, None, "its first sub-task begins"),
    Rule("k", _N, (_RUNNING,), (_RUN, _RETRY, _BACK), Event.SUCCEED, _SUCCEED, None, "every sub-task that could run ended well"),
    Rule("l", _N, (_RUNNING,), (_RUN, _RETRY, _BACK), Event.FAIL, _FAILED, None, "no sub-task can run any more and one failed"),
    Rule("m", _N, (_PENDING, _RUNNING), (_RUN, _RETRY, _BACK), Event.CANCEL, None, _CANCEL, "its DAG is being cancelled"),
    Rule("n", _N, (_PENDING, _RUNNING), (_CANCEL,), Event.FAIL, _FAILED, None, "its attempts have ended"),
    Rule("o", _N, (_RUNNING,), (_CANCEL,), Event.SUCCEED, _SUCCEED, _RUN, "the cancel came too late for it"),
    Rule("p", _N, (_PENDING, _FAILED, _SUCCEED), ANY, Event.RETRY, _PENDING, _RETRY, "a retry, or a passed node before it, enters it again"),
    Rule("q", _N, (_PENDING, _FAILED, _SUCCEED), ANY, Event.UNDO, _PENDING, _BACK, "a rollback will come to it"),
    Rule("r", _N, (_PENDING, _FAILED), ANY, Event.PASS, _SUCCEED, _PASS, "it, or its DAG, was passed"),
    Rule("s", _S, (_PENDING,), (_RUN,), Event.START, _RUNNING, None, "an attempt begins"),
    Rule("t", _S, (_PENDING, _FAILED, _SUCCEED), ANY, Event.UNDO, _RUNNING, _BACK, "an attempt to undo it begins"),
    Rule("u", _S, (_RUNNING,), (_RUN, _BACK), Event.RESUME, _RUNNING, None, "the engine had stopped; a new attempt continues"),
    Rule("v", _S, (_RUNNING,), (_RUN, _BACK), Event.SUCCEED, _SUCCEED, None, "its attempt succeeded"),
    Rule("w", _S, (_RUNNING,), (_RUN, _BACK), Event.FAIL, _FAILED, None, "its attempt ended in any other way"),
    Rule("x", _S, (_PENDING, _FAILED, _SUCCEED), ANY, Event.RETRY, _PENDING, _RUN, "a retry resets its lane or stage"),
    Rule("y", _S, (_PENDING, _FAILED), ANY, Event.PASS, _SUCCEED, _PASS, "its node or DAG was passed"),
)
# fmt: on

_TABLE = {
    (rule.entity, state, operator, rule.event): (
        rule.to_state or state,
        rule.to_operator or operator,
    )
    for rule in RULES
    for state in rule.states
    for operator in rule.operators
}


def next_state(
    entity: Entity, state: State, operator: Operator, event: Event
) -> tuple[State, Operator]:
    """Return the state and operator after an event.

    Raises:
        IllegalTransition: the table has no such transition.
    """
    try:
        return _TABLE[entity, state, operator, event]
    except KeyError:
        raise IllegalTransition(entity, state, operator, event) from None


def is_legal_pair(entity: Entity, state: State, operator: Operator) -> bool:
    """Return True for a (state, operator) pair that the table can reach (invariant I1)."""
    return (state, operator) in REACHABLE[entity]


INITIAL = {_D: (_READY, _RUN), _N: (_PENDING, _RUN), _S: (_PENDING, _RUN)}


def _reachable(entity: Entity) -> frozenset[tuple[State, Operator]]:
    pairs = {INITIAL[entity]}
    while True:
        more = {
            target
            for (kind, state, operator, _), target in _TABLE.items()
            if kind is entity and (state, operator) in pairs
        }
        if more <= pairs:
            return frozenset(pairs)
        pairs |= more


REACHABLE = {entity: _reachable(entity) for entity in Entity}


# --- transitions: the only functions that change a record's state --------------------------


def step_dag(dag: DagRecord, event: Event, now: datetime) -> DagRecord:
    """Return a DAG after an event.

    START, RETRY and UNDO set `start_at` and `end_at`, CANCEL sets neither, all others `end_at`.
    """
    state, operator = next_state(_D, dag.state, dag.operator, event)
    if event in (Event.START, Event.RETRY, Event.UNDO):
        return dag._replace(state=state, operator=operator, start_at=now, end_at=now)
    if event is Event.CANCEL:
        return dag._replace(state=state, operator=operator)
    return dag._replace(state=state, operator=operator, end_at=now)


def step_node(node: NodeRecord, event: Event, now: datetime) -> NodeRecord:
    """Return a node after an event; the instants are set as in `step_dag`."""
    state, operator = next_state(_N, node.state, node.operator, event)
    if event in (Event.START, Event.RETRY, Event.UNDO):
        return node._replace(state=state, operator=operator, start_at=now, end_at=now)
    if event is Event.CANCEL:
        return node._replace(state=state, operator=operator)
    return node._replace(state=state, operator=operator, end_at=now)


def begin_sub_task(sub_task: SubTaskRecord, event: Event, now: datetime) -> SubTaskRecord:
    """Return a sub-task at the start of an attempt; `event` is START, UNDO or RESUME."""
    state, operator = next_state(_S, sub_task.state, sub_task.operator, event)
    return sub_task._replace(
        state=state,
        operator=operator,
        attempt_no=sub_task.attempt_no + 1,
        execute_times=sub_task.execute_times + (event is not Event.RESUME),
        start_at=now,
        end_at=now,
    )


def end_sub_task(
    sub_task: SubTaskRecord,
    event: Event,
    now: datetime,
    *,
    data: Json | None = None,
    evidence: Json | None = None,
    summary: str = "",
) -> SubTaskRecord:
    """Return a sub-task at the end of an attempt; `event` is SUCCEED or FAIL."""
    state, operator = next_state(_S, sub_task.state, sub_task.operator, event)
    return sub_task._replace(
        state=state,
        operator=operator,
        end_at=now,
        data=data,
        evidence=evidence,
        summary=summary,
    )


def reset_sub_task(sub_task: SubTaskRecord, event: Event, now: datetime) -> SubTaskRecord:
    """Return a sub-task that a user retried or passed; `event` is RETRY or PASS."""
    state, operator = next_state(_S, sub_task.state, sub_task.operator, event)
    if event is Event.PASS:
        return sub_task._replace(state=state, operator=operator, end_at=now)
    return sub_task._replace(state=state, operator=operator, data=None, evidence=None, summary="")
