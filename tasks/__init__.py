"""The operations on database servers: what they are, their routes, their commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from dagengine import Extension, ExtensionCommand, ExtensionPoint, Surroundings
from tasks.api import start_route
from tasks.cluster_sql import ask_table
from tasks.flavour import OCEANBASE
from tasks.observe import open_lookout
from tasks.preview import start_planner, stop_planner
from tasks.reads import read_routes
from tasks.start import start_operation
from tasks.stop import stop_operation
from tasks.stop_api import stop_route
from tasks.topology import ClusterFile

_log = structlog.get_logger("tasks")


@asynccontextmanager
async def _open(surroundings: Surroundings) -> AsyncIterator[Extension]:
    cluster = ClusterFile(surroundings.cluster_file)
    for notice in cluster.current.notices:
        _log.warning("cluster_file_notice", file=str(cluster.path), notice=notice)
    pool, clock = surroundings.pool, surroundings.clock
    operations = [start_operation(cluster, pool, clock), stop_operation(cluster, pool, clock)]
    async with open_lookout(cluster, pool, clock, {OCEANBASE.name: ask_table}) as lookout:
        yield Extension(
            operations=operations,
            routes=[
                start_route(cluster, start_planner(cluster, pool, clock)),
                stop_route(cluster, pool, clock, stop_planner(cluster, pool, clock)),
                *read_routes(cluster, lookout),
            ],
            cluster=cluster,
            reload=cluster.reload,
        )


def _demo(arguments: Sequence[str]) -> int:
    from tasks.demo import run_demo  # noqa: PLC0415  # a controller never needs it

    return run_demo(arguments)


def _hosts(arguments: Sequence[str]) -> int:
    from tasks.hosts_command import run_hosts  # noqa: PLC0415  # a controller never needs it

    return run_hosts(arguments)


def _doctor(arguments: Sequence[str]) -> int:
    from tasks.doctor_command import run_doctor  # noqa: PLC0415  # a controller never needs it

    return run_doctor(arguments)


EXTENSION = ExtensionPoint(
    "oceanbase",
    _open,
    {
        "demo": ExtensionCommand("Three real servers, started end to end.", _demo),
        "doctor": ExtensionCommand("Look at the whole set-up and say what to mend.", _doctor),
        "hosts": ExtensionCommand("Show the keys of the hosts and pin them: `trust`.", _hosts),
    },
)
