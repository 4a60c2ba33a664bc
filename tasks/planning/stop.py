"""A requested stop: its bodies, its checks in the order of protocol 3.2, its submission."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from dagengine import DagDetail, Submission
from dagengine.extension import Call, Handler
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.scope import ScopeKind
from tasks.errors import (
    ForceStopOrTerminateRequired,
    StopModeConflict,
)
from tasks.flavours.base import StopMode
from tasks.flavours.select import select_actions
from tasks.operations.names import STOP_OB
from tasks.operations.params import StopParams
from tasks.planning import messages
from tasks.planning.start import (
    DEDUPE_WINDOW_S,
    ForcePassDag,
    Reason,
    Scope,
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


def stop_handler(access: ClusterAccess) -> Handler[StopRequest]:
    """Return the handler of POST /ob/stop."""

    async def stop(call: Call[StopRequest]) -> DagDetail:
        """Stop servers.

        Without force and terminate a zone or servers are taken out of service by SQL, and their
        processes keep running. The same stop again within a second answers with the same DAG.
        """
        reload_cluster(access.cluster)
        targets, params = resolve_stop(access.cluster, call.body)
        return await _submit_stop(access, call, targets, params, call.body.reason or "")

    return stop


class ZoneStopRequest(BaseModel):
    """How to take a zone out of service, and which tasks to pass for it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"freeze_server": True}]})

    freeze_server: StrictBool | None = Field(
        default=False, description="begin with a minor freeze of the zone's servers"
    )
    force_pass_dag: ForcePassDag = None
    reason: Reason = None


def zone_stop_handler(access: ClusterAccess) -> Handler[ZoneStopRequest]:
    """Return the handler of POST /ob/zone/{zone}/stop."""

    async def stop(call: Call[ZoneStopRequest]) -> DagDetail:
        """Take a zone out of service by SQL, optionally after a minor freeze.

        The processes of its servers keep running.
        """
        reload_cluster(access.cluster)
        targets, params = resolve_zone_stop(access.cluster, call)
        return await _submit_stop(access, call, targets, params, call.body.reason or "")

    return stop


def zone_stop_check(access: ClusterAccess) -> Handler[ZoneStopRequest]:
    """Return the handler of POST /ob/zone/{zone}/stop/check."""

    async def check(call: Call[ZoneStopRequest]) -> None:
        """Check whether a zone can be taken out of service; nothing is changed."""
        reload_cluster(access.cluster)
        targets, params = resolve_zone_stop(access.cluster, call)
        await select_actions(access).check_stop(params.mode, params.scope.kind, targets)

    return check


def stop_submission(targets: tuple[str, ...], params: StopParams) -> Submission:
    """Return the DAG of a stop."""
    return Submission(STOP_OB, targets, params.to_json())


async def _submit_stop(
    access: ClusterAccess,
    call: Call[StopRequest] | Call[ZoneStopRequest],
    targets: tuple[str, ...],
    params: StopParams,
    reason: str = "",
) -> DagDetail:
    if call.key and (made := await call.engine.find_submitted(call.key)) is not None:
        return made  # skip the checks: the effects of the first request would fail them
    await select_actions(access).check_stop(params.mode, params.scope.kind, targets)
    return await call.submit(
        stop_submission(targets, params),
        reason=reason,
        dedupe_window_s=0.0 if params.force_pass else DEDUPE_WINDOW_S,
    )


def resolve_stop(cluster: ClusterFile, request: StopRequest) -> tuple[tuple[str, ...], StopParams]:
    """Return the targets and the parameters of a stop.

    Raises:
        ApiError: the scope is wrong, or the flags contradict it or each other.
    """
    scope, targets = resolve_targets(cluster, request)
    mode = choose_mode(scope.kind, force=bool(request.force), terminate=bool(request.terminate))
    return targets, StopParams(scope, mode, read_force_pass(request))


def resolve_zone_stop(
    cluster: ClusterFile, call: Call[ZoneStopRequest]
) -> tuple[tuple[str, ...], StopParams]:
    """Return the targets and the parameters of a stop of the zone in the call's path.

    Raises:
        ApiError: the zone does not exist.
    """
    scope = Scope(type=ScopeKind.ZONE, target=[call.path["zone"]])
    request = StopRequest.model_construct(scope=scope, force_pass_dag=call.body.force_pass_dag)
    targets, params = resolve_stop(cluster, request)
    return targets, replace(params, freeze=bool(call.body.freeze_server))


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
