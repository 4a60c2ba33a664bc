"""The routes that read DAGs, nodes and sub-tasks and apply operators (protocol 3.4, 5.3)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from dagengine.api import messages
from dagengine.api.binding import ShowDetails
from dagengine.api.context import ApiContext
from dagengine.api.endpoint import BoundRequest
from dagengine.api.extension import B, Refusal
from dagengine.api.schemas.base import Contents
from dagengine.api.schemas.tasks import (
    AttemptDto,
    DagDetailDTO,
    LogDto,
    NodeDetailDTO,
    TaskDetailDTO,
)
from dagengine.errors import (
    Conflict,
    InvalidId,
    LockHeld,
    OperatorRefused,
    TaskNotFound,
    UnknownOperation,
)
from dagengine.model.ids import IdKind
from dagengine.model.states import Operator

_OPERATORS = (Operator.ROLLBACK, Operator.RETRY, Operator.CANCEL, Operator.PASS)
_NEWEST = 1000  # maximum number of DAGs in a list without pages

_DAG = "Task.Dag.Operator"
_NODE = "Task.Node.Operator"
_ANY_OPERATED = (InvalidId, TaskNotFound, LockHeld, Conflict, UnknownOperation)

DAG_REFUSALS: tuple[Refusal, ...] = (
    *_ANY_OPERATED,
    *(f"{_DAG}.{reason}" for reason in ("NotSupport", "CancelFinishedDag", "CancelNotAllowed")),
    *(f"{_DAG}.{reason}" for reason in ("RetryNotFailedDag", "RetryNotAllowed")),
    *(f"{_DAG}.{reason}" for reason in ("RollbackNotFailedDag", "RollbackNotAllowed")),
    *(f"{_DAG}.{reason}" for reason in ("PassNotFailedDag", "PassNotAllowed")),
)
NODE_REFUSALS: tuple[Refusal, ...] = (
    *_ANY_OPERATED,
    *(f"{_NODE}.{reason}" for reason in ("NotSupport", "PassNotFailedDag")),
    *(f"{_NODE}.{reason}" for reason in ("PassNotFailedNode", "PassNotAllowed")),
)


class Details(BaseModel):
    """Query of the routes that can omit details."""

    show_details: ShowDetails = True


class OperatorBody(BaseModel):
    """What to do to a DAG or a node."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"operator": "RETRY", "reason": "the disk was full"}]}
    )

    operator: str = Field(min_length=1, description="ROLLBACK, RETRY, CANCEL, PASS; any case")
    reason: str = Field(default="", description="for the audit; not part of OBShell's API")
    id: str | None = Field(default=None, description="when given, it must be the DAG's")


async def get_dag(ctx: ApiContext, bound: BoundRequest) -> DagDetailDTO:
    """A DAG."""
    row_id = local_row_id(ctx, bound)
    dag = await ctx.engine.find_dag(row_id, details=bound.query.show_details)
    if dag is None:
        raise TaskNotFound(messages.DAG_NOT_FOUND(dag_id=bound.id_text))
    if ctx.wire.id(row_id) != bound.id_text:
        raise TaskNotFound(messages.DAG_ID_MISMATCH())
    return ctx.wire.dag(dag)


async def operate_dag(ctx: ApiContext, bound: BoundRequest[OperatorBody]) -> None:
    """Roll a DAG back, retry, cancel or pass it."""
    body = bound.body
    row_id = local_row_id(ctx, bound)
    if await ctx.engine.find_dag(row_id, details=False) is None:
        raise TaskNotFound(messages.DAG_NOT_FOUND(dag_id=bound.id_text))
    if ctx.wire.id(row_id) != (body.id or bound.id_text):
        raise TaskNotFound(messages.DAG_ID_MISMATCH())
    if body.operator.upper() not in _OPERATORS:
        raise OperatorRefused(
            "Task.Dag.Operator.NotSupport",
            messages.OPERATOR_UNKNOWN(operator=body.operator),
            remedy=messages.SEND_DAG_OPERATOR(),
        )
    operator = Operator(body.operator.upper())
    if operator in (Operator.RETRY, Operator.ROLLBACK):
        ctx.before_retry()
    await ctx.engine.operate_dag(row_id, operator, by=bound.caller, reason=body.reason)


async def get_node(ctx: ApiContext, bound: BoundRequest) -> NodeDetailDTO:
    """One stage of a DAG."""
    node = await ctx.engine.find_node(local_row_id(ctx, bound), details=bound.query.show_details)
    if node is None:
        raise TaskNotFound(messages.NODE_NOT_FOUND(node_id=bound.id_text))
    return ctx.wire.node(node)


