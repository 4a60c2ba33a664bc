"""The extension of a controller: the operations and routes of one cluster file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from dagengine.extension import Extension, ExtensionContext
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.flavours.select import FLAVOURS
from tasks.operations.start import start_operation
from tasks.operations.stop import stop_operation
from tasks.routes.cluster_info import read_routes
from tasks.routes.dry_run import start_planner, stop_planner
from tasks.routes.monitor import open_monitor
from tasks.routes.start import start_route
from tasks.routes.stop import stop_route

_log = structlog.get_logger("tasks")


@asynccontextmanager
async def open_extension(context: ExtensionContext) -> AsyncIterator[Extension]:
    """Read the cluster file and watch its servers until the context is left."""
    cluster = ClusterFile(context.cluster_file, FLAVOURS)
    for notice in cluster.current.notices:
        _log.warning("cluster_file_notice", file=str(cluster.path), notice=notice)
    access = ClusterAccess(cluster, context.pool, context.clock)
    async with open_monitor(access) as monitor:
        yield Extension(
            operations=[start_operation(access), stop_operation(access)],
            routes=[
                start_route(cluster, start_planner(access)),
                stop_route(access, stop_planner(access)),
                *read_routes(cluster, monitor),
            ],
            cluster=cluster,
            reload=cluster.reload,
        )
