"""obd's cluster files, in the words of this project's own. Pure.

Source: the examples in the repository oceanbase/obdeploy (example/*.yaml): one section for each
component; in it `servers` (an ip, or name and ip), `global`, and a section for each server that
says what is different there. What they say of other components is not looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dagengine import Secret

Values: TypeAlias = Mapping[str, Any]

COMPONENTS = {"oceanbase-ce": "oceanbase", "oceanbase": "oceanbase", "seekdb": "seekdb"}
"""Components that are driven, and the flavour of each."""

PASSWORD_VARIABLE = "DAGENGINE_ROOT_PASSWORD"  # noqa: S105  # the variable's name
"""Where the password of root@sys is looked for first: an obd file cannot name a variable."""

_DEFAULT_ZONE, _DEFAULT_NAMES = "zone1", {"oceanbase": "obcluster", "seekdb": "seekdb"}
# Keys that have a place of their own, or mean something to obd alone; all else is an option of
# the server program.
_NOT_OPTIONS = frozenset(
    {
        *("home_path", "data_dir", "redo_dir", "mysql_port", "rpc_port", "obshell_port"),
        *("zone", "cluster_id", "appname", "devname", "local_ip"),
        *("production_mode", "enable_auto_start", "scenario", "obshell_ssl"),
        *("ocp_meta_db", "ocp_meta_username", "ocp_root_username", "ocp_agent_monitor_username"),
    }
)


class ObdError(ValueError):
    """The file is not as obd's are; the text says where and what."""


@dataclass(frozen=True, slots=True)
class Converted:
    """An obd file.

    Attributes:
        values: the same in the keys of a cluster file.
        password: of root@sys, when it stands in the file.
        notices: sentences for a person: what was not taken over.
    """

    values: dict[str, Any]
    password: Secret | None
    notices: tuple[str, ...]


@dataclass(slots=True)
class _Reading:
    component: str
    flavour: str
    section: Values
    notices: list[str] = field(default_factory=list)


def is_obd_file(raw: Values) -> bool:
    """Does it hold a component that is driven? A cluster file has `zones` instead."""
    return "zones" not in raw and any(isinstance(raw.get(name), Mapping) for name in COMPONENTS)


def convert_obd(raw: Values, *, login: str) -> Converted:
    """Take over what a cluster file can say.

    Args:
        raw: the file's content.
        login: who logs in to the hosts when the file does not say it.

    Raises:
        ObdError: where it is not as obd's are.
    """
    found = [name for name in COMPONENTS if isinstance(raw.get(name), Mapping)]
    if len(found) != 1:
        raise ObdError(f"it has {' and '.join(found)}: a cluster is one of them")
    reading = _Reading(found[0], COMPONENTS[found[0]], raw[found[0]])
    if "include" in reading.section:
        raise ObdError(f"{found[0]}.include is not followed; write its content into this file")
    common = _map(reading.section.get("global"), f"{found[0]}.global")
    zones: dict[str, list[dict[str, Any]]] = {}
    layers = []
    for name, ip in _servers(reading):
        values = common | _map(reading.section.get(name), f"{found[0]}.{name}")
        layers.append(values)
        zone = str(values.get("zone") or _DEFAULT_ZONE)
        zones.setdefault(zone, []).append(_server(reading, name, ip, values))
    password = _password(reading, layers)
    values = {
        "name": str(common.get("appname") or _DEFAULT_NAMES[reading.flavour]),
        "id": common.get("cluster_id", 1),
        "flavour": reading.flavour,
        "root_password_env": PASSWORD_VARIABLE,
        "ssh": _ssh(reading, _map(raw.get("user"), "user"), login),
        "zones": zones,
    }
    others = sorted(set(raw) - {found[0], "user"})
    if others:
        reading.notices.append(f"not looked at: {', '.join(others)}")
    return Converted(values, password, tuple(reading.notices))


def _servers(reading: _Reading) -> list[tuple[str, str]]:
    """(name, ip) of each; the name of one that has none is its ip."""
    where = f"{reading.component}.servers"
    entries = reading.section.get("servers")
    if not isinstance(entries, list) or not entries:
        raise ObdError(f"{where} is no list of servers")
    found = []
    for number, entry in enumerate(entries, start=1):
        values = entry if isinstance(entry, Mapping) else {"ip": entry}
        ip = str(values.get("ip", ""))
        try:
            ipaddress.ip_address(ip)
        except ValueError:
            raise ObdError(f"{where}: number {number} has no ip address, it has {ip!r}") from None
        found.append((str(values.get("name", ip)), ip))
    names = [name for name, _ in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ObdError(f"{where}: {twice[0]} occurs twice; give each a name of its own")
    return found


def _server(reading: _Reading, name: str, ip: str, values: Values) -> dict[str, Any]:
    where = f"{reading.component}.{name}"
    home = values.get("home_path")
    if not isinstance(home, str):
        raise ObdError(f"{where}: home_path is missing, there and in {reading.component}.global")
    server: dict[str, Any] = {"ip": ip, "home": home}
    for key, ours, default in (
        ("obshell_port", "agent_port", 2886),
        ("mysql_port", "sql_port", 2881),
        ("rpc_port", "rpc_port", 2882),
    ):
        port = values.get(key, default)
        if type(port) is not int or not 1 <= port <= 65535:
            raise ObdError(f"{where}: {key} is no port: {port!r}")
        server[ours] = port
    for key in ("data_dir", "redo_dir"):
        if values.get(key):
            server[key] = str(values[key])
    server["start_options"] = {
        str(key): _text(value) for key, value in values.items() if _is_option(str(key), value)
    }
    return server


def _is_option(key: str, value: Any) -> bool:
    is_secret = "password" in key or "secret" in key
    return key not in _NOT_OPTIONS and not is_secret and isinstance(value, str | int | float)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _password(reading: _Reading, layers: list[dict[str, Any]]) -> Secret | None:
    given = {str(values["root_password"]) for values in layers if values.get("root_password")}
    if len(given) > 1:
        raise ObdError(f"{reading.component}: servers have different root_password; it is one")
    if not given:
        return None
    reading.notices.append(
        "root_password stands in this file in clear: it is used unless the variable "
        f"{PASSWORD_VARIABLE} is set"
    )
    return Secret(given.pop())


def _ssh(reading: _Reading, user: Values, login: str) -> dict[str, Any]:
    ssh: dict[str, Any] = {"user": str(user.get("username") or login)}
    for key, ours in (
        ("port", "port"),
        ("key_file", "key_file"),
        ("timeout", "connect_timeout_s"),
    ):
        if user.get(key) is not None:
            ssh[ours] = user[key]
    if user.get("password"):
        reading.notices.append("user.password is not used: this program logs in with keys only")
    return ssh


def _map(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ObdError(f"{where} holds no keys of its own")
    return {str(key): entry for key, entry in value.items()}
