"""Access to a cluster's servers: the current cluster file, the hosts and the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dagengine import Clock
from dagengine.remote import Runner, RunnerPool
from tasks.cluster.cluster_file import ClusterFile, Server
from tasks.cluster.observation import Observation


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """The arguments that all actions on a cluster share.

    For SQL see `tasks.sql.cluster.open_cluster_sql`.

    Attributes:
        cluster: the current cluster file; receives observations.
        pool: runs commands on hosts.
        clock: source of time.
    """

    cluster: ClusterFile
    pool: RunnerPool
    clock: Clock

    def server(self, name: str) -> Server:
        """Return the server with this name.

        Raises:
            ConfigError: the cluster file no longer contains it.
        """
        return self.cluster.server(name)

    def runner(self, server: Server) -> Runner:
        """Return the runner for the server's host."""
        return self.pool.runner(server.address)

    def now(self) -> datetime:
        """Return the time, in aware UTC."""
        return self.clock.now()

    def record(self, server: Server, ob_state: int, *, version: str = "") -> None:
        """Record the state of a server, as observed now."""
        observation = Observation(self.now(), ob_state, version=version)
        self.cluster.record_observation(server.name, observation)
