"""The routes that start and stop servers."""

from __future__ import annotations

from types import NoneType

from dagengine.errors import IllegalArgument
from dagengine.extension import Planner, Route
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.errors import SCOPE_ERRORS, STOP_ERRORS
from tasks.planning.start import StartRequest, start_handler
from tasks.planning.stop import (
    StopRequest,
    ZoneStopRequest,
    stop_handler,
    zone_stop_check,
    zone_stop_handler,
)


def start_route(
    cluster: ClusterFile, planner: Planner[StartRequest] | None = None
) -> Route[StartRequest]:
    """Return POST /ob/start; a planner adds support for dry runs."""
    errors = (*SCOPE_ERRORS, IllegalArgument)
    handler = start_handler(cluster)
    return Route(
        *("POST", "/ob/start", StartRequest, handler),
        errors=errors,
        plan=planner,
        fleet_action="start",
    )


def stop_route(
    access: ClusterAccess, planner: Planner[StopRequest] | None = None
) -> Route[StopRequest]:
    """Return POST /ob/stop; a planner adds support for dry runs."""
    errors, handler = SCOPE_ERRORS + STOP_ERRORS, stop_handler(access)
    return Route("POST", "/ob/stop", StopRequest, handler, errors=errors, plan=planner)


def zone_stop_routes(
    access: ClusterAccess, planner: Planner[ZoneStopRequest] | None = None
) -> list[Route[ZoneStopRequest]]:
    """Return POST /ob/zone/{zone}/stop, a plain stop of one zone, and its check."""
    errors, path = SCOPE_ERRORS + STOP_ERRORS, "/ob/zone/{zone}/stop"
    stop, check = zone_stop_handler(access), zone_stop_check(access)
    return [
        Route("POST", path, ZoneStopRequest, stop, errors=errors, plan=planner),
        Route(
            "POST",
            f"{path}/check",
            ZoneStopRequest,
            check,
            errors=errors,
            answer=NoneType,
            null_on_failure=True,
        ),
    ]
