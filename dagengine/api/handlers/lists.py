"""Paged lists, and the locks with their holders (not part of OBShell's API)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from dagengine.api import messages
from dagengine.api.context import ApiContext
from dagengine.api.endpoint import BoundRequest
from dagengine.api.envelope import render_time
from dagengine.api.extension import NoBody
from dagengine.api.handlers.tasks import local_row_id
from dagengine.api.schemas.base import ID_CHARS, Contents, Page
from dagengine.api.schemas.tasks import AuditDto, DagDetailDto, LockDto, SummaryDto
from dagengine.errors import IllegalArgument
from dagengine.model.ids import decode_id
from dagengine.model.records import LockRecord
from dagengine.model.states import State

_DIGITS = 18
_NAME_CHARS = 200

DagState: TypeAlias = Literal["READY", "RUNNING", "FAILED", "SUCCEED"]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=1000, description="how many at most")]
Cursor: TypeAlias = Annotated[
    str, Field(max_length=ID_CHARS, description="`next_cursor` of the page before")
]


def _blank_is_none(text: str | None) -> str | None:
    return text or None


class DagSearch(BaseModel):
    """Query of a search for DAGs: filters and page."""

    state: Annotated[
        DagState | None,
        BeforeValidator(_blank_is_none),
        WithJsonSchema({"type": "string", "enum": ["", *get_args(DagState)]}),
    ] = None
    name: Annotated[
        str | None,
        Field(max_length=_NAME_CHARS),
        BeforeValidator(_blank_is_none),
        WithJsonSchema({"type": "string", "maxLength": _NAME_CHARS}),
    ] = None
    limit: Limit = 100
    cursor: Cursor = ""


class AuditPage(BaseModel):
    """Query of an audit list: page."""

    limit: Limit = 1000
    cursor: Cursor = ""


async def search_dags(
    ctx: ApiContext, bound: BoundRequest[NoBody, DagSearch]
) -> Page[DagDetailDto]:
    """DAGs without details, newest first, in pages.

    New DAGs do not change the content of the pages that follow.
    """
    query = bound.query
    dags = await ctx.engine.search_dags(
        before=decode_id(query.cursor).row_id if query.cursor else None,
        state=State(query.state) if query.state else None,
        name=query.name,
        limit=query.limit + 1,
    )
    page = [ctx.wire.dag(dag) for dag in dags[: query.limit]]
    return {"contents": page, "next_cursor": page[-1]["id"] if len(dags) > query.limit else None}


async def list_audit(ctx: ApiContext, bound: BoundRequest[NoBody, AuditPage]) -> Page[AuditDto]:
    """What was done to one DAG, newest first."""
    return await _audit(ctx, bound.query, local_row_id(ctx, bound))


async def list_all_audit(ctx: ApiContext, bound: BoundRequest[NoBody, AuditPage]) -> Page[AuditDto]:
    """What was done to all DAGs, newest first."""
    return await _audit(ctx, bound.query, None)


async def list_locks(ctx: ApiContext, bound: BoundRequest) -> Contents[LockDto]:
    """Every lock, who holds it, and what the holder waits for."""
    return {"contents": [await _render_lock(ctx, lock) for lock in ctx.engine.list_locks()]}


async def get_summary(ctx: ApiContext, bound: BoundRequest) -> SummaryDto:
    """The cluster in brief: its servers, its tasks and its lock."""
    engine, cluster = ctx.engine, ctx.cluster
    newest = await engine.list_dags(limit=1, details=False)
    counts = await engine.count_dags()
    return {
        "cluster_id": cluster.cluster_id,
        "servers": len(cluster.servers),
        "ob_state": cluster.ob_state,
        "dags": {state.value: number for state, number in counts.items()},
        "lock": "; ".join([await engine.describe_holder(each) for each in engine.holders()]),
        "last": ctx.wire.dag(newest[0]) if newest else None,
        "notices": list(cluster.find_notices()),
    }


async def _audit(ctx: ApiContext, query: AuditPage, dag_id: int | None) -> Page[AuditDto]:
    cursor = query.cursor
    if cursor and not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= _DIGITS):
        raise IllegalArgument(
            messages.PARAMETER_VALUE(name="cursor", value=cursor[:_DIGITS]),
            remedy=messages.SEND_NEXT_CURSOR(),
        )
    before = int(cursor) if cursor else None
    rows = await ctx.engine.list_audit(dag_id, limit=query.limit + 1, before=before)
    page = [ctx.wire.audit(row) for row in rows[: query.limit]]
    more = len(rows) > query.limit
    return {"contents": page, "next_cursor": str(page[-1]["id"]) if more else None}


async def _render_lock(ctx: ApiContext, lock: LockRecord) -> LockDto:
    is_held = lock.dag_id is not None
    return {
        "key": lock.key,
        "dag_id": None if lock.dag_id is None else ctx.wire.id(lock.dag_id),
        "name": lock.reason,
        "since": render_time(lock.since_at),
        "token": lock.token,
        "about": await ctx.engine.describe_holder(lock) if is_held else "free",
    }
