"""The extension of a controller: the operations, routes and pages of one cluster file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_hex

import structlog

from dagengine.extension import ChangeSignal, Extension, ExtensionContext
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.doctor.background import BackgroundDoctor
from tasks.flavours.select import FLAVOURS
from tasks.messages_zh import TEMPLATES as CHINESE
from tasks.monitoring.metrics import metric_source
from tasks.monitoring.monitor import ClusterMonitor
from tasks.operations.start import start_operation
from tasks.operations.stop import stop_operation
from tasks.planning.dry_run import start_planner, stop_planner, zone_stop_planner
from tasks.planning.operations import server_operations
from tasks.routes.cluster_info import read_routes
from tasks.routes.start_stop import start_route, stop_route, zone_stop_routes
from tasks.sql.identity import read_identities
from tasks.web.messages_zh import TEMPLATES as CHINESE_PAGES
from tasks.web.pages import cluster_pages
from tasks.web.servers import count_servers

_KEY_BYTES = 16

_log = structlog.get_logger("tasks")


@asynccontextmanager
async def open_extension(context: ExtensionContext) -> AsyncIterator[Extension]:
    """Read the cluster file. Its servers are contacted only while the engine runs."""
    cluster = ClusterFile(context.cluster_file, FLAVOURS)
    for notice in cluster.current.notices:
        _log.warning("cluster_file_notice", file=str(cluster.path), notice=notice)
    access = ClusterAccess(cluster, context.pool, context.clock)
    signal, doctor = ChangeSignal(), BackgroundDoctor(context.clock)
    cluster.on_change = signal.notify
    monitor = ClusterMonitor(access)

    def reload() -> None:
        cluster.reload()
        monitor.follow_file()

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        async with monitor.watching():
            try:
                yield
            finally:
                await doctor.close()

    yield Extension(
        operations=[start_operation(access), stop_operation(access)],
        routes=[
            start_route(cluster, start_planner(access)),
            stop_route(access, stop_planner(access)),
            *zone_stop_routes(access, zone_stop_planner(access)),
            *read_routes(cluster, monitor),
        ],
        cluster=cluster,
        reload=reload,
        translations={"zh": {**CHINESE, **CHINESE_PAGES}},
        pages=cluster_pages(access, server_operations(access), doctor, _make_key),
        count_servers=partial(count_servers, cluster),
        signals=[signal],
        metrics=metric_source(cluster),
        running=running,
        read_identities=partial(read_identities, access),
    )


def _make_key() -> str:
    """Return a new idempotency key."""
    return token_hex(_KEY_BYTES)
