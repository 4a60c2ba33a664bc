"""The routes of the operations and the bodies they take."""

from __future__ import annotations

from typing import Any

import structlog
from pydantic import BaseModel, Field, field_validator

from dagengine import Call, ConfigError, DagDetail, Route, Submission
from tasks.scope import resolve_scope
from tasks.topology import ClusterFile

START_OB = "Start OB"
_DEDUPE_WINDOW_S = 1.0  # the SDK repeats calls on errors

_log = structlog.get_logger("tasks.api")


class Scope(BaseModel):
    """Which servers."""

    type: str | None = None
    target: list[str] | None = None


class ForcePass(BaseModel):
    """Ids of tasks that hold the cluster locked."""

    id: list[str] | None = None


class StartRequest(BaseModel):
    """Body of POST /ob/start."""

    scope: Scope | None = None
    force_pass_dag: ForcePass | None = Field(default=None, alias="forcePassDag")

    @field_validator("force_pass_dag", mode="before")
    @classmethod
    def _accept_list(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, list) else value  # the published document's form


def start_route(cluster: ClusterFile) -> Route:
    """POST /ob/start."""

    async def start(call: Call) -> DagDetail:
        request = call.body
        assert isinstance(request, StartRequest)
        _reload(cluster)
        scope = request.scope or Scope()
        asked = list(dict.fromkeys(scope.target or ()))
        kind = (scope.type or "").upper()
        targets = resolve_scope(cluster.servers, kind, asked)
        force_pass = (request.force_pass_dag.id if request.force_pass_dag else None) or []
        params = {
            "scope": {"type": kind, "target": [] if kind == "GLOBAL" else asked},
            "force_pass": force_pass,
        }
        return await call.engine.submit(
            Submission(START_OB, targets, params),
            by=call.caller,
            dedupe_window_s=0.0 if force_pass else _DEDUPE_WINDOW_S,
        )

    return Route("POST", "/ob/start", StartRequest, start)


def _reload(cluster: ClusterFile) -> None:
    try:
        cluster.reload()
    except ConfigError as exc:
        _log.warning("cluster_file_refused", error=str(exc))
