"""The `ssh` sections of the cluster file: how to reach a host."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dagengine.extension import expand_home, refuse_empty
from dagengine.remote import HostAddress
from tasks.cluster import messages

NO_JUMP = "none"
"""Value of `jump` that connects directly, regardless of the outer sections."""

NO_SUDO = "none"
"""Value of `sudo` that stays the login user, regardless of the outer sections."""

_PATHS = ("key_file", "known_hosts", "key_passphrase_file")
# Rejects options, uids (#0), and characters that are special to sudo or a shell.
_USER_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\-]*\$?")
_JUMP = re.compile(r"(?:([^@\s]+)@)?(\[[^\]\s]+\]|[^:\s\[\]]+)(?::([0-9]{1,5}))?")


class SshSection(BaseModel):
    """An `ssh` section; keys that it omits are inherited from the outer sections.

    Attributes: see HostAddress. `jump` is `user@host:port`, a nested section, or `none`; `sudo` is
    a user, or `none`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    _refuse_empty = field_validator("*", mode="before")(refuse_empty)

    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    user: str | None = None
    sudo: str | None = None
    key_file: str | None = None
    key_passphrase_env: str | None = None
    key_passphrase_file: str | None = None
    agent: bool | str | None = None
    known_hosts: str | None = None
    jump: SshSection | None = None
    connect_timeout_s: float | None = Field(default=None, gt=0, le=300)
    command_timeout_s: float | None = Field(default=None, ge=1, le=600)
    keepalive_interval_s: float | None = Field(default=None, ge=0.1, le=3600)
    keepalive_misses: int | None = Field(default=None, ge=0, le=100)
    max_sessions: int | None = Field(default=None, ge=1, le=1000)

    @field_validator("jump", mode="before")
    @classmethod
    def _read_jump(cls, value: Any) -> Any:
        return parse_jump(value) if isinstance(value, str) else value

    @field_validator("sudo", mode="before")
    @classmethod
    def _check_sudo(cls, value: Any) -> Any:
        if value is not None and not (isinstance(value, str) and _USER_NAME.fullmatch(value)):
            raise ValueError(messages.SUDO_USER_INVALID(value=value))
        return value

    @model_validator(mode="after")
    def _check_passphrase(self) -> SshSection:
        if self.key_passphrase_env is not None and self.key_passphrase_file is not None:
            raise ValueError(messages.PASSPHRASE_TWICE())
        return self

    @model_validator(mode="after")
    def _check_jump(self) -> SshSection:
        if self.jump is not None and self.jump.host is None:
            raise ValueError(messages.JUMP_WITHOUT_HOST())
        if self.jump is not None and self.jump.sudo is not None:
            raise ValueError(messages.JUMP_WITH_SUDO())
        return self


def parse_jump(text: str) -> dict[str, Any]:
    """Parse `user@host:port`; user and port are optional, an IPv6 address is in brackets.

    Raises:
        ValueError: the text does not have that form.
    """
    if not (match := _JUMP.fullmatch(text.strip())):
        raise ValueError(messages.JUMP_INVALID(text=text))
    user, host, port = match.groups()
    parts = {"host": host.strip("[]"), "user": user, "port": port and int(port)}
    return {name: part for name, part in parts.items() if part is not None}


def build_address(directory: Path, ip: str, sections: Iterable[SshSection]) -> HostAddress:
    """Build the address of a server's host.

    Args:
        directory: base of relative paths.
        ip: of the server; SSH connects to it unless a section names a host.
        sections: from the outermost to the server's own; later ones take precedence.
    """
    fields: dict[str, Any] = {"host": ip}
    for section in sections:
        fields |= _set_fields(section)
        if section.key_passphrase_env or section.key_passphrase_file:
            _keep_one_passphrase(fields, section)
    if fields.get("sudo") == NO_SUDO:
        del fields["sudo"]
    jump: SshSection | None = fields.pop("jump", None)
    address = HostAddress(**_with_paths(directory, fields))
    if jump is None or jump.host == NO_JUMP:
        return address
    return dataclasses.replace(address, jump=_build_jump(directory, address, jump))


def _build_jump(directory: Path, behind: HostAddress, section: SshSection) -> HostAddress:
    """Build the bastion's address; except for the port, it inherits from the hosts behind it."""
    fields = _set_fields(section)
    if section.key_file is not None or section.agent is not None:
        # With a different key, do not inherit the passphrase and agent of the hosts' key.
        fields = {"agent": False, "key_passphrase_env": None, "key_passphrase_file": None} | fields
    inner: SshSection | None = fields.pop("jump", None)
    fields = {"port": 22} | _with_paths(directory, fields)
    bastion = dataclasses.replace(behind, jump=None, sudo=None, **fields)
    if inner is None or inner.host == NO_JUMP:
        return bastion
    return dataclasses.replace(bastion, jump=_build_jump(directory, bastion, inner))


def _set_fields(section: SshSection) -> dict[str, Any]:
    values = {name: getattr(section, name) for name in SshSection.model_fields}
    return {name: value for name, value in values.items() if value is not None}


def _keep_one_passphrase(fields: dict[str, Any], section: SshSection) -> None:
    for name in ("key_passphrase_env", "key_passphrase_file"):
        if getattr(section, name) is None:
            fields.pop(name, None)


def _with_paths(directory: Path, fields: dict[str, Any]) -> dict[str, Any]:
    paths = {
        name: directory / expand_home(Path(fields[name])) for name in _PATHS if fields.get(name)
    }
    agent = fields.get("agent")
    if isinstance(agent, str):
        paths["agent"] = directory / expand_home(Path(agent))
    return fields | paths
