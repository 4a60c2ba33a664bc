"""One sentence about a DAG: how far it is, or how it ended and why. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from dagengine.model.records import AttemptRecord, SubTaskRecord
from dagengine.model.states import Operator, State
from dagengine.store.contract import DagRows
from dagengine.web import messages
from dagengine.web.texts import Texts
from dagengine.web.times import render_duration

_NAMED_FAILURES = 3
_PREFIX = re.compile(r"^ERROR: (?:\[[^\]]*\]: )?")


def describe_dag(
    rows: DagRows, attempts: Sequence[AttemptRecord], now: datetime, texts: Texts
) -> str:
    """Return one sentence about a DAG."""
    dag = rows.dag
    parts = [_describe_state(rows, now, texts)]
    if dag.targets:
        done = count_done(rows)
        parts.append(texts(messages.SERVERS_DONE(done=done, total=len(dag.targets))))
    if dag.state is not State.SUCCEED:
        parts += _describe_failures(rows, attempts, texts)
    return "; ".join(parts)


def count_done(rows: DagRows) -> int:
    """Return the number of targets whose sub-tasks have all succeeded."""
    tasks = [task for task in rows.sub_tasks if task.target is not None]
    unfinished = {task.target for task in tasks if task.state is not State.SUCCEED}
    return len({task.target for task in tasks} - unfinished)


def _describe_state(rows: DagRows, now: datetime, texts: Texts) -> str:
    dag = rows.dag
    if dag.state.is_final:
        took = render_duration(dag.end_at - dag.start_at, texts)
        return texts(_ENDS[(dag.state, dag.operator)](duration=took))
    node = next(node for node in rows.nodes if node.stage == dag.stage)
    message = {
        Operator.CANCEL: messages.DAG_CANCELLING,
        Operator.ROLLBACK: messages.DAG_ROLLING_BACK,
    }.get(dag.operator, messages.DAG_RUNNING)
    duration = render_duration(now - dag.start_at, texts)
    stage = texts(node.name)
    return texts(
        message(duration=duration, stage=dag.stage, stages=dag.max_stage, stage_name=stage)
    )


_ENDS = {
    (State.SUCCEED, Operator.RUN): messages.DAG_SUCCEEDED,
    (State.SUCCEED, Operator.ROLLBACK): messages.DAG_ROLLED_BACK,
    (State.SUCCEED, Operator.PASS): messages.DAG_PASSED,
    (State.FAILED, Operator.RUN): messages.DAG_FAILED,
    (State.FAILED, Operator.CANCEL): messages.DAG_CANCELLED,
    (State.FAILED, Operator.ROLLBACK): messages.DAG_ROLLBACK_FAILED,
}


def _describe_failures(rows: DagRows, attempts: Sequence[AttemptRecord], texts: Texts) -> list[str]:
    last = {attempt.sub_task_id: attempt for attempt in attempts}
    names = {node.stage: texts(node.name) for node in rows.nodes}
    failed = [
        task
        for task in rows.sub_tasks
        if task.state is State.FAILED and task.operator is not Operator.CANCEL
    ]
    parts = [_describe_failure(task, last, names, texts) for task in failed[:_NAMED_FAILURES]]
    more = len(failed) - _NAMED_FAILURES
    return [*parts, texts(messages.MORE_FAILED(count=more))] if more > 0 else parts


def _describe_failure(
    task: SubTaskRecord,
    last: Mapping[int, AttemptRecord],
    names: Mapping[int, str],
    texts: Texts,
) -> str:
    attempt = last.get(task.sub_task_id)
    reason = (attempt.error if attempt else "") or texts(messages.REASON_UNKNOWN())
    server = task.target or texts(messages.WHOLE_CLUSTER())
    cause = strip_prefix(reason, server)
    return texts(messages.FAILED_AT(server=server, stage=names[task.stage], reason=cause))


def strip_prefix(error: str, server: str) -> str:
    """Return an attempt's error without `ERROR: [code]: ` and the server's name in front."""
    return _PREFIX.sub("", error).removeprefix(f"{server}: ")
