"""The routes that every controller has: who it is, and its tasks."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from dagengine.api.binding import bind, parse_show_details
from dagengine.api.envelope import render_time
from dagengine.api.middleware import CALLER
from dagengine.api.route import Call, ClusterView, Route
from dagengine.api.wire import Dto, Wire
from dagengine.clock import Clock
from dagengine.engine.engine import Engine
from dagengine.errors import OperatorRefused, TaskNotFound
from dagengine.model.ids import GenericId, IdKind, decode_id
from dagengine.model.states import Operator

_IDENTITY = "CLUSTER AGENT"
_RUNNING = 2  # state of an agent
_OPERATORS = (Operator.ROLLBACK, Operator.RETRY, Operator.CANCEL, Operator.PASS)


class OperatorBody(BaseModel):
    """Body of the two operator routes."""

    operator: str = Field(min_length=1)
    reason: str = ""  # for the audit; not part of the original's API
    id: str | None = None  # when given, it must be the DAG's (protocol 3.4)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers work with."""

    engine: Engine
    cluster: ClusterView
    wire: Wire
    clock: Clock
    public_key: str
    version: str
    has_agent_password: Callable[[], bool]
    before_retry: Callable[[], None]

    # --- without a login -------------------------------------------------------------------

    async def time(self, request: web.Request, body: bytes) -> str:
        return render_time(self.clock.now())

    async def git_info(self, request: web.Request, body: bytes) -> Dto:
        return {"branch": "", "commitId": "", "shortCommitId": "", "commitTime": ""}

    async def secret(self, request: web.Request, body: bytes) -> Dto:
        agent = self.engine.agent
        return {"ip": agent.ip, "port": agent.port, "public_key": self.public_key}

    async def info(self, request: web.Request, body: bytes) -> Dto:
        agent = self.engine.agent
        return {
            "pid": os.getpid(),
            "state": _RUNNING,
            "startAt": self._started_ns(),
            "homePath": "",
            "obVersion": self.cluster.version,
            "architecture": platform.machine(),
            "ip": agent.ip,
            "port": agent.port,
            "zone": "",
            "identity": _IDENTITY,
            "version": self.version,
            "isObproxyAgent": False,
            "security": self.has_agent_password(),
            "supportedAuth": ["v2"],
        }

    async def status(self, request: web.Request, body: bytes) -> Dto:
        agent = self.engine.agent
        return {
            "agent": {"ip": agent.ip, "port": agent.port, "identity": _IDENTITY},
            "state": _RUNNING,
            "version": self.version,
            "pid": os.getpid(),
            "startAt": self._started_ns(),
            "port": agent.port,
            "obState": self.cluster.ob_state,
            "underMaintenance": False,
        }

    # --- tasks -----------------------------------------------------------------------------

    async def get_dag(self, request: web.Request, body: bytes) -> Dto:
        generic_id, row_id = self._row_id(request)
        details = parse_show_details(request.query.get("show_details"))
        found = await self.engine.find_dag(row_id, details=details)
        if found is None:
            raise TaskNotFound(f"there is no DAG {generic_id}")
        if self.wire.id(row_id) != generic_id:
            raise TaskNotFound("dag id not match")
        return self.wire.dag(found)

    async def operate_dag(self, request: web.Request, body: bytes) -> None:
        decoded = decode_id(request.match_info["id"])
        asked = bind(body, OperatorBody)
        wish = asked.operator
        generic_id, row_id = self._own(request, decoded)
        found = await self.engine.find_dag(row_id, details=False)
        if found is None:
            raise TaskNotFound(f"there is no DAG {generic_id}")
        if self.wire.id(row_id) != (asked.id or generic_id):
            raise TaskNotFound("dag id not match")
        if wish.upper() not in _OPERATORS:
            raise OperatorRefused(
                "Task.Dag.Operator.NotSupport",
                f"Operator {wish} is not supported",
                remedy="send ROLLBACK, RETRY, CANCEL or PASS",
            )
        operator = Operator(wish.upper())
        if operator in (Operator.RETRY, Operator.ROLLBACK):
            self.before_retry()
        await self.engine.operate_dag(row_id, operator, by=request[CALLER], reason=asked.reason)

    async def get_node(self, request: web.Request, body: bytes) -> Dto:
        generic_id, row_id = self._row_id(request)
        details = parse_show_details(request.query.get("show_details"))
        found = await self.engine.find_node(row_id, details=details)
        if found is None:
            raise TaskNotFound(f"there is no node {generic_id}")
        return self.wire.node(found)

    async def operate_node(self, request: web.Request, body: bytes) -> None:
        decoded = decode_id(request.match_info["id"])
        asked = bind(body, OperatorBody)
        generic_id, row_id = self._own(request, decoded)
        if await self.engine.find_node(row_id, details=False) is None:
            raise TaskNotFound(f"there is no node {generic_id}")
        if asked.operator.upper() != Operator.PASS:
            raise OperatorRefused(
                "Task.Node.Operator.NotSupport",
                f"Operator {asked.operator} is not supported",
                remedy="a node can only be passed: send PASS",
            )
        self.before_retry()
        await self.engine.pass_node(row_id, by=request[CALLER], reason=asked.reason)

    async def get_sub_task(self, request: web.Request, body: bytes) -> Dto:
        generic_id, row_id = self._row_id(request)
        found = await self.engine.find_sub_task(row_id)
        if found is None:
            raise TaskNotFound(f"there is no sub-task {generic_id}")
        return self.wire.sub_task(found)

    async def get_logs(self, request: web.Request, body: bytes) -> Dto:
        _, row_id = self._row_id(request)
        lines = await self.engine.find_logs(row_id)
        return {"contents": [self.wire.log(line) for line in lines]}

    async def list_attempts(self, request: web.Request, body: bytes) -> Dto:
        _, row_id = self._row_id(request)
        lines = await self.engine.find_logs(row_id)
        attempts = await self.engine.find_attempts(row_id)
        return {"contents": [self.wire.attempt(attempt, lines) for attempt in attempts]}

    async def list_audit(self, request: web.Request, body: bytes) -> Dto:
        _, row_id = self._row_id(request)
        return {"contents": [self.wire.audit(r) for r in await self.engine.list_audit(row_id)]}

    async def list_all_audit(self, request: web.Request, body: bytes) -> Dto:
        return {"contents": [self.wire.audit(r) for r in await self.engine.list_audit()]}

    async def list_unfinished(self, request: web.Request, body: bytes) -> Dto:
        details = parse_show_details(request.query.get("show_details"))
        dags = await self.engine.list_unfinished(details=details)
        return {"contents": [self.wire.dag(dag) for dag in dags]}

    async def list_dags(self, request: web.Request, body: bytes) -> Dto:
        details = parse_show_details(request.query.get("show_details"))
        dags = await self.engine.list_dags(limit=1000, details=details)
        return {"contents": [self.wire.dag(dag) for dag in dags]}

    # --- below: the parts ------------------------------------------------------------------

    def operation(self, route: Route) -> Any:
        """The handler of an operation's route."""

        async def handle(request: web.Request, body: bytes) -> Dto:
            model = bind(body, route.model)
            call = Call(self.engine, model, request[CALLER])
            return self.wire.dag(await route.handler(call))

        return handle

    def _row_id(self, request: web.Request) -> tuple[str, int]:
        """The id as given and the row it names; an id of another agent is not found."""
        return self._own(request, decode_id(request.match_info["id"]))

    def _own(self, request: web.Request, decoded: GenericId) -> tuple[str, int]:
        text = request.match_info["id"]
        if decoded.kind is not IdKind.LOCAL or decoded.agent != self.engine.agent:
            raise TaskNotFound(f"{text} is not an id of this controller ({self.engine.agent})")
        return text, decoded.row_id

    def _started_ns(self) -> int:
        return int(self.engine.started_at.timestamp() * 1_000_000) * 1000
