"""The route POST /ob/stop: its body, and its checks in the order of protocol 3.2."""

from __future__ import annotations

from pydantic import ConfigDict, Field, StrictBool

from dagengine import DagDetail, Submission
from dagengine.extension import Call, Planner, Route
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.scope import ScopeKind
from tasks.errors import (
    SCOPE_ERRORS,
    STOP_ERRORS,
    ForceStopOrTerminateRequired,
    StopModeConflict,
)
from tasks.flavours.base import StopMode
from tasks.flavours.select import select_actions
from tasks.operations.names import STOP_OB
from tasks.operations.params import StopParams
from tasks.routes import messages
from tasks.routes.start import (
    DEDUPE_WINDOW_S,
    ScopedRequest,
    read_force_pass,
    reload_cluster,
    resolve_targets,
)


class StopRequest(ScopedRequest):
    """Which servers to stop, how, and which tasks to pass for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"scope": {"type": "ZONE", "target": ["zone1"]}},
                {"scope": {"type": "GLOBAL"}, "terminate": True},
                {"scope": {"type": "SERVER", "target": ["10.10.10.1:2886"]}, "force": True},
            ]
        }
    )

    force: StrictBool | None = Field(default=False, description="end the processes, at once")
    terminate: StrictBool | None = Field(
        default=False, description="end the processes after a minor freeze"
    )


def stop_route(
    access: ClusterAccess, planner: Planner[StopRequest] | None = None
) -> Route[StopRequest]:
    """Return POST /ob/stop; a planner adds support for dry runs."""

    async def stop(call: Call[StopRequest]) -> DagDetail:
        """Stop observers.

        Without force and terminate a zone or servers are taken out of service by SQL, and their
        processes run on. The same stop again within a second answers with the same DAG.
        """
        reload_cluster(access.cluster)
        targets, params = resolve_stop(access.cluster, call.body)
        if call.key and (made := await call.engine.find_submitted(call.key)) is not None:
            return made  # skip the checks: the effects of the first request would fail them
        await select_actions(access).check_stop(params.mode, params.scope.kind, targets)
        return await call.submit(
            Submission(STOP_OB, targets, params.to_json()),
            dedupe_window_s=0.0 if params.force_pass else DEDUPE_WINDOW_S,
        )

    errors = SCOPE_ERRORS + STOP_ERRORS
    return Route("POST", "/ob/stop", StopRequest, stop, errors=errors, plan=planner)


def resolve_stop(cluster: ClusterFile, request: StopRequest) -> tuple[tuple[str, ...], StopParams]:
    """Return the targets and the parameters of a stop.

    Raises:
        ApiError: the scope is wrong, or the flags contradict it or each other.
    """
    scope, targets = resolve_targets(cluster, request)
    mode = choose_mode(scope.kind, force=bool(request.force), terminate=bool(request.terminate))
    return targets, StopParams(scope, mode, read_force_pass(request))


def choose_mode(scope: ScopeKind, *, force: bool, terminate: bool) -> StopMode:
    """Return the mode; raise ApiError if the flags contradict the scope or each other."""
    if scope is ScopeKind.GLOBAL and not force and not terminate:
        raise ForceStopOrTerminateRequired(
            messages.PLAIN_STOP_OF_CLUSTER(), remedy=messages.SEND_TERMINATE_OR_FORCE()
        )
    if force and terminate:
        raise StopModeConflict(messages.STOP_MODES_CONFLICT(), remedy=messages.SEND_ONE_MODE())
    if force:
        return StopMode.FORCE
    return StopMode.TERMINATE if terminate else StopMode.PLAIN
