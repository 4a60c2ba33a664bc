"""The engine file as a value: its sections, and the settings of each cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dagengine.errors import ConfigError
from dagengine.server.config import messages
from dagengine.server.config.sections import (
    NO_SOCKET,
    ApiConfig,
    ClusterEntry,
    Section,
    ServiceConfig,
    StoreConfig,
)

SERVICE = "service"
"""The name that no cluster may have: `service.sqlite` is the service's own store."""

_NAME = re.compile(r"[a-z0-9-]{1,32}")
_OLD_STORE = "dagengine.sqlite"


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The settings of one cluster.

    Attributes:
        name: name of the cluster; empty if the engine file names only the cluster file, which then
            has the name.
        section: where the engine file has the cluster's keys: `api` or `clusters.NAME`.
        file: absolute path of the cluster file.
        api: the cluster's listener.
        store: absolute path of the cluster's SQLite file.
    """

    name: str
    section: str
    file: Path
    api: ApiConfig
    store: Path

    @property
    def socket_path(self) -> Path | None:
        """The path of the unix socket: by default that of the store, with another suffix."""
        if self.api.socket == NO_SOCKET:
            return None
        return Path(self.api.socket or self.store.with_suffix(".sock"))

    def check_name(self, name: str) -> None:
        """Raise ConfigError if the cluster file has another name."""
        if self.name and name != self.name:
            raise ConfigError(
                messages.CLUSTER_NAME_DIFFERS(section=self.section, path=self.file, name=name),
                remedy=messages.USE_ONE_CLUSTER_NAME(name=name),
            )


class EngineConfig(Section):
    """The contents of the engine file.

    Attributes:
        api: settings of the API; with several clusters, the defaults of their listeners.
        service: the listener of the whole service. With `clusters`, its socket is always open.
        store: settings of the store.
        cluster: absolute path of the cluster file, for one cluster. Exactly one of `cluster` and
            `clusters` is required.
        clusters: the clusters by name.
    """

    api: ApiConfig = ApiConfig()
    service: ServiceConfig | None = None
    store: StoreConfig = StoreConfig()
    cluster: Path | None = None
    clusters: Mapping[str, ClusterEntry] = {}

    @property
    def cluster_configs(self) -> tuple[ClusterConfig, ...]:
        """The settings of each cluster, in the order of the file."""
        if self.cluster is not None:
            return (ClusterConfig("", "api", self.cluster, self.api, self.store.path),)
        return tuple(
            ClusterConfig(
                name, f"clusters.{name}", entry.file, entry.merge(self.api), self.store_of(name)
            )
            for name, entry in self.clusters.items()
        )

    def store_of(self, name: str) -> Path:
        """Return the path of a cluster's SQLite file; with a shared store, no such file is made.

        The default of the cluster's socket is beside it.
        """
        if self.store.directory is None and self.store.url is None:
            return self.store.path
        return self.store_directory / f"{name}.sqlite"

    @property
    def store_directory(self) -> Path:
        """The directory of the stores."""
        return self.store.directory or self.store.path.parent

    @property
    def service_store(self) -> Path:
        """The SQLite file with the data of the service."""
        return self.store_directory / f"{SERVICE}.sqlite"

    @property
    def key_file(self) -> Path | None:
        """The RSA key of a shared store; None for a key beside each SQLite store."""
        return self.api.key_file

    @property
    def service_config(self) -> ServiceConfig | None:
        """The service's listener; None if this controller has none."""
        keys = self.service
        if keys is None:
            if not self.clusters:
                return None
            keys = ServiceConfig()
        if keys.socket is None:
            keys = keys.model_copy(update={"socket": self.store_directory / f"{SERVICE}.sock"})
        return keys

    def find_cluster(self, name: str | None) -> ClusterConfig:
        """Return the settings of a cluster; None stands for the only one.

        Raises:
            ConfigError: the name is not configured, or is missing although there are several.
        """
        configs = self.cluster_configs
        if name is None and len(configs) == 1:
            return configs[0]
        known = ", ".join(config.name for config in configs if config.name)
        if name is None:
            raise ConfigError(messages.CLUSTER_NOT_CHOSEN(known=known))
        for config in configs:
            if name == config.name:
                return config
        if not known:
            raise ConfigError(messages.CLUSTER_UNNAMED(name=name))
        raise ConfigError(messages.CLUSTER_UNKNOWN(name=name), remedy=messages.KNOWN(known=known))

    def ensure_store_supported(self) -> None:
        """Refuse stores that this controller cannot use.

        Raises:
            ConfigError: the directory has only the store of the time before there were several
                clusters.
        """
        directory = self.store.directory
        old = None if directory is None else directory / _OLD_STORE
        if old is None or not old.exists():
            return
        if not any(config.store.exists() for config in self.cluster_configs):
            raise ConfigError(
                messages.OLD_STORE_LEFT(directory=directory, path=old),
                remedy=messages.COPY_OLD_STORE(path=old, directory=directory),
            )


