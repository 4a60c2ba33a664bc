"""The extension of a controller: the operations and routes of one cluster file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from dagengine.extension import Extension, ExtensionContext
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.flavour import OCEANBASE
from tasks.operations.start import start_operation
from tasks.operations.stop import stop_operation
from tasks.routes.cluster_info import read_routes
from tasks.routes.dry_run import start_planner, stop_planner
from tasks.routes.monitor import open_monitor
from tasks.routes.start import start_route
from tasks.routes.stop import stop_route
from tasks.sql.cluster import query_table

_log = structlog.get_logger("tasks")


@asynccontextmanager
async def open_extension(context: ExtensionContext) -> AsyncIterator[Extension]:
    """Read the cluster file and watch its servers until the context is left."""
    cluster = ClusterFile(context.cluster_file)
    for notice in cluster.current.notices:
        _log.warning("cluster_file_notice", file=str(cluster.path), notice=notice)
    pool, clock = context.pool, context.clock
    operations = [start_operation(cluster, pool, clock), stop_operation(cluster, pool, clock)]
    async with open_monitor(cluster, pool, clock, {OCEANBASE.name: query_table}) as monitor:
        yield Extension(
            operations=operations,
            routes=[
                start_route(cluster, start_planner(cluster, pool, clock)),
                stop_route(cluster, pool, clock, stop_planner(cluster, pool, clock)),
                *read_routes(cluster, monitor),
            ],
            cluster=cluster,
            reload=cluster.reload,
        )
