"""Conversion of obd's cluster files to this project's keys. Pure.

Source: the examples in the repository oceanbase/obdeploy (example/*.yaml), its `_deploy.py`,
`_types.py` and `config_parser/oceanbase/cluster_config_parser.py`. A file has one section per
component. In the default style it holds `servers` (an ip, or name and ip), `global`, and a section
per server; in `style: cluster` it holds `name`, `id`, `config` and `zones`, each with `servers`
and `config`. Sections of other components are ignored.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeAlias

from dagengine.remote import Secret
from tasks.cluster import messages

Values: TypeAlias = Mapping[str, Any]

COMPONENTS = {
    "oceanbase-ce": "oceanbase",
    "oceanbase": "oceanbase",
    "oceanbase-standalone": "oceanbase",
    "seekdb": "seekdb",
}
"""Supported components and the flavour of each."""

OWN_KEYS = frozenset(
    {
        *("name", "id", "flavour", "zones", "defaults", "ssh", "health", "stop"),
        *("root_password", "root_password_env", "root_password_file", "cluster_sql_timeout_s"),
    }
)
"""Top-level keys of this project's cluster file; an obd file contains none of them."""

# Other sections and keys at the top level of obd files.
_OBD_KEYS = frozenset(
    {
        *("user", "unuse_lib_repository", "auto_create_tenant", "obproxy", "obproxy-ce"),
        *("obagent", "ocp-express", "ocp-server", "ocp-server-ce", "prometheus", "grafana"),
        *("alertmanager", "obconfigserver", "oblogproxy", "obbinlog-ce"),
    }
)
_NOT_COMPONENTS = ("user", "unuse_lib_repository", "auto_create_tenant")
_MAX_CONNECT_S = 300

_DEFAULT_ZONE, _DEFAULT_NAMES = "zone1", {"oceanbase": "obcluster", "seekdb": "seekdb"}
# Keys that are converted separately or matter only to obd; all others are options of the server
# program.
_NOT_OPTIONS = frozenset(
    {
        *("home_path", "data_dir", "redo_dir", "mysql_port", "rpc_port", "obshell_port"),
        *("zone", "cluster_id", "appname", "devname", "local_ip"),
        *("production_mode", "enable_auto_start", "scenario", "obshell_ssl"),
        *("ocp_meta_db", "ocp_meta_username", "ocp_root_username", "ocp_agent_monitor_username"),
    }
)


class ObdError(ValueError):
    """Raised when a file does not follow obd's format; the message says where and why."""


@dataclass(frozen=True, slots=True)
class ObdCluster:
    """A converted obd file.

    Attributes:
        values: its content in the keys of a cluster file.
        password: of root@sys, if the file has one; in clear or encrypted by obd.
        notices: sentences for operators on the parts that are ignored.
    """

    values: dict[str, Any]
    password: Secret | None
    notices: tuple[str, ...]


@dataclass(slots=True)
class _ObdSection:
    component: str
    flavour: str
    section: Values
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Layout:
    """A component in either style: values shared by all servers, and each server's own."""

    common: dict[str, Any]
    servers: Sequence[tuple[str, str, dict[str, Any]]]  #: name, ip, values


def is_obd_outline(outline: Mapping[str, frozenset[str]]) -> bool:
    """Return whether a file with these top-level keys and subkeys is an obd file."""
    if not OWN_KEYS.isdisjoint(outline):
        return False
    return any(
        key in COMPONENTS or key in _OBD_KEYS or "servers" in below or "style" in below
        for key, below in outline.items()
    )


