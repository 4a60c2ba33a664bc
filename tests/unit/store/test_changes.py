"""The values that changes pass to the statements of every store."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine.engine.registry import Registry
from dagengine.model.changes import DagChanged, NodeChanged, SubTaskChanged
from dagengine.model.operation import Operation, Stage, Submission
from dagengine.model.outcome import Outcome, Succeeded
from dagengine.model.stage_kinds import StageKind
from dagengine.model.step import StepContext
from dagengine.store.changes import (
    GUARDED,
    render_dag_row,
    render_node_row,
    render_sub_task_row,
)
from dagengine.store.contract import LastIds
from dagengine.testing import FakeClock


async def do_nothing(context: StepContext) -> Outcome:
    return Succeeded()


CREATED = Registry([Operation("op", (Stage("only", StageKind.NORMAL, do_nothing),))]).instantiate(
    Submission("op"), LastIds(0, 0, 0), FakeClock().now()
)
(NODE,), (SUB_TASK,) = CREATED.nodes, CREATED.sub_tasks
RENDERED = {
    "dag": render_dag_row(CREATED.dag),
    "node": render_node_row(NODE),
    "sub_task": render_sub_task_row(SUB_TASK),
    **{
        type(change).__name__: GUARDED[type(change)].render(change)
        for change in (
            DagChanged(CREATED.dag, CREATED.dag),
            NodeChanged(NODE, NODE),
            SubTaskChanged(SUB_TASK, SUB_TASK),
        )
    },
}


@pytest.mark.parametrize("name", RENDERED)
def test_rendered_values_are_of_plain_types(name: str) -> None:
    # For each value of a subclass, such as a member of a StrEnum, sqlite3 searches an adapter.
    values: tuple[Any, ...] = RENDERED[name]
    assert {type(value) for value in values} <= {int, str, type(None)}
