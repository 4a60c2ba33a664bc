"""Points of a start at which a host is lost: before a stage, or during it. Data for the matrix.

A hold blocks the stage instead of timing it, so the point lasts until the test continues.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.realhosts.host import Host
from tests.realhosts.host_cluster import HostCluster, until
from tests.realhosts.installation import SQL_PORT

STAGES = 6
_LANES = (2, 3, 4)


@dataclass(frozen=True, slots=True)
class FaultPoint:
    """A point of a start.

    Attributes:
        name: for reports.
        stage: the stage whose step is held.
        noticing_stage: the first later stage that needs the host, and that fails.
        prepare: called before the start; returns a function that waits until the point is reached.
        is_fresh: the host's server must not run before.
    """

    name: str
    stage: int
    noticing_stage: int
    prepare: Callable[[HostCluster, Host], Callable[[], Awaitable[None]]]
    is_fresh: bool = False

    @property
    def is_lane(self) -> bool:
        return self.noticing_stage in _LANES


def _held(hold: str) -> Callable[[HostCluster, Host], Callable[[], Awaitable[None]]]:
    """Hold the step of a stage in the controller, in every lane."""

    def prepare(cluster: HostCluster, host: Host) -> Callable[[], Awaitable[None]]:
        stage = int(hold[0])
        names = cluster.names if stage in _LANES else ("cluster",)
        (cluster.holds / hold).touch()

        async def wait_for_point() -> None:
            files = [cluster.holds / f"{hold}-{name}" for name in names]
            await until(lambda: all(file.exists() for file in files), f"the hold {hold}")

        return wait_for_point

    return prepare


def _barrier(name: str) -> Callable[[HostCluster, Host], Callable[[], Awaitable[None]]]:
    """Hold a program on the host itself."""

    def prepare(cluster: HostCluster, host: Host) -> Callable[[], Awaitable[None]]:
        barrier = host.barrier(name)
        cluster.undo.callback(barrier.open)

        async def wait_for_point() -> None:
            await until(lambda: barrier.is_reached, f"the barrier {name} on {host.ip}")

        return wait_for_point

    return prepare


def _frozen_server(stage: int) -> Callable[[HostCluster, Host], Callable[[], Awaitable[None]]]:
    """Let the server accept the connection without a response, so that the step waits for it."""

    def prepare(cluster: HostCluster, host: Host) -> Callable[[], Awaitable[None]]:
        wait_for_hold = _held(f"{stage}-before")(cluster, host)

        async def wait_for_point() -> None:
            await wait_for_hold()
            await until(lambda: host.is_listening(SQL_PORT), "the server's port")
            host.signal(host.servers(), signal.SIGSTOP)
            cluster.undo.callback(lambda: host.signal(host.servers(), signal.SIGCONT))
            release(cluster)
            await until(lambda: host.has_connection(SQL_PORT), "the SQL login")

        return wait_for_point

    return prepare


def release(cluster: HostCluster) -> None:
    """Let the held steps of the controller continue."""
    for hold in cluster.holds.iterdir():
        hold.unlink()


FAULT_POINTS = (
    FaultPoint("before stage 1", 1, 2, _held("1-before")),
    FaultPoint("in the middle of stage 1", 1, 2, _held("1-after")),
    FaultPoint("before stage 2", 2, 2, _held("2-before")),
    FaultPoint("in the middle of stage 2", 2, 2, _barrier("dagengine-facts")),
    FaultPoint("before stage 3", 3, 3, _held("3-before"), is_fresh=True),
    FaultPoint("in the middle of stage 3", 3, 3, _barrier("launch"), is_fresh=True),
    FaultPoint("before stage 4", 4, 4, _held("4-before"), is_fresh=True),
    FaultPoint("in the middle of stage 4", 4, 4, _frozen_server(4), is_fresh=True),
    FaultPoint("before stage 5", 5, 6, _held("5-before")),
    FaultPoint("in the middle of stage 5", 5, 6, _held("5-after")),
    FaultPoint("before stage 6", 6, 6, _held("6-before")),
    FaultPoint("in the middle of stage 6", 6, 6, _frozen_server(6)),
)
