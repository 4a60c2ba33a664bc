"""The route POST /ob/start, and the request bodies shared with POST /ob/stop."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from dagengine import DagDetail, Submission
from dagengine.errors import ConfigError, IllegalArgument
from dagengine.extension import Call, Planner, Route
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.scope import RequestedScope, ScopeKind, resolve_scope
from tasks.errors import SCOPE_ERRORS
from tasks.operations.names import START_OB
from tasks.operations.params import StartParams
from tasks.preflight.checks import find_skip_problem
from tasks.routes import messages

DEDUPE_WINDOW_S = 1.0  # the SDK repeats requests after errors

_log = structlog.get_logger("tasks.routes.start")


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
"""Schema of both accepted forms: the official clients' and the published document's."""


_SKIP = "names of checks that must not block the start (docs/reference/checks.md)"


class ForcePass(BaseModel):
    """Ids of tasks that hold the cluster locked."""

    id: list[str] | None = None


class ScopedRequest(BaseModel):
    """Which servers, and which tasks to pass for it."""

    scope: Scope | None = None
    force_pass_dag: Annotated[
        ForcePass | None, WithJsonSchema(_FORCE_PASS), Field(alias="forcePassDag")
    ] = None

    @field_validator("force_pass_dag", mode="before")
    @classmethod
    def _accept_list(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, list) else value  # the published document's form


class StartRequest(ScopedRequest):
    """Which servers to start, and which tasks to pass for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"scope": {"type": "GLOBAL"}},
                {
                    "scope": {"type": "SERVER", "target": ["10.10.10.1:2886"]},
                    "forcePassDag": {"id": ["201684300810288613"]},
                    "skipChecks": ["memory"],
                },
            ]
        }
    )

    skip_checks: Annotated[list[str] | None, Field(alias="skipChecks", description=_SKIP)] = None


def start_route(
    cluster: ClusterFile, planner: Planner[StartRequest] | None = None
) -> Route[StartRequest]:
    """Return POST /ob/start; a planner adds support for dry runs."""

    async def start(call: Call[StartRequest]) -> DagDetail:
        """Start observers.

        The same start again within a second of an unfinished one answers with that DAG.
        """
        reload_cluster(cluster)
        targets, params = resolve_start(cluster, call.body)
        skipped = ", ".join(params.skip_checks)
        return await call.submit(
            Submission(START_OB, targets, params.to_json()),
            reason=messages.CHECKS_SKIPPED(names=skipped) if skipped else "",
            dedupe_window_s=0.0 if params.force_pass else DEDUPE_WINDOW_S,
        )

    errors = (*SCOPE_ERRORS, IllegalArgument)
    return Route("POST", "/ob/start", StartRequest, start, errors=errors, plan=planner)


def resolve_start(
    cluster: ClusterFile, request: StartRequest
) -> tuple[tuple[str, ...], StartParams]:
    """Return the targets and the parameters of a start.

    Raises:
        ApiError: the scope is wrong, or a check is unknown or may not be skipped.
    """
    scope, targets = resolve_targets(cluster, request)
    skips = tuple(dict.fromkeys(request.skip_checks or ()))
    if (problem := find_skip_problem(skips)) is not None:
        raise IllegalArgument(messages.SKIP_CHECKS_ILLEGAL(reason=problem))
    return targets, StartParams(scope, read_force_pass(request), skips)


def resolve_targets(
    cluster: ClusterFile, request: ScopedRequest
) -> tuple[RequestedScope, tuple[str, ...]]:
    """Return a request's scope and the names of the servers in it.

    Raises:
        ApiError: the scope is wrong.
    """
    scope = request.scope or Scope()
    names = tuple(dict.fromkeys(scope.target or ()))
    targets = resolve_scope(cluster.servers, scope.type or "", names)
    kind = ScopeKind((scope.type or "").upper())  # resolve_scope has checked it
    return RequestedScope(kind, () if kind is ScopeKind.GLOBAL else names), targets


def read_force_pass(request: ScopedRequest) -> tuple[str, ...]:
    """Return the ids of the tasks that the request names in forcePassDag."""
    return tuple(request.force_pass_dag.id or ()) if request.force_pass_dag else ()


def reload_cluster(cluster: ClusterFile) -> None:
    """Reload the cluster file; if it cannot be used, log a warning and keep the current cluster."""
    try:
        cluster.reload()
    except ConfigError as exc:
        _log.warning("cluster_file_refused", error=str(exc))
