"""The keys of a cluster file (docs/reference/cluster_file.md): types, ranges, messages."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from dagengine.errors import ConfigError
from tasks.cluster import messages
from tasks.cluster.ssh_section import SshSection


class Section(BaseModel):
    """A map of known keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SqlSection(Section):
    """How to reach the SQL port of a server."""

    via: Literal["ssh", "direct"] = "ssh"


class StopSection(Section):
    """Time limits of a stop."""

    kill_after_s: float = Field(default=30.0, ge=0, le=600)
    freeze_timeout_s: float = Field(default=600.0, gt=0, le=3600)


class HealthSection(Section):
    """When a started server counts as healthy."""

    stable_s: float = Field(default=0.0, ge=0, le=250)


class ServerSettings(Section):
    """Keys of a server, and of the defaults for all servers."""

    agent_port: int | None = Field(default=None, ge=1, le=65535)
    sql_port: int | None = Field(default=None, ge=1, le=65535)
    rpc_port: int | None = Field(default=None, ge=1, le=65535)
    home: str | None = None
    data_dir: str | None = None
    redo_dir: str | None = None
    ssh: SshSection = SshSection()
    sql: SqlSection | None = None
    start_options: dict[str, str | int] = {}


class ServerEntry(ServerSettings):
    """A server of a zone."""

    ip: str

    @field_validator("ip")
    @classmethod
    def _check_ip(cls, value: str) -> str:
        ipaddress.ip_address(value)
        return value  # unchanged: addresses in requests are compared with it as text


class FileSchema(Section):
    """All keys of a cluster file."""

    name: str
    id: int = Field(ge=1)
    flavour: str
    root_password: Literal["none"] | None = None
    root_password_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    root_password_file: str | None = Field(default=None, min_length=1)
    ssh: SshSection = SshSection()
    health: HealthSection = HealthSection()
    cluster_sql_timeout_s: float = Field(default=60.0, gt=0, le=600)
    stop: StopSection = StopSection()
    defaults: ServerSettings = ServerSettings()
    zones: dict[str, Annotated[list[ServerEntry], Field(min_length=1)]] = Field(min_length=1)

    @field_validator("flavour", mode="before")
    @classmethod
    def _check_flavour(cls, value: object, info: ValidationInfo) -> object:
        names = tuple(info.context or ())
        if value not in names:
            known = " or ".join(repr(name) for name in names)
            raise PydanticCustomError("flavour", "Input should be {known}", {"known": known})
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
        raise ConfigError(messages.FILE_INVALID(path=path, reason=_explain(exc))) from exc


def _explain(exc: ValidationError) -> str:
    first = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return messages.VALUE_INVALID(key=where, reason=first["msg"])
    known_keys = sorted(_section_at(first["loc"]).model_fields)
    near = difflib.get_close_matches(str(first["loc"][-1]), known_keys, n=1)
    hint = messages.KNOWN_KEYS(names=", ".join(known_keys))
    if near:
        hint = messages.DID_YOU_MEAN(name=near[0])
    return messages.KEY_UNKNOWN(key=where, hint=hint)


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