async def operate_node(ctx: ApiContext, bound: BoundRequest[OperatorBody]) -> None:
    """Pass a failed node: its DAG continues after it."""
    body = bound.body
    row_id = local_row_id(ctx, bound)
    if await ctx.engine.find_node(row_id, details=False) is None:
        raise TaskNotFound(messages.NODE_NOT_FOUND(node_id=bound.id_text))
    if body.operator.upper() != Operator.PASS:
        raise OperatorRefused(
            "Task.Node.Operator.NotSupport",
            messages.OPERATOR_UNKNOWN(operator=body.operator),
            remedy=messages.SEND_PASS(),
        )
    ctx.before_retry()
    await ctx.engine.pass_node(row_id, by=bound.caller, reason=body.reason)


async def get_sub_task(ctx: ApiContext, bound: BoundRequest) -> TaskDetailDTO:
    """A sub-task: one server of a node, or the whole cluster."""
    sub_task = await ctx.engine.find_sub_task(local_row_id(ctx, bound))
    if sub_task is None:
        raise TaskNotFound(messages.SUB_TASK_NOT_FOUND(sub_task_id=bound.id_text))
    return ctx.wire.sub_task(sub_task)


async def list_logs(ctx: ApiContext, bound: BoundRequest) -> Contents[LogDto]:
    """A sub-task's log lines of all attempts, oldest first."""
    lines = await ctx.engine.find_logs(local_row_id(ctx, bound))
    return {"contents": [ctx.wire.log(line) for line in lines]}


async def list_attempts(ctx: ApiContext, bound: BoundRequest) -> Contents[AttemptDto]:
    """A sub-task's attempts, oldest first."""
    row_id = local_row_id(ctx, bound)
    lines = await ctx.engine.find_logs(row_id)
    attempts = await ctx.engine.find_attempts(row_id)
    return {"contents": [ctx.wire.attempt(attempt, lines) for attempt in attempts]}


async def list_unfinished(ctx: ApiContext, bound: BoundRequest) -> Contents[DagDetailDTO]:
    """Every READY or RUNNING DAG, newest first."""
    dags = await ctx.engine.list_unfinished(details=bound.query.show_details)
    return {"contents": [ctx.wire.dag(dag) for dag in dags]}


async def list_dags(ctx: ApiContext, bound: BoundRequest) -> Contents[DagDetailDTO]:
    """The newest DAGs, newest first."""
    dags = await ctx.engine.list_dags(limit=_NEWEST, details=bound.query.show_details)
    return {"contents": [ctx.wire.dag(dag) for dag in dags]}


async def get_holder(ctx: ApiContext, bound: BoundRequest) -> DagDetailDTO:
    """The DAG that holds the cluster locked."""
    holders = await _list_holders(ctx, bound)
    if not holders:
        subject = "Agent" if bound.request.path.endswith("/agent") else "Cluster"
        raise TaskNotFound(messages.NOT_UNDER_MAINTENANCE(subject=subject))
    return holders[0]


async def list_holders(ctx: ApiContext, bound: BoundRequest) -> Contents[DagDetailDTO]:
    """The DAG that holds the cluster locked, as a list; empty when it is free."""
    return {"contents": await _list_holders(ctx, bound)}


async def list_main_dags(ctx: ApiContext, bound: BoundRequest) -> Contents[DagDetailDTO]:
    """Main DAGs of unfinished sub-DAGs: always empty, because sub-DAGs do not exist."""
    return {"contents": []}


async def _list_holders(ctx: ApiContext, bound: BoundRequest) -> list[DagDetailDTO]:
    details = bound.query.show_details
    ids = [holder.dag_id for holder in ctx.engine.holders() if holder.dag_id is not None]
    dags = [await ctx.engine.find_dag(dag_id, details=details) for dag_id in ids]
    return [ctx.wire.dag(dag) for dag in dags if dag is not None]


def local_row_id(ctx: ApiContext, bound: BoundRequest[B]) -> int:
    """Return the row id of a generic id.

    Raises:
        TaskNotFound: the id belongs to another agent; it is never fetched from there.
    """
    generic_id = bound.generic_id
    assert generic_id is not None
    if generic_id.kind is not IdKind.LOCAL or generic_id.agent != ctx.engine.agent:
        raise TaskNotFound(messages.FOREIGN_ID(task_id=bound.id_text, agent=ctx.engine.agent))
    return generic_id.row_id
