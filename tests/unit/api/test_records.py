"""Rendering of DAGs: the result is reused while the DAG is the same object."""

from __future__ import annotations

from dagengine.api.render.records import RecordRenderer
from dagengine.engine.registry import Registry
from dagengine.model.ids import AgentAddress
from dagengine.model.operation import Operation, Stage, Submission
from dagengine.model.outcome import Outcome, Succeeded
from dagengine.model.records import DagDetail, LogRecord, NodeDetail, SubTaskDetail
from dagengine.model.stage_kinds import StageKind
from dagengine.model.states import State
from dagengine.model.step import StepContext
from dagengine.store.contract import LastIds
from dagengine.testing import FakeClock

NOW = FakeClock().now()


async def do_nothing(context: StepContext) -> Outcome:
    return Succeeded()


OPERATION = Operation("op", (Stage("one", StageKind.NORMAL, do_nothing),))


def detail_of(state: State = State.READY, *, lines: int = 0) -> DagDetail:
    created = Registry([OPERATION]).instantiate(Submission("op"), LastIds(0, 0, 0), NOW)
    (node,), (task,) = created.nodes, created.sub_tasks
    logs = tuple(LogRecord(n, task.sub_task_id, 1, 1, f"line {n}", NOW) for n in range(lines))
    nodes = (NodeDetail(node, (SubTaskDetail(task, node.name, logs),)),)
    return DagDetail(created.dag._replace(state=state), nodes)


def test_record_renderer_caches_unchanged_dag() -> None:
    renderer = RecordRenderer(AgentAddress("10.0.0.9", 2886))
    before, after = detail_of(), detail_of(State.SUCCEED)
    rendered = renderer.dag(before)
    assert renderer.dag(before) is rendered
    assert renderer.dag(after)["state"] == "SUCCEED"
    assert renderer.dag(before) == rendered


def test_record_renderer_large_dag_is_not_cached() -> None:
    renderer = RecordRenderer(AgentAddress("10.0.0.9", 2886))
    large = detail_of(lines=2001)
    assert renderer.dag(large) is not renderer.dag(large)
    assert renderer.dag(large) == renderer.dag(large)
