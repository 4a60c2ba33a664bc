"""The route POST /ob/stop: its body, and its checks in the order of protocol 3.2."""

from __future__ import annotations

from pydantic import ConfigDict, Field, StrictBool

from dagengine import Clock, DagDetail, Submission
from dagengine.extension import Call, Planner, Route
from dagengine.remote import RunnerPool
from tasks.cluster.cluster_file import ClusterFile
from tasks.errors import (
    SCOPE_ERRORS,
    STOP_ERRORS,
    ForceStopOrTerminateRequired,
    StopModeConflict,
)
from tasks.flavours.stop_cluster import make_stop_steps
from tasks.flavours.stop_safety import StopMode
from tasks.operations.names import STOP_OB
from tasks.routes.start import DEDUPE_WINDOW_S, ScopedRequest, reload_cluster, resolve_request


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
    cluster: ClusterFile, pool: RunnerPool, clock: Clock, planner: Planner | None = None
) -> Route:
    """Return POST /ob/stop; a planner adds support for dry runs."""

    async def stop(call: Call) -> DagDetail:
        """Stop observers.

        Without force and terminate a zone or servers are taken out of service by SQL, and their
        processes run on. The same stop again within a second answers with the same DAG.
        """
        request = call.body
        assert isinstance(request, StopRequest)
        reload_cluster(cluster)
        asked = resolve_request(cluster, request)
        mode = choose_mode(asked.kind, bool(request.force), bool(request.terminate))
        if call.key and (made := await call.engine.find_submitted(call.key)) is not None:
            return made  # skip the checks: the effects of the first request would fail them
        await make_stop_steps(cluster, pool, clock).check(mode, asked.kind, asked.targets)
        return await call.submit(
            Submission(STOP_OB, asked.targets, {**asked.params, "mode": str(mode)}),
            dedupe_window_s=0.0 if asked.params["force_pass"] else DEDUPE_WINDOW_S,
        )

    errors = SCOPE_ERRORS + STOP_ERRORS
    return Route("POST", "/ob/stop", StopRequest, stop, errors=errors, plan=planner)


def choose_mode(scope: str, force: bool, terminate: bool) -> StopMode:
    """Return the mode; raise ApiError if the flags contradict the scope or each other."""
    if scope == "GLOBAL" and not force and not terminate:
        raise ForceStopOrTerminateRequired(
            "the whole cluster cannot be taken out of service by SQL",
            remedy="send terminate (data is written first) or force",
        )
    if force and terminate:
        raise StopModeConflict(
            "force and terminate are two ways to stop", remedy="send one of them"
        )
    if force:
        return StopMode.FORCE
    return StopMode.TERMINATE if terminate else StopMode.PLAIN
