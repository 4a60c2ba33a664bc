"""Plans of requests with `?dryRun=true` (not part of OBShell's API)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from dagengine.api.binding import Flag
from dagengine.api.context import ApiContext
from dagengine.api.extension import Plan
from dagengine.api.schemas.tasks import HolderDto, PlanDto


class DryRun(BaseModel):
    """Query of the routes that support a dry run."""

    dryRun: Annotated[  # noqa: N815  # the wire's name
        Flag, Field(description="only say what would be done; nothing is changed")
    ] = False


async def render_plan(ctx: ApiContext, plan: Plan) -> PlanDto:
    """Render a plan, including the holder of the lock that it needs."""
    return {
        "dry_run": True,
        "name": plan.operation,
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


async def _render_lock(ctx: ApiContext, key: str | None) -> HolderDto | None:
    if key is None:
        return None
    holder = ctx.engine.holder(key)
    if holder is None or holder.dag_id is None:
        return {"key": key, "dag_id": None, "about": "free"}
    about = await ctx.engine.describe_holder(holder)
    return {"key": key, "dag_id": ctx.wire.id(holder.dag_id), "about": about}
