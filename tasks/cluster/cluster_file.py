"""The cluster file: its servers and how to reach them (docs/reference/cluster_file.md)."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dagengine import AgentAddress
from dagengine.errors import ConfigError
from dagengine.extension import WatchedFile
from dagengine.remote import HostAddress, Secret
from tasks.cluster import messages
from tasks.cluster.flavour import Flavour
from tasks.cluster.observation import Observation, TableRow, summarize
from tasks.cluster.read_cluster import read_cluster
from tasks.cluster.root_password import PasswordSource, RootPassword
from tasks.cluster.schema import DEFAULTS, FileSchema, ServerEntry, SqlSection, check_file
from tasks.cluster.ssh_section import build_address


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


class ClusterFile:
    """The current cluster and its last observed state; implements dagengine's ClusterView."""

    def __init__(self, path: Path, flavours: Iterable[Flavour]) -> None:
        """Load the file.

        Args:
            path: the file.
            flavours: the flavours that the file may name.

        Raises:
            ConfigError: the file cannot be used.
        """
        self.path = path
        self._observations: dict[str, Observation] = {}
        self._rows: Mapping[tuple[str, int], TableRow] = {}
        self._password = RootPassword()
        self._flavours = tuple(flavours)
        self._file = WatchedFile(path, lambda path: load_cluster(path, self._flavours))
        self.current = self._read()
        self._summary = summarize(())

    @property
    def name(self) -> str:
        return self.current.name

    @property
    def cluster_id(self) -> int:
        return self.current.cluster_id

    @property
    def servers(self) -> Sequence[Server]:
        return self.current.servers

    @property
    def version(self) -> str:
        """Version of the server program last reported by a server; empty if not known yet."""
        return self._summary.version

    @property
    def ob_state(self) -> int:
        """Best of the servers' last observed states: 3 while at least one answers SQL."""
        return self._summary.ob_state

    @property
    def observed_at(self) -> datetime | None:
        """Time at which `ob_state` was observed."""
        return self._summary.observed_at

    def observation(self, name: str) -> Observation | None:
        """Return the last observation of a server; None before the first."""
        return self._observations.get(name)

    def row(self, server: Server) -> TableRow | None:
        """Return the server's last row in the cluster's own table; None if it was never read."""
        return self._rows.get((server.ip, server.rpc_port))

    def record_observation(self, name: str, observation: Observation) -> None:
        """Store an observation of a server."""
        self._observations[name] = observation
        self._sum_up()

    def record_table(self, rows: Mapping[tuple[str, int], TableRow]) -> None:
        """Store the rows of the cluster's own table, by ip and rpc port."""
        self._rows = rows

    def reload(self) -> None:
        """Read the file again if it changed; if it cannot be used, keep the current cluster.

        Raises:
            ConfigError: the new file, or the password it refers to, cannot be used.
        """
        cluster = self._read()
        if cluster is not self.current:
            self._password.read(cluster.root_password)
            self.current = cluster
            self._sum_up()

    def server(self, name: str) -> Server:
        """Return the server with this name.

        Raises:
            ConfigError: the cluster file no longer contains it.
        """
        for server in self.current.servers:
            if server.name == name:
                return server
        raise ConfigError(
            messages.SERVER_REMOVED(path=self.path, name=name),
            remedy=messages.RESTORE_SERVER(),
        )

    def root_password(self) -> str:
        """Return the current password of root@sys; empty only if the file declares that.

        Raises:
            ConfigError: the file names no source, or the source is missing or empty.
        """
        return self._password.read(self.current.root_password)

    def _read(self) -> Cluster:
        try:
            return self._file.read()
        except OSError as exc:
            raise ConfigError(
                messages.FILE_UNREADABLE(path=self.path, reason=exc.strerror)
            ) from exc

    def _sum_up(self) -> None:
        names = [server.name for server in self.servers]
        self._summary = summarize(
            [self._observations[name] for name in names if name in self._observations]
        )


