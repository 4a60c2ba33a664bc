"""The routes that read DAGs, nodes and sub-tasks and apply operators (protocol 3.4, 5.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from dagengine.api import messages
from dagengine.api.binding import ShowDetails
from dagengine.api.context import ApiContext
from dagengine.api.endpoint import BoundRequest
from dagengine.api.extension import B, NoBody, Q, Refusal
from dagengine.api.schemas.base import ID_CHARS, Contents
from dagengine.api.schemas.tasks import (
    AttemptDto,
    DagDetailDto,
    LogDto,
    NodeDetailDto,
    TaskDetailDto,
)
from dagengine.error_codes import Code
from dagengine.errors import (
    Conflict,
    InvalidId,
    LockHeld,
    OperatorRefused,
    TaskNotFound,
    UnknownOperation,
)
from dagengine.model.ids import IdKind
from dagengine.model.records import DagDetail
from dagengine.model.states import Operator

_OPERATORS = (Operator.ROLLBACK, Operator.RETRY, Operator.CANCEL, Operator.PASS)
_NEWEST = 1000  # maximum number of DAGs in a list without pages
_RENDERED_AT_ONCE = 50

_ANY_OPERATED = (InvalidId, TaskNotFound, LockHeld, Conflict, UnknownOperation)

DAG_REFUSALS: tuple[Refusal, ...] = (
    *_ANY_OPERATED,
    *(code for code in Code if code.startswith("Task.Dag.Operator.")),
)
NODE_REFUSALS: tuple[Refusal, ...] = (
    *_ANY_OPERATED,
    *(code for code in Code if code.startswith("Task.Node.Operator.")),
)


class Details(BaseModel):
    """Query of the routes that can omit details."""

    show_details: ShowDetails = True


class OperatorBody(BaseModel):
    """What to do to a DAG or a node."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"operator": "RETRY", "reason": "the disk was full"}]}
    )

    operator: str = Field(
        min_length=1, max_length=100, description="ROLLBACK, RETRY, CANCEL, PASS; any case"
    )
    reason: str = Field(
        default="", max_length=4000, description="for the audit; not part of OBShell's API"
    )
    id: str | None = Field(
        default=None, max_length=ID_CHARS, description="when given, it must be the DAG's"
    )


async def get_dag(ctx: ApiContext, bound: BoundRequest[NoBody, Details]) -> DagDetailDto:
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
            Code.DAG_NOT_SUPPORT,
            messages.OPERATOR_UNKNOWN(operator=body.operator),
            remedy=messages.SEND_DAG_OPERATOR(),
        )
    operator = Operator(body.operator.upper())
    if operator in (Operator.RETRY, Operator.ROLLBACK):
        ctx.before_retry()
    await ctx.engine.operate_dag(row_id, operator, by=str(bound.caller), reason=body.reason)


async def get_node(ctx: ApiContext, bound: BoundRequest[NoBody, Details]) -> NodeDetailDto:
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
            Code.NODE_NOT_SUPPORT,
            messages.OPERATOR_UNKNOWN(operator=body.operator),
            remedy=messages.SEND_PASS(),
        )
    ctx.before_retry()
    await ctx.engine.pass_node(row_id, by=str(bound.caller), reason=body.reason)


async def get_sub_task(ctx: ApiContext, bound: BoundRequest) -> TaskDetailDto:
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


async def list_unfinished(
    ctx: ApiContext, bound: BoundRequest[NoBody, Details]
) -> Contents[DagDetailDto]:
    """Every READY or RUNNING DAG, newest first."""
    dags = await ctx.engine.list_unfinished(details=bound.query.show_details)
    return {"contents": await _render_dags(ctx, dags)}


async def list_dags(
    ctx: ApiContext, bound: BoundRequest[NoBody, Details]
) -> Contents[DagDetailDto]:
    """The newest DAGs, newest first."""
    dags = await ctx.engine.list_dags(limit=_NEWEST, details=bound.query.show_details)
    return {"contents": await _render_dags(ctx, dags)}


async def get_holder(ctx: ApiContext, bound: BoundRequest[NoBody, Details]) -> DagDetailDto:
    """The DAG that holds the cluster locked."""
    holders = await _list_holders(ctx, bound)
    if not holders:
        of_agent = bound.request.path.endswith("/agent")
        raise TaskNotFound(messages.AGENT_FREE() if of_agent else messages.CLUSTER_FREE())
    return holders[0]


async def list_holders_as_main_dags(
    ctx: ApiContext, bound: BoundRequest[NoBody, Details]
) -> Contents[DagDetailDto]:
    """The DAG that holds the cluster locked, as a list; empty when it is free.

    A DAG is its own main DAG: the official command line reads `additional_data.main_dag_id`.
    """
    holders = await _list_holders(ctx, bound)
    return {"contents": [_with_main_dag_id(dag) for dag in holders]}


async def list_no_dags(
    ctx: ApiContext, bound: BoundRequest[NoBody, Details]
) -> Contents[DagDetailDto]:
    """DAGs kept in the cluster's database: none, so that no client shows a DAG twice."""
    return {"contents": []}


async def _render_dags(ctx: ApiContext, dags: Sequence[DagDetail]) -> list[DagDetailDto]:
    """Render DAGs; other requests are served between two pages of a long list."""
    rendered: list[DagDetailDto] = []
    for first in range(0, len(dags), _RENDERED_AT_ONCE):
        rendered += [ctx.wire.dag(dag) for dag in dags[first : first + _RENDERED_AT_ONCE]]
        await asyncio.sleep(0)
    return rendered


async def _list_holders(
    ctx: ApiContext, bound: BoundRequest[NoBody, Details]
) -> list[DagDetailDto]:
    details = bound.query.show_details
    ids = [holder.dag_id for holder in ctx.engine.holders() if holder.dag_id is not None]
    dags = [await ctx.engine.find_dag(dag_id, details=details) for dag_id in ids]
    # A DAG may have ended, and released its lock, since its id was read.
    return [ctx.wire.dag(dag) for dag in dags if dag is not None and not dag.dag.state.is_final]


def _with_main_dag_id(dag: DagDetailDto) -> DagDetailDto:
    data = {**(dag["additional_data"] or {}), "main_dag_id": dag["id"]}
    return {**dag, "additional_data": data}


def local_row_id(ctx: ApiContext, bound: BoundRequest[B, Q]) -> int:
    """Return the row id of a generic id.

    Raises:
        TaskNotFound: the id belongs to another agent; it is never fetched from there.
    """
    generic_id = bound.generic_id
    assert generic_id is not None
    if generic_id.kind is not IdKind.LOCAL or generic_id.agent != ctx.engine.agent:
        raise TaskNotFound(messages.FOREIGN_ID(task_id=bound.id_text, agent=ctx.engine.agent))
    return generic_id.row_id