def convert_obd(raw: Values, *, login: str) -> ObdCluster:
    """Convert the parts that a cluster file can express.

    Args:
        raw: the file's content.
        login: SSH user if the file does not name one.

    Raises:
        ObdError: the file does not follow obd's format.
    """
    reading = _find_component(raw)
    if "include" in reading.section:
        where = f"{reading.component}.include"
        raise ObdError(messages.INCLUDE_IGNORED(key=where))
    layout = _read_layout(reading)
    zones: dict[str, list[dict[str, Any]]] = {}
    for name, ip, values in layout.servers:
        zone = _text(values.get("zone")) or _DEFAULT_ZONE
        zones.setdefault(zone, []).append(_server(reading, name, ip, values))
    password = _password(reading, [values for _, _, values in layout.servers])
    common = layout.common
    converted = {
        "name": _text(common.get("appname")) or _DEFAULT_NAMES[reading.flavour],
        "id": _number(common, "cluster_id", f"{reading.component}: cluster_id", default=1),
        "flavour": reading.flavour,
        "ssh": _ssh(reading, _map(raw.get("user"), "user"), login),
        "zones": zones,
    }
    others = sorted({str(key) for key in raw} - {reading.component, "user"})
    if others:
        reading.notices.append(messages.SECTIONS_IGNORED(sections=", ".join(others)))
    return ObdCluster(converted, password, tuple(reading.notices))


def _find_component(raw: Values) -> _ObdSection:
    names = [name for name in COMPONENTS if name in raw]
    if len(names) > 1:
        raise ObdError(messages.COMPONENTS_AMBIGUOUS(components=" and ".join(names)))
    if not names:
        present = [str(key) for key in raw if key not in _NOT_COMPONENTS]
        problem = (
            messages.SECTIONS_FOUND(sections=", ".join(present))
            if present
            else messages.SECTIONS_MISSING()
        )
        near = [
            match for key in present for match in difflib.get_close_matches(key, COMPONENTS, n=1)
        ]
        hint = (
            messages.DID_YOU_MEAN(name=near[0])
            if near
            else messages.WRITE_COMPONENT(components=" or ".join(COMPONENTS))
        )
        raise ObdError(messages.COMPONENT_MISSING(sections=problem, hint=hint))
    section = raw[names[0]]
    if section is None:
        raise ObdError(messages.COMPONENT_EMPTY(component=names[0]))
    return _ObdSection(names[0], COMPONENTS[names[0]], _map(section, names[0], as_text=False))


# --- the two styles --------------------------------------------------------------------------


def _read_layout(reading: _ObdSection) -> _Layout:
    style = reading.section.get("style") or "default"
    match style:
        case "default":
            return _read_default(reading)
        case "cluster":
            return _read_cluster(reading)
        case _:
            where = f"{reading.component}.style"
            raise ObdError(messages.STYLE_UNKNOWN(key=where, style=style))


def _read_default(reading: _ObdSection) -> _Layout:
    component, section = reading.component, reading.section
    common = _map(section.get("global"), f"{component}.global")
    servers = _servers(section.get("servers"), f"{component}.servers")
    _check_names(f"{component}.servers", [name for name, _ in servers])
    layers = []
    for name, ip in servers:
        _notice_number(reading, section, name, component)
        layers.append((name, ip, common | _map(section.get(name), f"{component}.{name}")))
    return _Layout(common, layers)


def _read_cluster(reading: _ObdSection) -> _Layout:
    """Read `style: cluster`: the cluster's name and id, then its zones with their servers."""
    component, section = reading.component, reading.section
    cluster = {"cluster_id": section.get("id"), "appname": section.get("name")}
    common = {key: value for key, value in cluster.items() if value is not None}
    common |= _map(section.get("config"), f"{component}.config")
    zones = _map(section.get("zones"), f"{component}.zones")
    if not zones:
        raise ObdError(messages.ZONES_MISSING(component=component))
    layers = []
    for zone, content in zones.items():
        where = f"{component}.zones.{zone}"
        values = _map(content, where)
        configs = _map(values.get("config"), f"{where}.config", as_text=False)
        for name, ip in _servers(values.get("servers"), f"{where}.servers"):
            _notice_number(reading, configs, name, f"{where}.config")
            own = _map(configs.get("global"), f"{where}.config.global")
            own |= _map(configs.get(name), f"{where}.config.{name}")
            layers.append((name, ip, common | own | {"zone": zone}))
    _check_names(f"{component}.zones", [name for name, _, _ in layers])
    return _Layout(common, layers)


def _servers(entries: Any, where: str) -> list[tuple[str, str]]:
    """Return (name, ip) of each server; the name defaults to the ip."""
    if not isinstance(entries, list) or not entries:
        raise ObdError(messages.NOT_SERVER_LIST(key=where))
    servers = []
    for number, entry in enumerate(entries, start=1):
        values = entry if isinstance(entry, Mapping) else {"ip": entry}
        ip = str(values.get("ip", ""))
        try:
            ipaddress.ip_address(ip)
        except ValueError:
            raise ObdError(messages.IP_MISSING(key=where, number=number, ip=ip)) from None
        servers.append((_text(values.get("name")) or ip, ip))
    return servers


