"""Who the controller is: what anybody may ask (protocol 2.1)."""

from __future__ import annotations

import os
import platform

from dagengine.api.desk import Desk
from dagengine.api.endpoint import Ask
from dagengine.api.envelope import render_time
from dagengine.api.schemas import BuildDto, Identity, InfoDto, SecretDto, StatusDto

IDENTITY: Identity = "CLUSTER AGENT"
_RUNNING = 2  # state of an agent


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
    return {
        "pid": os.getpid(),
        "state": _RUNNING,
        "startAt": _started_ns(desk),
        "homePath": "",
        "obVersion": desk.cluster.version,
        "architecture": platform.machine(),
        "ip": agent.ip,
        "port": agent.port,
        "zone": "",
        "identity": IDENTITY,
        "version": desk.version,
        "isObproxyAgent": False,
        "security": desk.has_agent_password(),
        "supportedAuth": ["v2"],
    }


async def get_status(desk: Desk, ask: Ask) -> StatusDto:
    """The controller's state, and the servers' as last known."""
    agent = desk.engine.agent
    return {
        "agent": {"ip": agent.ip, "port": agent.port, "identity": IDENTITY},
        "state": _RUNNING,
        "version": desk.version,
        "pid": os.getpid(),
        "startAt": _started_ns(desk),
        "port": agent.port,
        "obState": desk.cluster.ob_state,
        "underMaintenance": False,
    }


def _started_ns(desk: Desk) -> int:
    return int(desk.engine.started_at.timestamp() * 1_000_000) * 1000
