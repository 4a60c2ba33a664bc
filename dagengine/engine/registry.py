"""The operations that an engine can run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from dagengine.engine import messages
from dagengine.errors import ConfigError, IllegalArgument, UnknownOperation
from dagengine.model.changes import DagCreated
from dagengine.model.json_values import normalize_json
from dagengine.model.operation import Operation, Stage, Submission
from dagengine.model.outcome import Problem
from dagengine.model.records import DagRecord, NodeRecord, SubTaskRecord
from dagengine.model.stage_kinds import StageKind
from dagengine.model.states import Operator, State
from dagengine.store.contract import LastIds


class Registry:
    """Operations by name; converts submissions into rows and rows back into steps.

    Raises:
        ConfigError: two operations have the same name, an operation has no stages or two stages
            of the same name, or a time-out is invalid.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._operations: dict[str, Operation] = {}
        for operation in operations:
            if operation.name in self._operations:
                raise ConfigError(messages.OPERATION_TWICE(operation=operation.name))
            _refuse_mistakes(operation)
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
            IllegalArgument: an operation with parallel stages was submitted without targets.
            NotSerializable: parameters or targets cannot be stored.
        """
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


_LONGEST_S = 100 * 365 * 86_400.0  # 100 years; the deadline must be a representable date


def _refuse_mistakes(operation: Operation) -> None:
    """Raise ConfigError when an operation is invalid."""
    subject = messages.OPERATION(operation=operation.name)
    if not operation.stages:
        raise ConfigError(messages.STAGES_MISSING(operation=subject))
    _refuse_no_time(subject, "timeout_s", operation.timeout_s)
    seen: set[str] = set()
    for stage in operation.stages:
        if stage.name in seen:
            raise ConfigError(messages.STAGE_TWICE(operation=subject, stage=stage.name))
        seen.add(stage.name)
        stage_subject = messages.STAGE(stage=stage.name, operation=subject)
        _refuse_no_time(stage_subject, "timeout_s", stage.timeout_s)
        _refuse_no_time(stage_subject, "node_timeout_s", stage.node_timeout_s)


def _refuse_no_time(subject: str, name: str, value: float | None) -> None:
    if value is not None and not 0 < value <= _LONGEST_S:  # False for NaN, which is rejected too
        raise ConfigError(
            messages.DURATION_INVALID(subject=subject, name=name, value=value),
            remedy=messages.GIVE_SECONDS(),
        )


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
