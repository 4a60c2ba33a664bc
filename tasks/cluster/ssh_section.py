"""The `ssh` sections of the cluster file: how a host is reached."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dagengine import HostAddress

NO_JUMP = "none"
"""In place of a bastion: connect directly, whatever the sections around it say."""

NO_SUDO = "none"
"""In place of a user to become: stay the login, whatever the sections around it say."""

_PATHS = ("key_file", "known_hosts", "key_passphrase_file")
# No option, no uid (#0), nothing that sudo or a shell could take for more than a name.
_USER_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\-]*\$?")
_JUMP = re.compile(r"(?:([^@\s]+)@)?(\[[^\]\s]+\]|[^:\s\[\]]+)(?::([0-9]{1,5}))?")


class SshSection(BaseModel):
    """One section; what it leaves out is taken from the sections around it.

    Attributes: see HostAddress. `jump` is `user@host:port`, or a section of its own, or `none`;
    `sudo` is a user, or `none`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
            raise ValueError(f"not the name of a user to become, such as root, or none: {value!r}")
        return value

    @model_validator(mode="after")
    def _check_passphrase(self) -> SshSection:
        if self.key_passphrase_env is not None and self.key_passphrase_file is not None:
            raise ValueError("give key_passphrase_env or key_passphrase_file, not both")
        return self

    @model_validator(mode="after")
    def _check_jump(self) -> SshSection:
        if self.jump is not None and self.jump.host is None:
            raise ValueError("jump needs a host (or the text user@host:port)")
        if self.jump is not None and self.jump.sudo is not None:
            raise ValueError("a jump takes no sudo: nothing is run on a bastion")
        return self


def parse_jump(text: str) -> dict[str, Any]:
    """Take `user@host:port` apart; user and port may be left out, an IPv6 address has brackets.

    Raises:
        ValueError: it is not of that form.
    """
    if not (found := _JUMP.fullmatch(text.strip())):
        raise ValueError(f"not user@host:port: {text!r}")
    user, host, port = found.groups()
    parts = {"host": host.strip("[]"), "user": user, "port": port and int(port)}
    return {name: part for name, part in parts.items() if part is not None}


def build_address(directory: Path, ip: str, sections: Iterable[SshSection]) -> HostAddress:
    """How a server's host is reached.

    Args:
        directory: what relative paths are relative to.
        ip: of the server; where SSH goes unless a section names a host.
        sections: from the outermost to the server's own; a later one wins.
    """
    given: dict[str, Any] = {"host": ip}
    for section in sections:
        given |= _given(section)
        if section.key_passphrase_env or section.key_passphrase_file:
            _keep_one_passphrase(given, section)
    if given.get("sudo") == NO_SUDO:
        del given["sudo"]
    jump: SshSection | None = given.pop("jump", None)
    address = HostAddress(**_with_paths(directory, given))
    if jump is None or jump.host == NO_JUMP:
        return address
    return dataclasses.replace(address, jump=_build_jump(directory, address, jump))


def _build_jump(directory: Path, behind: HostAddress, section: SshSection) -> HostAddress:
    """The bastion: what its section leaves out is as for the hosts behind it, but for the port."""
    given = _given(section)
    if section.key_file is not None or section.agent is not None:
        # Another key: the passphrase and the agent of the hosts' key say nothing about it.
        given = {"agent": False, "key_passphrase_env": None, "key_passphrase_file": None} | given
    inner: SshSection | None = given.pop("jump", None)
    given = {"port": 22} | _with_paths(directory, given)
    bastion = dataclasses.replace(behind, jump=None, sudo=None, **given)
    if inner is None or inner.host == NO_JUMP:
        return bastion
    return dataclasses.replace(bastion, jump=_build_jump(directory, bastion, inner))


def _given(section: SshSection) -> dict[str, Any]:
    values = {name: getattr(section, name) for name in SshSection.model_fields}
    return {name: value for name, value in values.items() if value is not None}


def _keep_one_passphrase(given: dict[str, Any], section: SshSection) -> None:
    for name in ("key_passphrase_env", "key_passphrase_file"):
        if getattr(section, name) is None:
            given.pop(name, None)


def _with_paths(directory: Path, given: dict[str, Any]) -> dict[str, Any]:
    paths = {name: directory / Path(given[name]).expanduser() for name in _PATHS if given.get(name)}
    agent = given.get("agent")
    if isinstance(agent, str):
        paths["agent"] = directory / Path(agent).expanduser()
    return given | paths
