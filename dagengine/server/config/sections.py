"""The sections of the engine file, as pydantic models."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dagengine.errors import ConfigError
from dagengine.runtime.addresses import parse_host_port
from dagengine.server import messages
from dagengine.server.config.value_errors import refuse_empty

_SERVICE_PORT = 2880  # stands for the port while none is configured
_STORE_URL = re.compile(
    r"mysql://[^:@/?#\s]+@(\[[0-9A-Fa-f:.]+\]|[^:@/?#\s\[\]]+)(:[0-9]{1,5})?/\w+"
)
_URL_WITH_PASSWORD = re.compile(r"[a-z]+://[^@/]*:[^@/]*@")
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


PlaintextConsent = Literal["whoever listens on the way can come in"]
"""The text that the engine file must contain to serve plain HTTP to other machines."""

NoPasswordConsent = Literal["anybody can start and stop servers"]
"""The text that it must contain to serve other machines if root@sys has an empty password."""

NO_SOCKET = "none"
"""The value of `socket` that disables a cluster's unix socket."""


def _check_host(host: str) -> str:
    if host != "localhost":
        ipaddress.ip_address(host)
    return host


def _check_advertise(text: str) -> str:
    _parse_address(text)
    return text


def _split_names(value: object) -> object:
    """Accept a variable: names separated by commas."""
    if isinstance(value, str):
        return [name for part in value.split(",") if (name := part.strip())]
    return value


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError(messages.NOT_HOST_NAME(name=name))
    return names


