"""Which operations can be run here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from dagengine.errors import ConfigError, UnknownOperation
from dagengine.model.outcome import Problem
from dagengine.model.records import DagRecord, NodeRecord, SubTaskRecord
from dagengine.model.spec import Operation, Stage, StageKind, Submission
from dagengine.model.states import Operator, State
from dagengine.model.transition import DagCreated
from dagengine.store.base import LastIds


class Registry:
    """Operations by name; turns submissions into rows and rows back into steps."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._operations: dict[str, Operation] = {}
        for operation in operations:
            if operation.name in self._operations or not operation.stages:
                raise ConfigError(f"operation '{operation.name}' is registered twice or is empty")
            self._operations[operation.name] = operation

    def find(self, name: str) -> Operation:
        """The operation of that name.

        Raises:
            UnknownOperation: there is none.
        """
        try:
            return self._operations[name]
        except KeyError:
            known = ", ".join(sorted(self._operations)) or "none"
            raise UnknownOperation(
                f"no operation '{name}' is registered here", remedy=f"known: {known}"
            ) from None

    def refuse(self, dag: DagRecord) -> Problem | None:
        """Why a stored DAG cannot be run here; None when it can."""
        operation = self._operations.get(dag.name)
        if operation is None:
            what = f"no operation '{dag.name}' is registered here"
        elif operation.version < dag.version or len(operation.stages) != dag.max_stage:
            what = (
                f"the DAG is of version {dag.version} of '{dag.name}' with {dag.max_stage} stages,"
                f" here is version {operation.version} with {len(operation.stages)}"
            )
        else:
            return None
        remedy = "run the version that submitted it, then RETRY; or PASS the DAG"
        return Problem(UnknownOperation.err_code, what, remedy)

    def instantiate(self, submission: Submission, ids: LastIds, now: datetime) -> DagCreated:
        """The rows of a new DAG; its ids follow `ids`."""
        operation = self.find(submission.operation)
        targets = tuple(dict.fromkeys(submission.targets))
        dag = DagRecord(
            dag_id=ids.dag_id + 1,
            name=operation.name,
            version=operation.version,
            params=dict(submission.params),
            targets=targets,
            stage=1,
            max_stage=len(operation.stages),
            state=State.READY,
            operator=Operator.RUN,
            lock_key=operation.lock_key,
            fence=0,
            held=0,
            heir=None,
            created_at=now,
            start_at=now,
            end_at=now,
        )
        nodes: list[NodeRecord] = []
        sub_tasks: list[SubTaskRecord] = []
        for number, stage in enumerate(operation.stages, start=1):
            node = _node(dag, ids.node_id + number, number, stage)
            nodes.append(node)
            lanes: tuple[str | None, ...] = targets if stage.kind is StageKind.PARALLEL else (None,)
            if not lanes:
                raise ConfigError(f"'{operation.name}' needs at least one target")
            for lane in lanes:
                sub_tasks.append(_sub_task(node, ids.sub_task_id + len(sub_tasks) + 1, lane))
        return DagCreated(dag, tuple(nodes), tuple(sub_tasks))


def _node(dag: DagRecord, node_id: int, number: int, stage: Stage) -> NodeRecord:
    return NodeRecord(
        node_id=node_id,
        dag_id=dag.dag_id,
        stage=number,
        name=stage.name,
        kind=stage.kind,
        flags=stage.flags,
        state=State.PENDING,
        operator=Operator.RUN,
        start_at=dag.created_at,
        end_at=dag.created_at,
    )


def _sub_task(node: NodeRecord, sub_task_id: int, target: str | None) -> SubTaskRecord:
    return SubTaskRecord(
        sub_task_id=sub_task_id,
        node_id=node.node_id,
        dag_id=node.dag_id,
        stage=node.stage,
        target=target,
        state=State.PENDING,
        operator=Operator.RUN,
        attempt_no=0,
        execute_times=0,
        start_at=node.start_at,
        end_at=node.start_at,
        data=None,
        evidence=None,
        summary="",
    )
