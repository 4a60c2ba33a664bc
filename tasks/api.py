"""The routes of the operations and the bodies they take."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from dagengine import Call, ConfigError, DagDetail, Route, Submission
from tasks.errors import SCOPE_ERRORS
from tasks.scope import resolve_scope
from tasks.topology import ClusterFile

START_OB = "Start OB"
_DEDUPE_WINDOW_S = 1.0  # the SDK repeats calls on errors

_log = structlog.get_logger("tasks.api")


class Scope(BaseModel):
    """Which servers."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "GLOBAL", "target": []},
                {"type": "ZONE", "target": ["zone1", "zone2"]},
                {"type": "SERVER", "target": ["10.10.10.1:2886"]},
            ]
        }
    )

    type: str | None = Field(default=None, description="GLOBAL, ZONE or SERVER; any case")
    target: list[str] | None = Field(default=None, description="zones, or `ip:port` of servers")


_IDS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_FORCE_PASS: dict[str, Any] = {
    "description": "ids of tasks that hold the cluster locked: these are cancelled and passed",
    "anyOf": [
        {"type": "object", "properties": {"id": {"anyOf": [_IDS, {"type": "null"}]}}},
        _IDS,
        {"type": "null"},
    ],
}
"""Both forms: that of the official clients, and that of the published document."""


class ForcePass(BaseModel):
    """Ids of tasks that hold the cluster locked."""

    id: list[str] | None = None


class StartRequest(BaseModel):
    """Which servers to start, and which tasks to pass for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"scope": {"type": "GLOBAL"}},
                {
                    "scope": {"type": "SERVER", "target": ["10.10.10.1:2886"]},
                    "forcePassDag": {"id": ["201684300810288613"]},
                },
            ]
        }
    )

    scope: Scope | None = None
    force_pass_dag: Annotated[
        ForcePass | None, WithJsonSchema(_FORCE_PASS), Field(alias="forcePassDag")
    ] = None

    @field_validator("force_pass_dag", mode="before")
    @classmethod
    def _accept_list(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, list) else value  # the published document's form


def start_route(cluster: ClusterFile) -> Route:
    """POST /ob/start."""

    async def start(call: Call) -> DagDetail:
        """Start observers.

        The same start again within a second of an unfinished one answers with that DAG.
        """
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
        return await call.submit(
            Submission(START_OB, targets, params),
            dedupe_window_s=0.0 if force_pass else _DEDUPE_WINDOW_S,
        )

    return Route("POST", "/ob/start", StartRequest, start, errors=SCOPE_ERRORS)


def _reload(cluster: ClusterFile) -> None:
    try:
        cluster.reload()
    except ConfigError as exc:
        _log.warning("cluster_file_refused", error=str(exc))
