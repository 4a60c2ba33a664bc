"""Reader of cluster files, in the format of this project or of obd."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagengine.errors import ConfigError
from dagengine.extension import (
    YamlRefused,
    locate,
    outline_yaml,
    read_yaml,
    read_yaml_text,
)
from tasks.cluster import messages
from tasks.cluster.obd import ObdCluster, ObdError, convert_obd, is_obd_outline
from tasks.cluster.obd_yaml import is_encrypted_by_obd, read_obd_yaml
from tasks.cluster.root_password import (
    NO_PASSWORD,
    OBD_VARIABLE,
    PasswordSource,
    looks_encrypted,
)

_PASSWORD_KEYS = ("root_password", "root_password_env", "root_password_file")
_FILE_VARIABLE = re.compile("DAGENGINE_CLUSTER|DAGENGINE_CLUSTERS__.+__FILE")
_MAX_INNER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ClusterContent:
    """Content of a cluster file.

    Attributes:
        values: in the keys of this project's cluster file; not validated.
        password: where to read the password of root@sys, for an obd file; else None.
        notices: remarks on the file for operators.
    """

    values: dict[str, Any] = field(repr=False)
    password: PasswordSource | None = None
    notices: tuple[str, ...] = ()


def read_cluster(path: Path, *, login: str) -> ClusterContent:
    """Read a cluster file.

    Args:
        path: the file.
        login: SSH user if an obd file does not name one.

    Raises:
        ConfigError: the file cannot be read, contains values that other YAML versions read
            differently, or contains a password in clear.
    """
    try:
        text = read_yaml_text(path)
        obd = _read_if_obd(text)
        if obd is not None:
            return _convert(path, obd, login)
        values = read_yaml(text)
    except OSError as exc:
        raise unreadable_error(path, exc) from exc
    except YamlRefused as exc:
        raise ConfigError(
            messages.FILE_UNREADABLE(path=path, reason=exc.problem), remedy=exc.remedy
        ) from exc
    if not isinstance(values, dict):
        raise ConfigError(
            messages.FILE_NOT_MAPPING(path=path), remedy=messages.WRITE_CLUSTER_KEYS()
        )
    _check_password_keys(path, values)
    return ClusterContent(values)


def unreadable_error(path: Path, exc: OSError) -> ConfigError:
    """Return the error for a file that cannot be read; the remedy names what has named the file."""
    remedy: str = messages.CORRECT_CLUSTER_PATH()
    for variable, value in os.environ.items():
        parts = Path(value).parts  # all of them if it is absolute
        if _FILE_VARIABLE.fullmatch(variable) and parts and path.parts[-len(parts) :] == parts:
            remedy = messages.CORRECT_CLUSTER_VARIABLE(variable=variable)
    return ConfigError(messages.FILE_UNREADABLE(path=path, reason=exc.strerror), remedy=remedy)


def _read_if_obd(text: str) -> Any:
    """Return the content of an obd file; None if the text is not an obd file."""
    try:
        outline = outline_yaml(text)
    except YamlRefused:
        # The text may be YAML 1.2, which is accepted for obd files only.
        return _read_newer(text)
    return read_obd_yaml(text) if outline is not None and is_obd_outline(outline) else None


def _read_newer(text: str) -> Any:
    try:
        content = read_obd_yaml(text)
    except YamlRefused:
        return None
    if not isinstance(content, dict):
        return None
    outline = {
        str(key): frozenset(value) if isinstance(value, dict) else frozenset[str]()
        for key, value in content.items()
    }
    return content if is_obd_outline(outline) else None


def _convert(path: Path, raw: Any, login: str) -> ClusterContent:
    try:
        obd = convert_obd(raw, login=login)
    except ObdError as exc:
        raise ConfigError(messages.OBD_FILE_INVALID(path=path, reason=exc)) from exc
    is_encrypted = obd.password is not None and (
        looks_encrypted(obd.password.value) or _is_marked_encrypted(path)
    )
    source = PasswordSource(
        path,
        is_obd=True,
        clear=None if is_encrypted else obd.password,
        is_encrypted=is_encrypted,
    )
    return ClusterContent(obd.values, source, _notices(obd, is_encrypted=is_encrypted))


def _notices(obd: ObdCluster, *, is_encrypted: bool) -> tuple[str, ...]:
    if obd.password is None:
        return obd.notices
    if is_encrypted:
        notice = messages.PASSWORD_ENCRYPTED_NOTICE(variable=OBD_VARIABLE)
    else:
        notice = messages.PASSWORD_CLEAR_NOTICE(variable=OBD_VARIABLE)
    return (notice, *obd.notices)


def _is_marked_encrypted(path: Path) -> bool:
    """Return whether obd's own file next to this one marks the passwords as encrypted."""
    try:
        with path.with_name("inner_config.yaml").open(encoding="utf-8") as file:
            return is_encrypted_by_obd(file.read(_MAX_INNER_BYTES))
    except (OSError, UnicodeDecodeError):
        return False


def _check_password_keys(path: Path, values: dict[str, Any]) -> None:
    """Reject a password in the file, except `root_password: none`, and contradictory keys."""
    if "root_password" in values and values["root_password"] != NO_PASSWORD:
        raise ConfigError(
            messages.PASSWORD_IN_FILE(path=locate(path, ("root_password",)), none=NO_PASSWORD),
            remedy=messages.NAME_PASSWORD_SOURCE(),
        )
    keys = [key for key in _PASSWORD_KEYS if values.get(key) is not None]
    if len(keys) > 1:
        raise ConfigError(
            messages.PASSWORD_KEYS_CONFLICT(
                path=locate(path, (keys[-1],)), keys=" and ".join(keys)
            ),
            remedy=messages.KEEP_ONE_KEY(),
        )
