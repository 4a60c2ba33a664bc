"""A requested start: its body, its resolution and its submission."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import structlog
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from dagengine import DagDetail, Submission
from dagengine.errors import ConfigError, IllegalArgument
from dagengine.extension import Call, Handler
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.scope import RequestedScope, ScopeKind, resolve_scope
from tasks.operations.names import START_OB
from tasks.operations.params import StartParams
from tasks.planning import messages
from tasks.preflight.checks import find_skip_problem

_MAX_TARGETS = 1000
_MAX_IDS = 100  # one DAG holds the lock; clients send all that they know to be unfinished
_MAX_CHECKS = 100
_REASON_CHARS = 4000
_ID_CHARS, _NAME_CHARS = 128, 256

_Id = Annotated[str, Field(max_length=_ID_CHARS)]
_Name = Annotated[str, Field(max_length=_NAME_CHARS)]

DEDUPE_WINDOW_S = 1.0  # the SDK repeats requests after errors

_log = structlog.get_logger("tasks.planning.start")


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

    type: str | None = Field(
        default=None, max_length=_NAME_CHARS, description="GLOBAL, ZONE or SERVER; any case"
    )
    target: list[_Name] | None = Field(
        default=None, max_length=_MAX_TARGETS, description="zones, or `ip:port` of servers"
    )


_IDS: dict[str, Any] = {
    "type": "array",
    "maxItems": _MAX_IDS,
    "items": {"type": "string", "maxLength": _ID_CHARS},
}
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

    id: list[_Id] | None = Field(default=None, max_length=_MAX_IDS)


def _accept_list(value: Any) -> Any:
    return {"id": value} if isinstance(value, list) else value  # the published document's form


ForcePassDag: TypeAlias = Annotated[
    ForcePass | None,
    BeforeValidator(_accept_list),
    WithJsonSchema(_FORCE_PASS),
    Field(alias="forcePassDag"),
]


Reason: TypeAlias = Annotated[
    str | None,
    Field(max_length=_REASON_CHARS, description="for the audit; not part of OBShell's API"),
]


class ScopedRequest(BaseModel):
    """Which servers, and which tasks to pass for it."""

    scope: Scope | None = None
    force_pass_dag: ForcePassDag = None
    reason: Reason = None


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

    skip_checks: Annotated[
        list[_Name] | None,
        Field(alias="skipChecks", max_length=_MAX_CHECKS, description=_SKIP),
    ] = None


def start_handler(cluster: ClusterFile) -> Handler[StartRequest]:
    """Return the handler of POST /ob/start."""

    async def start(call: Call[StartRequest]) -> DagDetail:
        """Start servers.

        The same start again within a second of an unfinished one answers with that DAG.
        """
        reload_cluster(cluster)
        targets, params = resolve_start(cluster, call.body)
        return await call.submit(
            start_submission(targets, params),
            reason=_render_reason(call.body.reason or "", params.skip_checks),
            dedupe_window_s=0.0 if params.force_pass else DEDUPE_WINDOW_S,
        )

    return start


def start_submission(targets: tuple[str, ...], params: StartParams) -> Submission:
    """Return the DAG of a start."""
    return Submission(START_OB, targets, params.to_json())


def _render_reason(reason: str, skip_checks: Sequence[str]) -> str:
    """Return the reason for the audit, which also names the skipped checks."""
    if not skip_checks:
        return reason
    skipped = messages.CHECKS_SKIPPED(names=", ".join(skip_checks))
    return messages.REASON_AND_CHECKS(reason=reason, checks=skipped) if reason else skipped


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
