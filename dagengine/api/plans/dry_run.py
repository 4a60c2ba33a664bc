"""Plans of requests with `?dryRun=true` (not part of OBShell's API)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from dagengine.api.binding import Flag, bind_query
from dagengine.api.context import ApiContext
from dagengine.api.plans.calls import CurrentPlan
from dagengine.api.schemas.tasks import HolderDto, PlanDto
from dagengine.errors import IllegalArgument


class DryRun(BaseModel):
    """Query of the routes that support a dry run."""

    dryRun: Annotated[  # noqa: N815  # the wire's name
        Flag, Field(description="only say what would be done; nothing is changed")
    ] = False


def is_dry_run(query: Mapping[str, str]) -> bool:
    """Return True if a query requests the plan; False if the value is invalid."""
    try:
        return bind_query(query, DryRun).dryRun
    except IllegalArgument:
        return False


async def render_plan(ctx: ApiContext, current: CurrentPlan) -> PlanDto:
    """Render a plan, including the holder of the lock that it needs."""
    plan = current.plan
    rendered: PlanDto = {
        "dry_run": True,
        "digest": str(current.digest),
        "name": plan.submission.operation,
        "notices": list(plan.notices),
        "lock": await _render_lock(ctx, plan.lock_key),
        "servers": [
            {
                "server": server.name,
                "verdict": server.verdict,
                "reason": server.reason,
                "checks": [dict(check) for check in server.checks],
                "commands": list(server.commands),
            }
            for server in plan.servers
        ],
    }
    if current.changes:
        rendered["changed"] = list(current.changes)
    return rendered


async def _render_lock(ctx: ApiContext, key: str | None) -> HolderDto | None:
    if key is None:
        return None
    holder = ctx.engine.holder(key)
    if holder is None or holder.dag_id is None:
        return {"key": key, "dag_id": None, "about": "free"}
    about = await ctx.engine.describe_holder(holder)
    return {"key": key, "dag_id": ctx.wire.id(holder.dag_id), "about": about}
