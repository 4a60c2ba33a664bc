"""A cluster and its servers, as the cluster file describes them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from dagengine.remote import HostAddress, Secret
from tasks.cluster.flavour import Flavour
from tasks.cluster.root_password import PasswordSource


@dataclass(frozen=True, slots=True)
class Server:
    """A server. `name` is `ip:agent_port`, with brackets around an IPv6 address."""

    name: str
    ip: str
    agent_port: int
    sql_port: int
    rpc_port: int
    zone: str
    home: str
    address: HostAddress
    start_options: Mapping[str, str]
    sql_via: str
    flavour: Flavour
    data_dir: str | None = None  #: None: the server's default, below home
    redo_dir: str | None = None
    stable_s: float = 0.0  #: how long it must answer SQL before it counts as healthy

    @property
    def binary(self) -> str:
        """Path of the server program."""
        return f"{self.home}/{self.flavour.program}"

    @property
    def log_file(self) -> str:
        """Path of the server's own log."""
        return f"{self.home}/{self.flavour.log}"

    @property
    def data_path(self) -> str:
        """Data directory: the configured one, else the default of the program."""
        return self.data_dir or f"{self.home}/store"

    @property
    def redo_path(self) -> str:
        """Directory of the redo log: the configured one, else the default of the program."""
        if self.redo_dir:
            return self.redo_dir
        return posixpath.join(self.data_path, self.flavour.redo_subdirectory).rstrip("/")

    @property
    def ports(self) -> Mapping[str, int]:
        """Ports on which the server listens, by their key in the cluster file."""
        option = self.flavour.rpc_option
        if option and self.start_options.get(option, "").lower() not in ("true", "1", "on", "yes"):
            return {"sql_port": self.sql_port}
        return {"sql_port": self.sql_port, "rpc_port": self.rpc_port}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as described by its file.

    Attributes:
        cluster_sql_timeout_s: limit for a statement on the cluster's SQL to be answered and to
            take effect.
        kill_after_s: delay between SIGTERM and SIGKILL when a server is stopped.
        freeze_timeout_s: limit for the minor freeze before a stop.
        root_password: where to read the password of root@sys.
        notices: remarks on the file for operators.
    """

    name: str
    cluster_id: int
    flavour: Flavour
    servers: tuple[Server, ...]
    root_password: PasswordSource
    cluster_sql_timeout_s: float
    kill_after_s: float
    freeze_timeout_s: float
    notices: tuple[str, ...] = ()

    @property
    def password(self) -> Secret | None:
        """Password that an obd file holds in clear."""
        return self.root_password.clear
