"""The engine file. Environment variables override it, it overrides defaults; unknown keys fail."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from dagengine.errors import ConfigError
from dagengine.runtime.addresses import parse_host_port
from dagengine.runtime.strict_yaml import YamlRefused, read_yaml
from dagengine.server import messages

ENV_PREFIX = "DAGENGINE_"
_ENV_SEPARATOR = "__"


PlaintextConsent = Literal["whoever listens on the way can come in"]
"""The text that the engine file must contain to serve plain HTTP to other machines."""

NoPasswordConsent = Literal["anybody can start and stop servers"]
"""The text that it must contain to serve other machines if root@sys has an empty password."""

_FILES = (
    *("socket", "agent_password_file"),
    *("tls_cert_file", "tls_key_file", "tls_client_ca_file"),
)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ApiConfig(_Section):
    """Addresses, TLS, passwords and limits of the API.

    Attributes:
        host: IP address to listen on, or `localhost`.
        port: TCP port to listen on, 1..65535.
        socket: absolute path of an additional unix socket to listen on; None for none.
        advertise: `ip:port` that is part of ids; None for host:port.
        agent_password_file: absolute path of the file with the agent password; None disables it.
        tls_cert_file: absolute path of the PEM certificate chain; None for plain HTTP.
        tls_key_file: its private key, PEM without a passphrase.
        tls_client_ca_file: CA that must have signed client certificates; None requires none.
        without_tls: explicit consent to serve other machines without TLS.
        without_password: explicit consent to serve other machines without a password of root@sys.
        max_connections: total open connections, at least 1.
        max_connections_per_address: connections per client address, or per user at the socket, at
            least 1.
        header_timeout_s: limit on receiving a request's line and headers, in seconds, above 0.
        body_timeout_s: limit on receiving the body, in seconds, above 0.
        idle_timeout_s: an idle connection is closed after this time, in seconds, above 0.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=2886, ge=1, le=65535)
    socket: Path | None = None
    advertise: str | None = None
    agent_password_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    without_tls: PlaintextConsent | None = None
    without_password: NoPasswordConsent | None = None
    max_connections: int = Field(default=10_000, ge=1)
    max_connections_per_address: int = Field(default=2500, ge=1)
    header_timeout_s: float = Field(default=10, gt=0)
    body_timeout_s: float = Field(default=30, gt=0)
    idle_timeout_s: float = Field(default=75, gt=0)

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if host != "localhost":
            ipaddress.ip_address(host)
        return host

    @field_validator("advertise")
    @classmethod
    def _check_advertise(cls, text: str | None) -> str | None:
        if text is not None:
            _parse_address(text)
        return text

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError(messages.TLS_PAIR())
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError(messages.TLS_CA_WITHOUT_PAIR())
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


class StoreConfig(_Section):
    """Location of the store, and retention.

    Attributes:
        path: absolute path of the file.
        keep_days: finished DAGs are deleted this many days after their end.
        keep_dags: only this many of the newest DAGs are kept.
    """

    path: Path = Path("var/dagengine.sqlite")
    keep_days: float = Field(default=90, gt=0)
    keep_dags: int = Field(default=10_000, ge=1)


class EngineConfig(_Section):
    """The contents of the engine file.

    Attributes:
        api: settings of the API.
        store: settings of the store.
        cluster: absolute path of the cluster file.
    """

    api: ApiConfig = ApiConfig()
    store: StoreConfig = StoreConfig()
    cluster: Path


_SECTIONS: Mapping[str, type[_Section]] = {"api": ApiConfig, "store": StoreConfig}


