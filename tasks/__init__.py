"""Operations on database servers, with their HTTP routes and commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from dagengine import CliCommand, Extension, ExtensionContext, Plugin
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
async def _open(surroundings: ExtensionContext) -> AsyncIterator[Extension]:
    cluster = ClusterFile(surroundings.cluster_file)
    for notice in cluster.current.notices:
        _log.warning("cluster_file_notice", file=str(cluster.path), notice=notice)
    pool, clock = surroundings.pool, surroundings.clock
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


def _demo(arguments: Sequence[str]) -> int:
    from tasks.demo.command import run_demo  # noqa: PLC0415  # a controller never needs it

    return run_demo(arguments)


def _hosts(arguments: Sequence[str]) -> int:
    from tasks.cli.hosts import run_hosts  # noqa: PLC0415  # a controller never needs it

    return run_hosts(arguments)


def _doctor(arguments: Sequence[str]) -> int:
    from tasks.cli.doctor_report import run_doctor  # noqa: PLC0415  # a controller never needs it

    return run_doctor(arguments)


EXTENSION = Plugin(
    "oceanbase",
    _open,
    {
        "demo": CliCommand("Three real servers, started end to end.", _demo),
        "doctor": CliCommand(
            "Check the whole installation; report problems and remedies.", _doctor
        ),
        "hosts": CliCommand("Show the keys of the hosts and pin them: `trust`.", _hosts),
    },
)