@dataclass(frozen=True, slots=True)
class StructureFault:
    """What is wrong with the clusters as a whole, and the path of the key that corrects it."""

    loc: tuple[str, ...]
    error: ConfigError


def find_structure_fault(config: EngineConfig) -> StructureFault | None:
    """Return what is wrong with the clusters of an engine file as a whole, or None.

    Names, stores and addresses must be unique and belong together.
    """
    for name in config.clusters:
        if not _NAME.fullmatch(name) or name == SERVICE:
            error = ConfigError(
                messages.CLUSTER_NAME_INVALID(name=name), remedy=messages.USE_CLUSTER_NAME()
            )
            return StructureFault(("clusters", name), error)
    if config.cluster is not None and config.store.directory is not None:
        error = ConfigError(
            messages.DIRECTORY_WITHOUT_NAMES(), remedy=messages.NAME_CLUSTERS(path=config.cluster)
        )
        return StructureFault(("store", "directory"), error)
    if len(config.clusters) > 1 and config.store.directory is None and config.store.url is None:
        error = ConfigError(
            messages.PATH_FOR_CLUSTERS(count=len(config.clusters)),
            remedy=messages.COPY_STORE(path=config.store.path),
        )
        return StructureFault(("store", "path"), error)
    return _find_collision(config)


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A value that only one listener may have; equal `identity` collides."""

    key: str
    value: str
    host: str | None
    identity: str

    def collides(self, other: _Claimed) -> bool:
        if self.identity != other.identity:
            return False
        if self.host is None or other.host is None or self.host == other.host:
            return True
        return not {self.host, other.host}.isdisjoint(("0.0.0.0", "::"))  # noqa: S104


def _find_collision(config: EngineConfig) -> StructureFault | None:
    seen: list[_Claimed] = []
    for claimed in _claims(config):
        for other in seen:
            if claimed.collides(other):
                error = ConfigError(
                    messages.ADDRESSES_COLLIDE(
                        first=other.key, second=claimed.key, value=claimed.value
                    ),
                    remedy=messages.SET_OTHER_ADDRESS(second=claimed.key),
                )
                return StructureFault(tuple(claimed.key.split(".")), error)
        seen.append(claimed)
    return None


def _claims(config: EngineConfig) -> Iterator[_Claimed]:
    for cluster in config.cluster_configs:
        api = cluster.api
        host = "127.0.0.1" if api.host == "localhost" else api.host
        yield _Claimed(f"{cluster.section}.port", str(api.port), host, f"port {api.port}")
        if cluster.socket_path is not None:
            yield _claimed_path(f"{cluster.section}.socket", cluster.socket_path)
        if api.advertise is not None:
            address = api.advertise
            yield _Claimed(f"{cluster.section}.advertise", address, None, f"address {address}")
    service = config.service_config
    if service is None:
        return
    if service.port is not None:
        host = "127.0.0.1" if service.host == "localhost" else service.host
        yield _Claimed(f"{SERVICE}.port", str(service.port), host, f"port {service.port}")
    if service.socket is not None:
        yield _claimed_path(f"{SERVICE}.socket", service.socket)


def _claimed_path(key: str, path: Path) -> _Claimed:
    return _Claimed(key, str(path), None, f"path {path.resolve()}")
