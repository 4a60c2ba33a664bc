"""The routes about the controller's identity and state, without a login (protocol 2.1)."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field

from dagengine.api.context import ApiContext
from dagengine.api.endpoint import BoundRequest
from dagengine.api.envelope import render_time
from dagengine.api.extension import NoBody, ObservedState, ServerState
from dagengine.api.schemas.controller import BuildDto, Identity, InfoDto, SecretDto, StatusDto
from dagengine.model.ids import AgentAddress

IDENTITY: Identity = "CLUSTER AGENT"
_RUNNING = 2  # state of an agent; 1 is starting, 3 stopping, 4 stopped


class ObQuery(BaseModel):
    """Query of the routes that return the state of servers."""

    ob_query_timeout: str = Field(
        default="",
        max_length=1000,
        description="microseconds; taken, and not used: see docs/reference/compatibility.md",
    )


async def get_time(ctx: ApiContext, bound: BoundRequest) -> str:
    """The controller's clock."""
    return render_time(ctx.clock.now())


async def get_build(ctx: ApiContext, bound: BoundRequest) -> BuildDto:
    """Which build this is."""
    return {"branch": "", "commitId": "", "shortCommitId": "", "commitTime": ""}


async def get_secret(ctx: ApiContext, bound: BoundRequest) -> SecretDto:
    """The key that headers are encrypted for."""
    return render_secret(ctx.engine.agent, ctx.public_key)


def render_secret(agent: AgentAddress, public_key: str) -> SecretDto:
    """Return the response of `GET /secret`."""
    return {"ip": agent.ip, "port": agent.port, "public_key": public_key}


async def get_info(ctx: ApiContext, bound: BoundRequest) -> InfoDto:
    """Who the controller is, and how to sign in."""
    agent = ctx.engine.agent
    here, state = _server_here(ctx), ctx.cluster.state_at(str(agent))
    info: InfoDto = {
        "pid": ctx.pid,
        "state": _RUNNING,
        "startAt": _started_ns(ctx),
        "homePath": here.home if here else "",
        "obVersion": ctx.cluster.version,
        "architecture": ctx.machine,
        "ip": agent.ip,
        "port": agent.port,
        "zone": here.zone if here else "",
        "identity": IDENTITY,
        "version": ctx.version,
        "isObproxyAgent": False,
        "security": ctx.has_agent_password(),
        "supportedAuth": ["v2"],
        "obState": state.ob_state,
    }
    if not state.is_known:
        info["obStateUnknown"] = True
    if observation := _observation(ctx, state):
        info["observedAt"], info["observedAgeMs"] = observation
    return info


async def get_status(ctx: ApiContext, bound: BoundRequest[NoBody, ObQuery]) -> StatusDto:
    """The controller's state, and that of the server at its address, or of the cluster.

    `ob_query_timeout` is accepted and ignored, because the handler does not query a database.
    """
    agent = ctx.engine.agent
    state = ctx.cluster.state_at(str(agent))
    status: StatusDto = {
        "agent": {"ip": agent.ip, "port": agent.port, "identity": IDENTITY},
        "state": _RUNNING,
        "version": ctx.version,
        "pid": ctx.pid,
        "startAt": _started_ns(ctx),
        "port": agent.port,
        "obState": state.ob_state,
        "underMaintenance": bool(ctx.engine.holders()),
    }
    if not state.is_known:
        status["obStateUnknown"] = True
    if here := _server_here(ctx):
        status["sqlPort"] = here.sql_port
    if observation := _observation(ctx, state):
        status["observedAt"], status["observedAgeMs"] = observation
    return status


def _started_ns(ctx: ApiContext) -> int:
    return int(ctx.engine.started_at.timestamp() * 1_000_000) * 1000


def _server_here(ctx: ApiContext) -> ServerState | None:
    """Return the server with the controller's own address; None if there is none."""
    here = str(ctx.engine.agent)
    for server in ctx.cluster.servers:
        if server.name == here:
            return server
    return None


def _observation(ctx: ApiContext, state: ObservedState) -> tuple[str, int] | None:
    """Return the time of the observation of a state, and its age in milliseconds."""
    if state.observed_at is None:
        return None
    age = ctx.clock.now() - state.observed_at
    return render_time(state.observed_at), max(0, age // timedelta(milliseconds=1))
