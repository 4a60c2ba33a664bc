"""Operations on database servers, with their HTTP routes and commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from dagengine import CliCommand, Extension, ExtensionContext, Plugin
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
async def _open(surroundings: ExtensionContext) -> AsyncIterator[Extension]:
    cluster = ClusterFile(surroundings.cluster_file, FLAVOURS)
    for notice in cluster.current.notices:
        _log.warning("cluster_file_notice", file=str(cluster.path), notice=notice)
    access = ClusterAccess(cluster, surroundings.pool, surroundings.clock)
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
        "doctor": CliCommand("Look at the whole set-up and say what to mend.", _doctor),
        "hosts": CliCommand("Show the keys of the hosts and pin them: `trust`.", _hosts),
    },
)
