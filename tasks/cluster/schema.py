"""The keys of a cluster file (docs/reference/cluster_file.md): types, ranges, messages."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from dagengine.errors import ConfigError
from dagengine.extension import locate, refuse_empty, render_yaml_value, value_error
from tasks.cluster import messages
from tasks.cluster.ssh_section import SshSection

# `--zone` separates names by commas; the others would need quotes in a shell or in SQL.
_ZONE_NAME = re.compile(r"[^,;'\"`\\\x00-\x1f]+")


def _check_zone_name(name: str) -> str:
    if not _ZONE_NAME.fullmatch(name):
        raise ValueError
    return name


ZoneName = Annotated[str, AfterValidator(_check_zone_name)]


_OF_A_KEY = "[key]"  # pydantic's last part of the location of a key
_MAX_ID = 4_294_901_759
"""Source: range of the parameter cluster_id in OceanBase's reference."""


class Section(BaseModel):
    """A map of known keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _refuse_empty = field_validator("*", mode="before")(refuse_empty)


class SqlSection(Section):
    """How to reach the SQL port of a server.

    Attributes:
        via: `ssh` through the connection to the host, `direct` from the controller.
    """

    via: Literal["ssh", "direct"] = "ssh"


class StopSection(Section):
    """Time limits of a stop.

    Attributes:
        kill_after_s: from SIGTERM to SIGKILL.
        freeze_timeout_s: of the minor freeze before a stop.
    """

    kill_after_s: float = Field(default=30.0, ge=0, le=600)
    freeze_timeout_s: float = Field(default=600.0, gt=0, le=3600)


class HealthSection(Section):
    """When a started server counts as healthy.

    Attributes:
        stable_s: time for which it must answer SQL.
    """

    stable_s: float = Field(default=0.0, ge=0, le=250)


class ServerSettings(Section):
    """Keys of a server, and of the defaults for all servers.

    Attributes:
        agent_port: part of the server's name, `ip:agent_port`; nothing listens there. The limits
            are those of the API for names in requests.
        sql_port: port for MySQL clients.
        rpc_port: port for the other servers; part of the server's name inside an OceanBase cluster.
        home: directory of the server, with `bin/`; required in `defaults` or at each server.
        data_dir: data of a first start; without it `<home>/store`.
        redo_dir: redo log of a first start; without it `<data_dir>/redo`.
        ssh: how to reach the host; other keys are those of the outer `ssh` sections.
        sql: how to reach the SQL port.
        start_options: parameters that a first start sets, such as `memory_limit: 2G`.
    """

    agent_port: int | None = Field(default=None, ge=1025, le=65535)
    sql_port: int | None = Field(default=None, ge=1, le=65535)
    rpc_port: int | None = Field(default=None, ge=1, le=65535)
    home: str | None = None
    data_dir: str | None = None
    redo_dir: str | None = None
    ssh: SshSection = SshSection()
    sql: SqlSection | None = None
    start_options: dict[str, str | int] = {}


class ServerEntry(ServerSettings):
    """A server of a zone.

    Attributes:
        ip: address of the server, and of its host unless `ssh.host` is set.
    """

    ip: str

    @field_validator("ip")
    @classmethod
    def _check_ip(cls, value: str) -> str:
        ipaddress.ip_address(value)
        return value  # unchanged: addresses in requests are compared with it as text


class FileSchema(Section):
    """All keys of a cluster file.

    Attributes:
        name: name of the cluster, shown to clients.
        id: id of the cluster.
        flavour: `seekdb` or `oceanbase`.
        root_password: root@sys has no password; exactly one of the three `root_password` keys is
            required.
        root_password_env: environment variable of the controller with the password of root@sys.
        root_password_file: file whose first line is the password of root@sys.
        ssh: how to reach every host.
        health: when a started server counts as healthy.
        cluster_sql_timeout_s: limit on a statement on the cluster's SQL.
        stop: time limits of a stop.
        defaults: keys of all servers, unless one has its own.
        zones: the servers: a list for each zone's name.
    """

    name: str
    id: int = Field(ge=1, le=_MAX_ID)
    flavour: str
    root_password: Literal["none"] | None = None
    root_password_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    root_password_file: str | None = Field(default=None, min_length=1)
    ssh: SshSection = SshSection()
    health: HealthSection = HealthSection()
    cluster_sql_timeout_s: float = Field(default=60.0, gt=0, le=600)
    stop: StopSection = StopSection()
    defaults: ServerSettings = ServerSettings()
    zones: dict[ZoneName, Annotated[list[ServerEntry], Field(min_length=1)]] = Field(min_length=1)

    @field_validator("flavour", mode="before")
    @classmethod
    def _check_flavour(cls, value: object, info: ValidationInfo) -> object:
        names = tuple(info.context or ())
        if value not in names:
            known = " or ".join(repr(name) for name in names)
            raise PydanticCustomError("literal_error", "{expected}", {"expected": known})
        return value


DEFAULTS = ServerSettings(agent_port=2886, sql_port=2881, rpc_port=2882)
"""Settings that apply if a cluster file does not have them."""


def check_file(path: Path, values: Mapping[str, Any], flavours: Collection[str]) -> FileSchema:
    """Validate the content of a cluster file.

    Args:
        path: the file, for messages.
        values: its content.
        flavours: names of the known flavours.

    Raises:
        ConfigError: a key is unknown or missing, or its value is invalid; the message names it.
    """
    try:
        return FileSchema.model_validate(values, context=flavours)
    except ValidationError as exc:
        raise _invalid_file_error(path, exc) from exc


def _invalid_file_error(path: Path, exc: ValidationError) -> ConfigError:
    first = exc.errors(include_url=False)[0]
    if first["loc"][-1] == _OF_A_KEY:
        first["loc"] = first["loc"][:-1]
        if first["loc"][:-1] == ("zones",):
            return _invalid_zone_error(locate(path, first["loc"]), first["input"])
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        is_ip = first["type"] == "value_error" and first["loc"][-1] == "ip"
        is_list = first["loc"] == ("zones",) and first["type"] == "dict_type"
        remedy = messages.USE_IP_AND_HOST() if is_ip else messages.WRITE_ZONES() if is_list else ""
        return value_error(path, first, remedy=remedy)
    known_keys = sorted(_section_at(first["loc"]).model_fields)
    near = difflib.get_close_matches(str(first["loc"][-1]), known_keys, n=1)
    hint = messages.KNOWN_KEYS(names=", ".join(known_keys))
    if near:
        hint = messages.DID_YOU_MEAN(name=near[0])
    place = locate(path, first["loc"])
    return ConfigError(messages.KEY_UNKNOWN(path=place, key=where), remedy=hint)


def _invalid_zone_error(place: str, name: object) -> ConfigError:
    if name == "":
        return ConfigError(messages.ZONE_NAME_EMPTY(path=place), remedy=messages.NAME_ZONE())
    if isinstance(name, str):
        return ConfigError(
            messages.ZONE_NAME_INVALID(path=place, name=name), remedy=messages.RENAME_ZONE()
        )
    written = render_yaml_value(name)
    return ConfigError(
        messages.ZONE_NAME_NOT_TEXT(path=place, name=written), remedy=messages.QUOTE_ZONE()
    )


def _section_at(loc: Sequence[int | str]) -> type[BaseModel]:
    """Return the section that holds the key at this location."""
    sections: dict[int | str, type[BaseModel]] = {
        "ssh": SshSection,
        "jump": SshSection,
        "sql": SqlSection,
        "health": HealthSection,
        "stop": StopSection,
        "defaults": ServerSettings,
    }
    if len(loc) == 1:
        return FileSchema
    return sections.get(loc[-2], ServerEntry)
