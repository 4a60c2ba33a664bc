"""The last task of each server, and why it failed there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagengine import DagDetail, Engine, Operator, State

_DAGS = 100  # of the newest ones that are considered
_FAILED_DAGS = 5  # whose failures are read
_FAILURES = 200  # of sub-tasks that are read


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest task that includes a server.

    Attributes:
        task_id: generic id of the task.
        name: name of its operation.
        state: state of the task.
        operator: the operator that was applied to it last.
        stage: the stage at which it failed on the server; empty if it did not.
        error: why it failed there.
    """

    task_id: str
    name: str
    state: State
    operator: Operator
    stage: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed sub-task: its stage and its error."""

    stage: str
    error: str


async def read_last_runs(engine: Engine) -> Mapping[str, LastRun]:
    """Return the last task of each server."""
    dags = await engine.search_dags(before=None, state=None, name=None, limit=_DAGS)
    newest = find_newest(dags)
    failures: dict[int, Mapping[str, Failure]] = {}
    for dag_id in list_failed(newest.values())[:_FAILED_DAGS]:
        failures[dag_id] = await _read_failures(engine, dag_id)
    return {
        target: _make_run(engine, detail, failures.get(detail.dag.dag_id, {}).get(target))
        for target, detail in newest.items()
    }


def find_newest(dags: Iterable[DagDetail]) -> Mapping[str, DagDetail]:
    """Return the first task of each target; `dags` are sorted, newest first."""
    newest: dict[str, DagDetail] = {}
    for detail in dags:
        for target in detail.dag.targets:
            newest.setdefault(target, detail)
    return newest


def list_failed(details: Iterable[DagDetail]) -> Sequence[int]:
    """Return the ids of the failed tasks, newest first, each once."""
    ids = {detail.dag.dag_id for detail in details if detail.dag.state is State.FAILED}
    return sorted(ids, reverse=True)


async def _read_failures(engine: Engine, dag_id: int) -> Mapping[str, Failure]:
    rows = await engine.find_rows(dag_id)
    if rows is None:
        return {}
    stages = {node.stage: node.name for node in rows.nodes}
    failures: dict[str, Failure] = {}
    failed = [task for task in rows.sub_tasks if task.target and task.state is State.FAILED]
    for task in failed[:_FAILURES]:
        attempts = await engine.find_attempts(task.sub_task_id)
        error = attempts[-1].error if attempts else None
        failures[task.target or ""] = Failure(stages[task.stage], error or "")
    return failures


def _make_run(engine: Engine, detail: DagDetail, failure: Failure | None) -> LastRun:
    dag = detail.dag
    task_id = engine.generic_id(dag.dag_id)
    if failure is None:
        return LastRun(task_id, dag.name, dag.state, dag.operator)
    return LastRun(task_id, dag.name, dag.state, dag.operator, failure.stage, failure.error)
