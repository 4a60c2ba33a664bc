"""The operations that an engine can run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from dagengine.engine import messages
from dagengine.errors import IllegalArgument, UnknownOperation
from dagengine.model import messages as model_messages
from dagengine.model.changes import DagCreated
from dagengine.model.declarations import (
    check_duration,
    check_methods,
    check_operations,
    check_submission,
    check_type,
)
from dagengine.model.ids import AgentAddress
from dagengine.model.json_values import normalize_json
from dagengine.model.operation import Operation, Stage, Submission
from dagengine.model.outcome import Problem
from dagengine.model.records import DagRecord, NodeRecord, SubTaskRecord
from dagengine.model.stage_kinds import StageKind
from dagengine.model.states import Operator, State
from dagengine.runtime.clock import Clock
from dagengine.store.contract import LastIds, Retention


class Registry:
    """Operations by name; converts submissions into rows and rows back into steps.

    Raises:
        ConfigError: a declaration is invalid, or two operations have the same name.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._operations: dict[str, Operation] = {}
        for operation in check_operations(operations):
            self._operations[operation.name] = operation

    def find(self, name: str) -> Operation:
        """Return the operation of a name.

        Raises:
            UnknownOperation: the operation is not registered.
        """
        try:
            return self._operations[name]
        except KeyError:
            known_names = ", ".join(sorted(self._operations)) or "none"
            raise UnknownOperation(
                messages.OPERATION_UNKNOWN(operation=name),
                remedy=messages.USE_KNOWN_OPERATION(known=known_names),
            ) from None

    def refuse(self, dag: DagRecord) -> Problem | None:
        """Return the reason why a stored DAG cannot run in this engine; None when it can."""
        operation = self._operations.get(dag.name)
        if operation is None:
            message = messages.OPERATION_UNKNOWN(operation=dag.name)
        elif operation.version < dag.version or len(operation.stages) != dag.max_stage:
            message = messages.VERSION_UNKNOWN(
                version=dag.version,
                operation=dag.name,
                stages=dag.max_stage,
                own_version=operation.version,
                own_stages=len(operation.stages),
            )
        else:
            return None
        remedy = messages.RUN_SUBMITTING_VERSION()
        return Problem(UnknownOperation.err_code, message, remedy)

    def instantiate(self, submission: Submission, ids: LastIds, now: datetime) -> DagCreated:
        """Return the rows of a new DAG; its ids follow `ids`.

        Raises:
            UnknownOperation: the operation is not registered.
            IllegalArgument: an operation with parallel stages was submitted without targets, or
                the submission has values of wrong types.
            NotSerializable: parameters or targets cannot be stored.
        """
        check_submission(submission)
        operation = self.find(submission.operation)
        targets = unique_targets(submission.targets)
        # Normalized as after a restart, and independent of later changes to the caller's dict.
        stored = normalize_json({"params": dict(submission.params), "targets": targets})
        dag = DagRecord(
            dag_id=ids.dag_id + 1,
            name=operation.name,
            version=operation.version,
            params=stored["params"],
            targets=targets,
            stage=1,
            max_stage=len(operation.stages),
            state=State.READY,
            operator=Operator.RUN,
            lock_key=operation.lock_key,
            lock_token=0,
            last_lock_token=0,
            lock_successor_id=None,
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
                raise IllegalArgument(
                    messages.TARGETS_MISSING(operation=operation.name),
                    remedy=messages.NAME_TARGETS(stage=stage.name),
                )
            for lane in lanes:
                sub_tasks.append(_sub_task(node, ids.sub_task_id + len(sub_tasks) + 1, lane))
        return DagCreated(dag, tuple(nodes), tuple(sub_tasks))


def unique_targets(targets: Iterable[str]) -> tuple[str, ...]:
    """Return the targets without duplicates, in the given order."""
    return tuple(dict.fromkeys(targets))


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


def check_arguments(
    store: object, advertise: object, clock: object, confirm_timeout_s: float, retention: object
) -> None:
    """Check the arguments of an engine.

    Raises:
        ConfigError: an argument has another type, or lacks a method.
    """
    check_methods("store", store, ("open", "close", "commit"), messages.GIVE_STORE())
    give_clock = model_messages.GIVE_OBJECT(type=Clock.__name__)
    check_methods("clock", clock, ("now", "monotonic_s"), give_clock)
    check_type("advertise", advertise, AgentAddress)
    check_type("retention", retention, Retention)
    check_duration(model_messages.ENGINE(), "confirm_timeout_s", confirm_timeout_s)
