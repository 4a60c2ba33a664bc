"""The route POST /ob/start, and the request bodies shared with POST /ob/stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from dagengine import DagDetail, Submission
from dagengine.errors import ConfigError, IllegalArgument
from dagengine.extension import Call, Planner, Route
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.scope import resolve_scope
from tasks.errors import SCOPE_ERRORS
from tasks.operations.names import START_OB
from tasks.preflight.checks import SKIP_CHECKS, find_skip_problem

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


_SKIP = "names of checks that shall not stand in the way (docs/checks.md)"


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


@dataclass(frozen=True, slots=True)
class ResolvedScope:
    """A request's scope resolved to servers.

    Attributes:
        kind: GLOBAL, ZONE or SERVER.
        targets: names of the servers.
        params: `scope` and `force_pass` of the task.
    """

    kind: str
    targets: tuple[str, ...]
    params: Mapping[str, Any]


def resolve_request(cluster: ClusterFile, request: ScopedRequest) -> ResolvedScope:
    """Resolve a request to servers; raise ApiError if its scope is wrong."""
    scope = request.scope or Scope()
    asked = list(dict.fromkeys(scope.target or ()))
    kind = (scope.type or "").upper()
    targets = resolve_scope(cluster.servers, kind, asked)
    force_pass = (request.force_pass_dag.id if request.force_pass_dag else None) or []
    named = {"type": kind, "target": [] if kind == "GLOBAL" else asked}
    return ResolvedScope(kind, targets, {"scope": named, "force_pass": force_pass})


def start_route(cluster: ClusterFile, planner: Planner | None = None) -> Route:
    """Return POST /ob/start; a planner adds support for dry runs."""

    async def start(call: Call) -> DagDetail:
        """Start observers.

        The same start again within a second of an unfinished one answers with that DAG.
        """
        request = call.body
        assert isinstance(request, StartRequest)
        reload_cluster(cluster)
        asked = resolve_request(cluster, request)
        skips = read_skips(request.skip_checks or ())
        skipped = ", ".join(skips.get(SKIP_CHECKS, ()))
        return await call.submit(
            Submission(START_OB, asked.targets, {**asked.params, **skips}),
            reason=f"skips the checks {skipped}" if skipped else "",
            dedupe_window_s=0.0 if asked.params["force_pass"] else DEDUPE_WINDOW_S,
        )

    errors = (*SCOPE_ERRORS, IllegalArgument)
    return Route("POST", "/ob/start", StartRequest, start, errors=errors, plan=planner)


def read_skips(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the DAG parameter for the checks to skip.

    Raises:
        IllegalArgument: a check is unknown or may not be skipped.
    """
    asked = list(dict.fromkeys(names))
    if (wrong := find_skip_problem(asked)) is not None:
        raise IllegalArgument(f"The input parameter 'skipChecks' is illegal: {wrong}")
    return {SKIP_CHECKS: asked} if asked else {}


def reload_cluster(cluster: ClusterFile) -> None:
    """Reload the cluster file; if it cannot be used, log a warning and keep the current cluster."""
    try:
        cluster.reload()
    except ConfigError as exc:
        _log.warning("cluster_file_refused", error=str(exc))
