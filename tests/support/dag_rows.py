"""Records of a DAG with three stages on two servers, for tests of view models."""

from __future__ import annotations

from datetime import timedelta

from dagengine.model.records import AttemptRecord, DagRecord, NodeRecord, SubTaskRecord
from dagengine.model.stage_kinds import Flags, StageKind
from dagengine.model.states import Operator, State
from dagengine.store.contract import DagRows
from dagengine.testing import FakeClock
from dagengine.translation import Translator
from dagengine.web.messages_zh import TEMPLATES
from dagengine.web.texts import Texts

NOW = FakeClock().now()
ONE, TWO = "10.0.0.1:2886", "10.0.0.2:2886"
TRANSLATOR = Translator([{"zh": TEMPLATES}])
ENGLISH, CHINESE = Texts(TRANSLATOR), Texts(TRANSLATOR, "zh")
FLAGS = Flags(can_rollback=True)
_STAGES = (
    ("Lock", StageKind.NORMAL),
    ("Check", StageKind.PARALLEL),
    ("Start", StageKind.PARALLEL),
)


def second(number: float) -> timedelta:
    return timedelta(seconds=number)


def make_rows(
    state: State = State.FAILED,
    operator: Operator = Operator.RUN,
    *,
    states: str = "SSFSP",
    flags: Flags = FLAGS,
    targets: tuple[str, ...] = (ONE, TWO),
) -> DagRows:
    """Return the rows of a DAG that began 10 s ago.

    Args:
        state: state of the DAG.
        operator: operator of the DAG.
        states: initials of the states of the sub-tasks: Lock, then Check and Start of each target.
        flags: the operators that the stages permit.
        targets: the servers.
    """
    initials = {one.name[0]: one for one in State}
    start_at = NOW - second(10)
    end_at = NOW if state.is_final else start_at
    dag = DagRecord(
        *(7, "Start OB", 1, {"a": 1}, targets, 2, len(_STAGES), state, operator),
        *("cluster", 0, 0, None, start_at, start_at, end_at),
    )
    places = [(1, None), *((stage, target) for stage in (2, 3) for target in targets)]
    tasks = tuple(
        _make_task(number, stage, target, initials[initial])
        for number, ((stage, target), initial) in enumerate(zip(places, states, strict=True), 1)
    )
    nodes = tuple(
        NodeRecord(
            *(number, 7, number, name, kind, flags),
            *(_worst([t.state for t in tasks if t.stage == number]), Operator.RUN, NOW, NOW),
        )
        for number, (name, kind) in enumerate(_STAGES, 1)
    )
    return DagRows(dag, nodes, tasks)


def make_attempt(
    sub_task_id: int, number: int, outcome: str | None, begin: float, end: float, error: str = ""
) -> AttemptRecord:
    """Return an attempt that began and ended these numbers of seconds after the DAG."""
    start_at = NOW - second(10)
    return AttemptRecord(
        *(sub_task_id, number, outcome, error or None),
        *(start_at + second(begin), start_at + second(end)),
    )


def _make_task(number: int, stage: int, target: str | None, state: State) -> SubTaskRecord:
    attempts = 0 if state is State.PENDING else 1
    return SubTaskRecord(
        *(number, stage, 7, stage, target, state, Operator.RUN, attempts, attempts),
        *(NOW, NOW, None, None, ""),
    )


def _worst(states: list[State]) -> State:
    order = (State.FAILED, State.RUNNING, State.PENDING, State.SUCCEED)
    return min(states, key=order.index)
