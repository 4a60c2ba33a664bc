"""Three hosts as network namespaces, for root on Linux."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.realhosts.host_cluster import HostCluster, find_leftovers, open_host_cluster
from tests.realhosts.report import PROPERTY, Row, render_table

_PROGRAMS = ("ip", "ss", "unshare", "nsenter", "flock", "/usr/sbin/sshd", "/bin/dash")


def skip_reason() -> str | None:
    """Return why hosts cannot be created on this machine; None if they can."""
    if os.geteuid() != 0:
        return "hosts as network namespaces need root"
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"hosts as network namespaces need {', '.join(missing)}"
    completed = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if completed.returncode == 0 else f"no namespaces here: {completed.stderr.strip()}"


@pytest.fixture(scope="session")
def made_clusters() -> Iterator[list[HostCluster]]:
    """Collect all host clusters of the session; check at its end that nothing of them is left."""
    reason = skip_reason()
    if reason is not None:
        pytest.skip(reason)
    clusters: list[HostCluster] = []
    yield clusters
    remains = []
    for cluster in clusters:
        remains += find_leftovers(cluster.directory, [host.pid_namespace for host in cluster.hosts])
        for host in cluster.hosts:
            host.forget()
    assert remains == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_cluster(made_clusters: list[HostCluster]) -> AsyncIterator[HostCluster]:
    """A host cluster whose three servers run. Shared: use it through `cluster`."""
    async with open_host_cluster() as new_cluster:
        made_clusters.append(new_cluster)
        dag = await new_cluster.end_of(await new_cluster.start())
        assert dag["state"] == "SUCCEED", new_cluster.log.read_text()[-2000:]
        yield new_cluster


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(running_cluster: HostCluster) -> AsyncIterator[HostCluster]:
    """Three running servers on healthy hosts; a failed test is cleaned up afterwards."""
    yield running_cluster
    await running_cluster.restore()


@pytest_asyncio.fixture(loop_scope="module")
async def own_cluster(made_clusters: list[HostCluster]) -> AsyncIterator[HostCluster]:
    """A host cluster for one test, in which no server has ever been started."""
    async with open_host_cluster() as new_cluster:
        made_clusters.append(new_cluster)
        yield new_cluster


@pytest.fixture
def add_row(record_property: Callable[[str, object], None]) -> Callable[[Row], None]:
    """Return a function that adds a row to the table at the end of the session."""

    def put(row: Row) -> None:
        record_property(PROPERTY, row.cells())

    return put


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == PROPERTY and report.when == "call"
    ]
    if rows:
        terminalreporter.section("real hosts, real faults")
        for line in render_table(rows):
            terminalreporter.write_line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.root)