def load_config(path: Path, environ: Mapping[str, str]) -> EngineConfig:
    """Read an engine file.

    Args:
        path: the file; relative paths in it (and in variables) are relative to its directory.
        environ: environment variables; those that name a key override the file.

    Raises:
        ConfigError: the file cannot be read, or a key or value is invalid; the message names the
            file or variable, the key and the value.
    """
    content = _read_yaml(path)
    _check_keys(content, path)
    sources = _apply_environ(content, environ)
    try:
        config = EngineConfig.model_validate(content)
    except ValidationError as exc:
        raise _explain(exc, path, sources) from exc
    return _with_absolute_paths(config, path.absolute().parent)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(
            messages.ENGINE_FILE_UNREADABLE(path=path, reason=exc.strerror),
            remedy=messages.NAME_ENGINE_FILE(),
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(messages.ENGINE_FILE_NOT_UTF8(path=path)) from exc
    except YamlRefused as exc:
        raise ConfigError(
            messages.ENGINE_FILE_UNREADABLE(path=path, reason=exc.problem), remedy=exc.remedy
        ) from exc
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(messages.ENGINE_FILE_NOT_MAPPING(path=path))
    return content


def _check_keys(content: dict[str, Any], path: Path) -> None:
    """Reject unknown keys (pydantic does not suggest the nearest one); add empty sections."""
    for key in content:
        if key not in EngineConfig.model_fields:
            raise _unknown(
                messages.KEY_IN_FILE(path=path, key=key), str(key), EngineConfig.model_fields
            )
    for name, section in _SECTIONS.items():
        values = content.get(name)
        if values is None:
            content[name] = values = {}
        if not isinstance(values, dict):
            raise ConfigError(
                messages.SECTION_NOT_MAPPING(path=path, name=name, value=values),
                remedy=messages.KEYS_OF_SECTION(name=name, known=", ".join(section.model_fields)),
            )
        for key in values:
            if key not in section.model_fields:
                raise _unknown(
                    messages.SECTION_KEY_IN_FILE(path=path, section=name, key=key),
                    str(key),
                    section.model_fields,
                )


def _apply_environ(content: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Override the file's values with variables; return the variable that set each key."""
    keys = {_variable(key): key for key in _all_keys()}
    sources: dict[str, str] = {}
    for name, value in sorted(environ.items()):
        key = keys.get(name)
        if key is not None:
            section, _, leaf = key.rpartition(".")
            (content[section] if section else content)[leaf] = value
            sources[key] = name
        elif name.startswith(ENV_PREFIX) and _ENV_SEPARATOR in name:
            # Without a separator the variable is unrelated, for example one with a password.
            raise _unknown(messages.VARIABLE(name=name), name, keys)
    return sources


def _all_keys() -> list[str]:
    inner = [f"{name}.{key}" for name, section in _SECTIONS.items() for key in section.model_fields]
    return inner + [key for key in EngineConfig.model_fields if key not in _SECTIONS]


def _variable(key: str) -> str:
    return ENV_PREFIX + key.upper().replace(".", _ENV_SEPARATOR)


def _unknown(subject: str, name: str, known_names: Mapping[str, Any]) -> ConfigError:
    nearest = difflib.get_close_matches(name, known_names, n=1, cutoff=0.0)
    return ConfigError(
        messages.UNKNOWN_KEY(subject=subject),
        remedy=messages.USE_NEAREST_KEY(nearest=nearest[0], known=", ".join(known_names)),
    )


def _explain(exc: ValidationError, path: Path, sources: Mapping[str, str]) -> ConfigError:
    first = exc.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    where = messages.VARIABLE(name=sources[key]) if key in sources else f"{path}"
    if first["type"] == "missing":
        return ConfigError(
            messages.KEY_MISSING(path=path, key=key),
            remedy=messages.SET_KEY(variable=_variable(key)),
        )
    reason = first["msg"].removeprefix("Value error, ")
    return ConfigError(
        messages.VALUE_INVALID(where=where, key=key, value=first["input"], reason=reason),
        remedy=messages.CORRECT_VALUE(key=key),
    )


def _with_absolute_paths(config: EngineConfig, base: Path) -> EngineConfig:
    def absolute(path: Path) -> Path:
        return base / path.expanduser()

    paths = {name: path for name in _FILES if (path := getattr(config.api, name)) is not None}
    return config.model_copy(
        update={
            "api": config.api.model_copy(update={n: absolute(path) for n, path in paths.items()}),
            "store": config.store.model_copy(update={"path": absolute(config.store.path)}),
            "cluster": absolute(config.cluster),
        }
    )


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