ListenHost = Annotated[str, AfterValidator(_check_host)]
AdvertisedAddress = Annotated[str, AfterValidator(_check_advertise)]
HostNames = Annotated[tuple[str, ...], BeforeValidator(_split_names), AfterValidator(_check_names)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A section of the engine file; unknown keys and empty paths are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_empty_path(cls, value: object, info: ValidationInfo) -> object:
        # An empty path would be the directory of the file.
        annotation = cls.model_fields[info.field_name or ""].annotation
        if value == "" and Path in (annotation, *get_args(annotation)):
            return refuse_empty(value)
        return value


class ApiConfig(Section):
    """Addresses, TLS, passwords and limits of the API.

    Attributes:
        host: IP address to listen on, or `localhost`.
        port: TCP port to listen on, 1..65535.
        socket: absolute path of the unix socket to listen on, or `none` for no socket. Default: the
            path of the store with the suffix `.sock`.
        advertise: `ip:port` that is part of ids; None for host:port.
        allowed_hosts: host names by which clients reach the API, in addition to IP addresses,
            `localhost` and the host of `advertise`.
        agent_password_file: absolute path of the file with the agent password; None disables it.
        tls_cert_file: absolute path of the PEM certificate chain; None for plain HTTP.
        tls_key_file: its private key, PEM without a passphrase.
        tls_client_ca_file: CA that must have signed client certificates; None requires none.
        key_file: absolute path of the RSA key that clients encrypt for; all controllers of a shared
            store have the same. Default: a file beside the SQLite store.
        controllers_ca_file: CA that signed the certificates of the other controllers of a shared
            store; None for those of the system.
        without_tls: explicit consent to serve other machines without TLS.
        without_password: explicit consent to serve other machines although root@sys has no
            password.
        max_connections: total open connections, at least 1.
        max_connections_per_address: connections per client address, or per user at the socket, at
            least 1.
        header_timeout_s: limit on receiving a request's line and headers, in seconds, above 0.
        body_timeout_s: limit on receiving the body, in seconds, above 0.
        idle_timeout_s: an idle connection is closed after this time, in seconds, above 0.
    """

    host: ListenHost = "127.0.0.1"
    port: Port = 2886
    socket: Literal["none"] | Path | None = None
    advertise: AdvertisedAddress | None = None
    allowed_hosts: HostNames = ()
    agent_password_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    key_file: Path | None = None
    controllers_ca_file: Path | None = None
    without_tls: PlaintextConsent | None = None
    without_password: NoPasswordConsent | None = None
    max_connections: int = Field(default=10_000, ge=1)
    max_connections_per_address: int = Field(default=2500, ge=1)
    header_timeout_s: float = Field(default=10, gt=0)
    body_timeout_s: float = Field(default=30, gt=0)
    idle_timeout_s: float = Field(default=75, gt=0)

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        _ensure_tls_complete(self)
        return self

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can connect."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def advertised(self) -> tuple[str, int]:
        """The (ip, port) that is part of ids.

        Raises:
            ConfigError: host:port cannot be encoded in an id.
        """
        if self.advertise is not None:
            return _parse_address(self.advertise)
        host = "127.0.0.1" if self.host == "localhost" else self.host
        try:
            return _check_address(host, self.port)
        except ValueError as exc:
            raise ConfigError(
                messages.HOST_NOT_IN_IDS(host=self.host, reason=exc),
                remedy=messages.SET_ADVERTISE(),
            ) from exc


class ServiceConfig(Section):
    """The listener of the whole service, for all clusters of a controller.

    Attributes:
        host: IP address to listen on, or `localhost`.
        port: TCP port to listen on, 1..65535; None for the socket alone.
        socket: absolute path of the unix socket to listen on. Default: `service.sock` beside the
            stores.
        allowed_hosts: host names by which clients reach the service, in addition to IP addresses
            and `localhost`.
        tls_cert_file: absolute path of the PEM certificate chain; None for plain HTTP.
        tls_key_file: its private key, PEM without a passphrase.
        tls_client_ca_file: CA whose client certificates may do everything; None accepts none.
        clusters_at_once: number of clusters that bulk starts start at the same time, at least 1.
        hosts_at_once: number of servers in those clusters, at least 1; a larger cluster is started
            alone.
        max_connections: total open connections, at least 1.
        max_connections_per_address: connections per client address, or per user at the socket, at
            least 1.
    """

    host: ListenHost = "127.0.0.1"
    port: Port | None = None
    socket: Path | None = None
    allowed_hosts: HostNames = ()
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    clusters_at_once: int = Field(default=8, ge=1)
    hosts_at_once: int = Field(default=200, ge=1)
    max_connections: int = Field(default=1000, ge=1)
    max_connections_per_address: int = Field(default=250, ge=1)

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        _ensure_tls_complete(self)
        return self

    def listener_keys(self) -> ApiConfig:
        """Return the keys of the TCP listener, in the form that clusters have."""
        keys = self.model_dump(
            exclude={"port", "socket", "clusters_at_once", "hosts_at_once"}, exclude_unset=True
        )
        return ApiConfig(**keys, port=self.port or _SERVICE_PORT)


class ClusterEntry(Section):
    """One of several clusters; a key that is not set has the value of the section `api`.

    Attributes:
        file: absolute path of the cluster file.
        host: IP address to listen on, or `localhost`.
        port: TCP port to listen on, 1..65535.
        socket: absolute path of the unix socket to listen on, or `none` for no socket. Default: the
            path of the store with the suffix `.sock`.
        advertise: `ip:port` that is part of ids; None for host:port.
        agent_password_file: absolute path of the file with the agent password.
        tls_cert_file: absolute path of the PEM certificate chain.
        tls_key_file: its private key, PEM without a passphrase.
        tls_client_ca_file: CA that must have signed client certificates.
        without_tls: explicit consent to serve other machines without TLS.
        without_password: explicit consent to serve other machines although root@sys has no
            password.
    """

    file: Path
    host: ListenHost | None = None
    port: Port | None = None
    socket: Literal["none"] | Path | None = None
    advertise: AdvertisedAddress | None = None
    agent_password_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    without_tls: PlaintextConsent | None = None
    without_password: NoPasswordConsent | None = None

    def merge(self, defaults: ApiConfig) -> ApiConfig:
        """Return the keys of the cluster's listener; pydantic refuses those that do not fit."""
        own = self.model_dump(exclude={"file"}, exclude_none=True)
        return ApiConfig.model_validate({**defaults.model_dump(exclude_unset=True), **own})


class StoreConfig(Section):
    """Location of the stores, and retention in each.

    Attributes:
        path: absolute path of the file, for one cluster.
        directory: absolute path of the directory with one file for each cluster, `NAME.sqlite`,
            and `service.sqlite`; None unless several clusters are configured.
        url: the shared store of several controllers, `mysql://USER@HOST:PORT/DATABASE`; None for
            SQLite.
        password_file: absolute path of the file with the password of the shared store's user.
        tls_ca_file: absolute path of the CA certificates to trust for the shared store's
            certificate, PEM; None for those of the system. A connection to this machine uses TLS
            only if this key is set; every other connection always does.
        lease_s: a controller of a shared store is replaced after this time without a heartbeat, in
            seconds, 2 to 60; the same in all controllers.
        keep_days: finished DAGs are deleted this many days after their end.
        keep_dags: only this many of a cluster's newest DAGs are kept.
    """

    path: Path = Path("var/dagengine.sqlite")
    directory: Path | None = None
    url: str | None = None
    password_file: Path | None = None
    tls_ca_file: Path | None = None
    lease_s: float = Field(default=2.5, ge=2, le=60)
    keep_days: float = Field(default=90, gt=0)
    keep_dags: int = Field(default=10_000, ge=1)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None and _STORE_URL.fullmatch(url) is None:
            has_password = _URL_WITH_PASSWORD.match(url) is not None
            raise ValueError(
                messages.STORE_URL_WITH_PASSWORD() if has_password else messages.STORE_URL_FORM()
            )
        return url

    @model_validator(mode="after")
    def _check_one_place(self) -> Self:
        places = {"path": "path" in self.model_fields_set, "directory": self.directory is not None}
        places["url"] = self.url is not None
        chosen = [name for name, is_chosen in places.items() if is_chosen]
        if len(chosen) > 1:
            raise ValueError(messages.STORE_PLACES(first=chosen[0], second=chosen[1]))
        if (self.url is None) != (self.password_file is None):
            raise ValueError(messages.STORE_URL_PAIR())
        if self.tls_ca_file is not None and self.url is None:
            raise ValueError(messages.STORE_CA_WITHOUT_URL())
        return self


def _ensure_tls_complete(keys: ApiConfig | ServiceConfig) -> None:
    if (keys.tls_cert_file is None) != (keys.tls_key_file is None):
        raise ValueError(messages.TLS_PAIR())
    if keys.tls_client_ca_file is not None and keys.tls_cert_file is None:
        raise ValueError(messages.TLS_CA_WITHOUT_PAIR())


def _parse_address(text: str) -> tuple[str, int]:
    """Parse `ip:port` or `[ipv6]:port`; raise ValueError."""
    return _check_address(*parse_host_port(text))


def _check_address(ip: str, port: int) -> tuple[str, int]:
    """Reject addresses that clients could not decode from an id (protocol 4.5)."""
    if not 1 <= port <= 65535:
        raise ValueError(messages.PORT_RANGE())
    if ipaddress.ip_address(ip).packed[0] == 0:
        raise ValueError(messages.LEADING_ZERO_BYTE(ip=ip))
    return ip, port
