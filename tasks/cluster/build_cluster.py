"""The cluster that a valid cluster file describes, and the checks that concern several keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagengine import AgentAddress
from dagengine.errors import ConfigError, Message
from dagengine.extension import locate
from tasks.cluster import messages
from tasks.cluster.flavour import Flavour
from tasks.cluster.root_password import PasswordSource
from tasks.cluster.schema import DEFAULTS, FileSchema, ServerEntry, SqlSection
from tasks.cluster.servers import Cluster, Server
from tasks.cluster.ssh_section import build_address


def build_cluster(
    path: Path, file: FileSchema, flavour: Flavour, source: PasswordSource
) -> Cluster:
    """Build the cluster.

    Args:
        path: the file, for relative paths and messages.
        file: its content.
        flavour: the kind of its servers.
        source: where to read the password of root@sys.

    Raises:
        ConfigError: a path is not usable, or servers collide; the message names file and line.
    """
    places = [
        _Place(path, file, zone, number)
        for zone, entries in file.zones.items()
        for number in range(len(entries))
    ]
    servers = tuple(_build_server(place, flavour) for place in places)
    _check_unique(places, servers)
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


@dataclass(frozen=True, slots=True)
class _Place:
    """A server's place in a cluster file."""

    path: Path
    file: FileSchema
    zone: str
    number: int

    @property
    def entry(self) -> ServerEntry:
        return self.file.zones[self.zone][self.number]

    def pick(self, key: str) -> Any:
        """Return the value of a key: of the server, else of the defaults."""
        for settings in (self.entry, self.file.defaults, DEFAULTS):
            if (value := getattr(settings, key)) is not None:
                return value
        return None

    def locate(self, key: str) -> str:
        """Return file and line of the value of a key, or of the server if it has a default."""
        is_default = getattr(self.entry, key) is None and getattr(self.file.defaults, key)
        loc = ("defaults", key) if is_default else ("zones", self.zone, self.number, key)
        return locate(self.path, loc)

    def locate_server(self, key: str = "ip") -> str:
        """Return file and line of the server, or of a key that it has itself."""
        return locate(self.path, ("zones", self.zone, self.number, key))


def _build_server(place: _Place, flavour: Flavour) -> Server:
    entry, file, pick = place.entry, place.file, place.pick
    if pick("home") is None:
        raise ConfigError(
            messages.HOME_NOT_SET(path=place.locate_server(), ip=entry.ip),
            remedy=messages.ADD_HOME(),
        )
    options = {**file.defaults.start_options, **entry.start_options}
    sql: SqlSection = pick("sql") or SqlSection()
    ssh = (file.ssh, file.defaults.ssh, entry.ssh)
    home = _check_directory(place, "home")
    assert home is not None
    return Server(
        name=str(AgentAddress(entry.ip, pick("agent_port"))),
        ip=entry.ip,
        agent_port=pick("agent_port"),
        sql_port=pick("sql_port"),
        rpc_port=pick("rpc_port"),
        zone=place.zone,
        home=home,
        address=build_address(place.path.parent, entry.ip, ssh),
        start_options={name: str(value) for name, value in options.items()},
        sql_via=sql.via,
        flavour=flavour,
        data_dir=_check_directory(place, "data_dir"),
        redo_dir=_check_directory(place, "redo_dir"),
        stable_s=file.health.stable_s,
    )


def _check_directory(place: _Place, key: str) -> str | None:
    """Return an absolute path.

    Characters are refused that would be ambiguous in the line-oriented output of the host scripts.
    """
    value: str | None = place.pick(key)
    if value is None:
        return None
    if not value.startswith("/") or not value.strip("/"):
        refusal, remedy = messages.PATH_NOT_ABSOLUTE, messages.WRITE_ABSOLUTE_PATH
    elif "\\" in value or not value.isprintable():
        refusal, remedy = messages.PATH_CHARACTERS, messages.RENAME_DIRECTORY
    else:
        return value.rstrip("/")
    reason = refusal(path=place.locate(key), ip=place.entry.ip, key=key, value=value)
    raise ConfigError(reason, remedy=remedy())


def _check_unique(places: list[_Place], servers: tuple[Server, ...]) -> None:
    name_by_identity: dict[tuple[object, ...], str] = {}
    for place, server in zip(places, servers, strict=True):
        if server.sql_port == server.rpc_port and _uses_rpc_port(place, server):
            raise ConfigError(
                messages.PORTS_EQUAL(
                    path=_locate_ports(place), server=server.name, port=server.rpc_port
                ),
                remedy=messages.SET_RPC_PORT(),
            )
        for key, identity, subject, remedy in _identities(server):
            first = name_by_identity.setdefault((key, *identity), server.name)
            if first is not server.name:
                where = place.locate_server("ip" if key == "name" else key)
                raise ConfigError(
                    messages.SERVERS_COLLIDE(
                        path=where, first=first, second=server.name, key=subject
                    )
                    if subject
                    else messages.SERVER_TWICE(path=where, server=server.name),
                    remedy=remedy(),
                )


def _uses_rpc_port(place: _Place, server: Server) -> bool:
    """Return whether the server listens on the RPC port, or the file at least sets it."""
    settings = (place.entry, place.file.defaults)
    return "rpc_port" in server.ports or any(each.rpc_port is not None for each in settings)


def _locate_ports(place: _Place) -> str:
    """Return the place of the port that a server, or else the defaults, set."""
    entry, defaults = place.entry, place.file.defaults
    for settings, loc in ((entry, ("zones", place.zone, place.number)), (defaults, ("defaults",))):
        for key in ("rpc_port", "sql_port"):
            if getattr(settings, key) is not None:
                return locate(place.path, (*loc, key))
    return place.locate_server()


def _identities(server: Server) -> Iterator[tuple[str, tuple[object, ...], str, Message]]:
    """Yield what no other server may have: key, value, its text and the remedy."""
    host = (server.address.host, server.address.port)
    yield "name", (server.name,), "", messages.SET_AGENT_PORT
    home = messages.HOME(home=server.home)
    yield "home", (*host, server.home), home, messages.SET_HOME
    port = messages.SQL_PORT(port=server.sql_port)
    yield "sql_port", (*host, server.sql_port), port, messages.SET_SQL_PORT