def load_cluster(path: Path, flavours: Iterable[Flavour]) -> Cluster:
    """Read and validate a cluster file in the format of this project or of obd.

    Args:
        path: the file.
        flavours: the flavours that the file may name.

    Raises:
        ConfigError: the file cannot be used; the message names the file, the key and the reason.
    """
    content = read_cluster(path, login=getpass.getuser())
    by_name = {flavour.name: flavour for flavour in flavours}
    file = check_file(path, content.values, by_name)
    source = content.password or PasswordSource(
        path,
        env=file.root_password_env,
        file=_resolve(path, file.root_password_file) if file.root_password_file else None,
        is_none=file.root_password is not None,
    )
    cluster = _build_cluster(path, file, by_name[file.flavour], source)
    return replace(cluster, notices=content.notices)


def _build_cluster(
    path: Path, file: FileSchema, flavour: Flavour, source: PasswordSource
) -> Cluster:
    servers = tuple(
        _build_server(path, file, flavour, zone, entry)
        for zone, entries in file.zones.items()
        for entry in entries
    )
    _check_unique(path, servers)
    return Cluster(
        name=file.name,
        cluster_id=file.id,
        flavour=flavour,
        servers=servers,
        root_password=source,
        cluster_sql_timeout_s=file.cluster_sql_timeout_s,
        kill_after_s=file.stop.kill_after_s,
        freeze_timeout_s=file.stop.freeze_timeout_s,
    )


def _build_server(
    path: Path, file: FileSchema, flavour: Flavour, zone: str, entry: ServerEntry
) -> Server:
    def pick(name: str) -> Any:
        for settings in (entry, file.defaults, DEFAULTS):
            if (value := getattr(settings, name)) is not None:
                return value
        return None

    home = pick("home")
    if not home or not home.startswith("/") or not home.strip("/"):
        raise ConfigError(
            messages.PATH_NOT_ABSOLUTE(path=path, ip=entry.ip, key="home", value=home)
        )
    _check_characters(path, entry.ip, "home", home)
    options = {**file.defaults.start_options, **entry.start_options}
    sql: SqlSection = pick("sql") or SqlSection()
    return Server(
        name=str(AgentAddress(entry.ip, pick("agent_port"))),
        ip=entry.ip,
        agent_port=pick("agent_port"),
        sql_port=pick("sql_port"),
        rpc_port=pick("rpc_port"),
        zone=zone,
        home=home.rstrip("/"),
        address=build_address(path.parent, entry.ip, (file.ssh, file.defaults.ssh, entry.ssh)),
        start_options={name: str(value) for name, value in options.items()},
        sql_via=sql.via,
        flavour=flavour,
        data_dir=_check_directory(path, entry.ip, "data_dir", pick("data_dir")),
        redo_dir=_check_directory(path, entry.ip, "redo_dir", pick("redo_dir")),
        stable_s=file.health.stable_s,
    )


def _check_directory(path: Path, ip: str, key: str, value: str | None) -> str | None:
    if value is None:
        return None
    if not value.startswith("/") or not value.strip("/"):
        raise ConfigError(messages.PATH_NOT_ABSOLUTE(path=path, ip=ip, key=key, value=value))
    _check_characters(path, ip, key, value)
    return value.rstrip("/")


def _check_characters(path: Path, ip: str, key: str, value: str) -> None:
    """Refuse what would be ambiguous in the line-oriented output of the host scripts."""
    if "\\" in value or not value.isprintable():
        raise ConfigError(
            messages.PATH_CHARACTERS(path=path, key=key, ip=ip, value=value),
            remedy=messages.RENAME_DIRECTORY(),
        )


def _check_unique(path: Path, servers: Sequence[Server]) -> None:
    name_by_key: dict[tuple[object, ...], str] = {}
    for server in servers:
        host = (server.address.host, server.address.port)
        for key, subject in (
            (("name", server.name), "name"),
            (("home", *host, server.home), messages.HOME(home=server.home)),
            (("port", *host, server.sql_port), messages.SQL_PORT(port=server.sql_port)),
        ):
            if key in name_by_key:
                same = {"first": name_by_key[key], "second": server.name, "key": subject}
                raise ConfigError(messages.SERVERS_COLLIDE(path=path, **same))
            name_by_key[key] = server.name


def _resolve(path: Path, text: str) -> Path:
    return path.parent / Path(text).expanduser()