def _check_names(where: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ObdError(messages.NAME_TWICE(key=where, name=twice[0]))


def _notice_number(
    reading: _ObdSection, sections: Mapping[Any, Any], name: str, where: str
) -> None:
    """Note a section whose key is a number: obd compares texts and does not apply it."""
    numbers = [key for key in sections if not isinstance(key, str) and str(key) == name]
    if numbers:
        reading.notices.append(messages.NUMERIC_SECTION(key=where, name=name))


# --- values ----------------------------------------------------------------------------------


def _server(reading: _ObdSection, name: str, ip: str, values: Values) -> dict[str, Any]:
    where = f"{reading.component}.{name}"
    home = values.get("home_path")
    if not isinstance(home, str):
        raise ObdError(messages.HOME_MISSING(key=where, component=reading.component))
    server: dict[str, Any] = {"ip": ip, "home": home}
    for key, own_key, default in (
        ("obshell_port", "agent_port", 2886),
        ("mysql_port", "sql_port", 2881),
        ("rpc_port", "rpc_port", 2882),
    ):
        port = _number(values, key, f"{where}: {key}", default=default)
        if not 1 <= port <= 65535:
            raise ObdError(messages.NOT_PORT(key=where, name=key, port=port))
        server[own_key] = port
    for key in ("data_dir", "redo_dir"):
        if values.get(key):
            server[key] = _text(values[key])
    server["start_options"] = {
        key: _option(value) for key, value in values.items() if _is_option(key, value)
    }
    return server


def _is_option(key: str, value: Any) -> bool:
    is_secret = "password" in key or "secret" in key
    return key not in _NOT_OPTIONS and not is_secret and isinstance(value, str | int | float | date)


def _option(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(value: Any) -> str:
    """Convert a value to text as obd does; None, 0 and false become an empty string."""
    return str(value) if value else ""


def _number(values: Values, key: str, where: str, *, default: int) -> int:
    """Convert a value to an integer as obd does: `"2881"` becomes 2881.

    Raises:
        ObdError: the value cannot be converted.
    """
    if key not in values:
        return default
    try:
        return int(str(values[key]))
    except ValueError:
        raise ObdError(messages.NOT_INTEGER(key=where, value=str(values[key]))) from None


def _password(reading: _ObdSection, layers: list[dict[str, Any]]) -> Secret | None:
    passwords = {_text(values.get("root_password")) for values in layers} - {""}
    if len(passwords) > 1:
        raise ObdError(messages.PASSWORDS_DIFFER(component=reading.component))
    return Secret(passwords.pop()) if passwords else None


def _ssh(reading: _ObdSection, user: Values, login: str) -> dict[str, Any]:
    """Return obd's SSH settings; 0 and a missing value mean the default, as in obd."""
    ssh: dict[str, Any] = {"user": _text(user.get("username")) or login}
    if key_file := _text(user.get("key_file")):
        ssh["key_file"] = key_file
    for key, own_key in (("port", "port"), ("timeout", "connect_timeout_s")):
        if user.get(key) is not None and (number := _number(user, key, f"user.{key}", default=0)):
            ssh[own_key] = number
    if ssh.get("connect_timeout_s", 0) > _MAX_CONNECT_S:
        reading.notices.append(
            messages.TIMEOUT_REDUCED(timeout_s=ssh["connect_timeout_s"], limit_s=_MAX_CONNECT_S)
        )
        ssh["connect_timeout_s"] = _MAX_CONNECT_S
    if user.get("password"):
        reading.notices.append(messages.USER_PASSWORD_IGNORED())
    return ssh


def _map(value: Any, where: str, *, as_text: bool = True) -> dict[Any, Any]:
    """Return a copy of a mapping, with its keys as text unless `as_text` is False."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ObdError(messages.NOT_MAPPING(key=where))
    return {(str(key) if as_text else key): entry for key, entry in value.items()}
