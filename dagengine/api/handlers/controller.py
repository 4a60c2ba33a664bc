"""Who the controller is: what anybody may ask (protocol 2.1)."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field

from dagengine.api.context import Desk
from dagengine.api.endpoint import Ask
from dagengine.api.envelope import render_time
from dagengine.api.extension import ServerState
from dagengine.api.schemas.tasks import BuildDto, Identity, InfoDto, SecretDto, StatusDto

IDENTITY: Identity = "CLUSTER AGENT"
_RUNNING = 2  # state of an agent


class ObQuery(BaseModel):
    """Query of the routes that tell the state of servers."""

    ob_query_timeout: str = Field(
        default="", description="microseconds; taken, and not used: see docs/compatibility.md"
    )


async def get_time(desk: Desk, ask: Ask) -> str:
    """The controller's clock."""
    return render_time(desk.clock.now())


async def get_build(desk: Desk, ask: Ask) -> BuildDto:
    """Which build this is."""
    return {"branch": "", "commitId": "", "shortCommitId": "", "commitTime": ""}


async def get_secret(desk: Desk, ask: Ask) -> SecretDto:
    """The key that headers are encrypted for."""
    agent = desk.engine.agent
    return {"ip": agent.ip, "port": agent.port, "public_key": desk.public_key}


async def get_info(desk: Desk, ask: Ask) -> InfoDto:
    """Who the controller is, and how to sign in."""
    agent = desk.engine.agent
    here = _server_here(desk)
    info: InfoDto = {
        "pid": desk.pid,
        "state": _RUNNING,
        "startAt": _started_ns(desk),
        "homePath": here.home if here else "",
        "obVersion": desk.cluster.version,
        "architecture": desk.machine,
        "ip": agent.ip,
        "port": agent.port,
        "zone": here.zone if here else "",
        "identity": IDENTITY,
        "version": desk.version,
        "isObproxyAgent": False,
        "security": desk.has_agent_password(),
        "supportedAuth": ["v2"],
    }
    if seen := _last_look(desk):
        info["observedAt"], info["observedAgeMs"] = seen
    return info


async def get_status(desk: Desk, ask: Ask) -> StatusDto:
    """The controller's state, and the servers' as last known.

    `ob_query_timeout` is taken and not looked at: nothing is asked of a database here.
    """
    agent = desk.engine.agent
    status: StatusDto = {
        "agent": {"ip": agent.ip, "port": agent.port, "identity": IDENTITY},
        "state": _RUNNING,
        "version": desk.version,
        "pid": desk.pid,
        "startAt": _started_ns(desk),
        "port": agent.port,
        "obState": desk.cluster.ob_state,
        "underMaintenance": bool(desk.engine.holders()),
    }
    if here := _server_here(desk):
        status["sqlPort"] = here.sql_port
    if seen := _last_look(desk):
        status["observedAt"], status["observedAgeMs"] = seen
    return status


def _started_ns(desk: Desk) -> int:
    return int(desk.engine.started_at.timestamp() * 1_000_000) * 1000


def _server_here(desk: Desk) -> ServerState | None:
    """The server that has the controller's own address, where there is one."""
    here = str(desk.engine.agent)
    for server in desk.cluster.servers:
        if server.name == here:
            return server
    return None


def _last_look(desk: Desk) -> tuple[str, int] | None:
    """When the servers were last looked at, and how many milliseconds ago that was."""
    at = desk.cluster.observed_at
    if at is None:
        return None
    age = desk.clock.now() - at
    return render_time(at), max(0, age // timedelta(milliseconds=1))
