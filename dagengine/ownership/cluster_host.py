"""The part of a controller that runs the engines of its clusters."""

from __future__ import annotations

from typing import Protocol

from dagengine.act_guard import ActGuard
from dagengine.model.fencing import Ownership


class ClusterHost(Protocol):
    """Opens and closes the engines of clusters. At most one call per cluster runs at a time."""

    async def open(self, cluster: str, ownership: Ownership, act_guard: ActGuard) -> None:
        """Open the engine of a cluster, as after a restart.

        Args:
            cluster: its name.
            ownership: guards every commit of the engine.
            act_guard: guards the commands of its steps.

        Raises:
            DagengineError: the engine does not run, and nothing of it is left.
        """
        ...

    async def close(self, cluster: str) -> None:
        """Close the engine: its commits are finished, its attempts end as at a stop."""
        ...

    async def drop(self, cluster: str) -> None:
        """End the engine without writing, because another controller may own the cluster.

        Attempts are cancelled; commits that wait are discarded.
        """
        ...

    def is_running(self, cluster: str) -> bool:
        """Return whether the engine is open and schedules."""
        ...

    def is_idle(self, cluster: str) -> bool:
        """Return whether it has no unfinished DAG, and has had no open stream for 60 s."""
        ...
